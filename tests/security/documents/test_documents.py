# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A document reads and names only what lies below its roots, by every way that CWL has to name something.

Which folders are roots: ``test_roots.py``; redirects and addresses: ``test_web_addresses.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.errors import HybridError

SECRET = "s3cr3t-of-the-host"
HEAD = (
    "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: 'true'\nrequirements: {InlineJavascriptRequirement: {%s}}\n"
)
WAYS = {
    "$include": HEAD % "expressionLib: [{$include: SECRET}]" + "inputs: []\noutputs: []\n",
    "$include by URI": HEAD % "expressionLib: [{$include: 'file://SECRET'}]" + "inputs: []\noutputs: []\n",
    "$include through a link": HEAD % "expressionLib: [{$include: link}]" + "inputs: []\noutputs: []\n",
    "$import": HEAD % "" + "inputs: {$import: SECRET}\noutputs: []\n",
    "run": "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: {a: {run: SECRET, in: [], out: []}}\n",
    "initial work directory": (
        HEAD % "}, InitialWorkDirRequirement: {listing: [{class: File, location: 'file://SECRET'}]"
    )
    + "inputs: []\noutputs: []\n",
    "run of the web": (
        "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\n"
        "steps: {a: {run: 'http://127.0.0.1:9/tool.cwl', in: [], out: []}}\n"
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_outside_is_not_read(tmp_path: Path, way: str) -> None:
    outside = tmp_path / "outside/secret"
    outside.parent.mkdir()
    outside.write_text(f"{SECRET}: [")
    project = tmp_path / "project/flows"
    project.mkdir(parents=True)
    (project.parent / "README.md").write_text("a project")
    (project / "link").symlink_to(outside)
    (project / "main.cwl").write_text(WAYS[way].replace("SECRET", str(outside)))
    with pytest.raises(HybridError) as error:
        compile_document(str(project / "main.cwl"), cache_dir=tmp_path / "cache")
    said = str(error.value)
    assert "[airflow_hybrid] document_roots" in said and said.startswith(f"{project}/main.cwl:")
    assert SECRET not in said
    assert not any(SECRET in path.read_text() for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_a_default_outside_compiles_without_it_and_is_refused_where_it_is_used(tmp_path: Path) -> None:
    outside = tmp_path / "outside/secret"
    outside.parent.mkdir()
    outside.write_text(SECRET)
    project = tmp_path / "project"
    project.mkdir()
    (project / "README.md").write_text("a project")
    default = json.dumps({"class": "File", "location": outside.as_uri()})
    (project / "main.cwl").write_text(HEAD % "" + f"inputs: {{f: {{type: File, default: {default}}}}}\noutputs: []\n")
    graph = compile_document(str(project / "main.cwl"), cache_dir=tmp_path / "cache")
    from airflow_hybrid.cwl.given.run_inputs import validate_inputs

    with pytest.raises(HybridError) as error:
        validate_inputs(graph, {}, str(project))
    assert "[airflow_hybrid] document_roots" in str(error.value) and SECRET not in str(error.value)
    mine = project / "mine"
    mine.write_text("mine")
    order = validate_inputs(graph, {"f": {"class": "File", "path": str(mine)}}, str(project))
    assert order["f"]["location"] == mine.as_uri()
