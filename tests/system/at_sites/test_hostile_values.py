# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Values and file names with odd characters arrive as they are: in arguments, environment and outputs, at any site.

What has to be refused is in ``tests/unit/engine/test_hostile_documents.py``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import TaskIdentity
from tests.canaries import WORK
from tests.testbed.fixture import Testbed
from tests.unit.engine.execution import execute

VALUES = [
    "plain",
    "a b  c",
    " leading and trailing ",
    "it's",
    'double " quote',
    "new\nline\n",
    "tab\there",
    "-rf",
    "--",
    "$(touch evil)",
    "`touch evil`",
    "${HOME} $HOME $$",
    "a;touch evil;b",
    "a && touch evil || b | c & d",
    "> evil < /etc/passwd >> evil",
    "* ? [a-z] {a,b} ~ ~root",
    "back\\slash \\n \\",
    "a#b %41 %s %% ? !history",
    "ünï cödé 😀 日本",
    "\\$(inputs)",
    "\x07bell \x1b[31mred",
    "",
]
NAMES = [
    "a b", "it's", 'q"uote', "new\nline", "-rf", "ünï 😀", "a#b", "a%20b", "a?b=c&d", "$(touch evil)", "`touch evil`",
    "a;b", "back\\slash", "*", "a\tb", "~", "[x]", "{a,b}", "!x", "$HOME",
]  # fmt: skip

TOOL = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {value: 'string[]', file: 'File[]'}
outputs: []
steps:
  pass:
    scatter: [value, file]
    scatterMethod: dotproduct
    in: {value: value, file: file}
    out: [argument, variable, joined, copy]
    run:
      class: CommandLineTool
      requirements:
        InlineJavascriptRequirement: {}
        EnvVarRequirement: {envDef: {VALUE: $(inputs.value)}}
      baseCommand: [sh, -c, 'printf %s "$1" > arg; printf %s "$VALUE" > env; printf %s "$2" > word
        && mkdir d && cp -- "$3" d/', sh]
      arguments: [$(inputs.value), 'x$(inputs.value)', $(inputs.file.path)]
      inputs: {value: string, file: File}
      outputs:
        argument: {type: File, outputBinding: {glob: arg}}
        variable: {type: File, outputBinding: {glob: env}}
        joined: {type: File, outputBinding: {glob: word}}
        copy: {type: File, outputBinding: {glob: 'd/*'}}
"""


def deployments(testbed: Testbed, folder: Path) -> dict[str, Any]:
    def ssh(name: str, workdir: str) -> dict[str, Any]:
        site = testbed.sites[name]
        known = folder / f"known_{name}"
        known.write_text(f"{site.host} {site.host_key}\n")
        node = {"hostname": site.host, "username": site.user, "sshKey": str(site.key), "known_hosts": str(known)}
        return {"type": "ssh", "config": {"nodes": [node]}, "workdir": workdir}

    return {
        "here": {"type": "local", "config": {}, "workdir": str(folder / WORK)},
        "cloud": ssh("cloud", f"/home/clouduser/{WORK}"),
        "login": ssh("hpc", f"/scratch/{WORK}"),
        "hpc": {
            "type": "slurm", "wraps": "login",
            "config": {"services": {"main": {"partition": "main", "account": "proj"}}},
        },
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("site", ["here", "cloud", "hpc"])
def test_odd_values_and_names_arrive_literally(
    testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    document = tmp_path / "main.cwl"
    document.write_text(TOOL)
    folder = tmp_path / "in put's"
    folder.mkdir()
    names = [*NAMES, *(f"more {k}" for k in range(len(VALUES) - len(NAMES)))]
    for number, name in enumerate(names):
        (folder / name).write_text(f"content {number}")
    target = {"deployment": site, "service": "main"} if site == "hpc" else site
    given = {"value": VALUES, "file": [{"class": "File", "path": str(folder / name)} for name in names]}
    identity = TaskIdentity("hostile", "run's $(id)", "pass", origin="origin")
    outcome, _ = execute(document, given, deployments(testbed, tmp_path), {"/": {"target": target}}, identity=identity)
    outputs = outcome.results[0].outputs

    def sums(port: str) -> list[str]:
        return [file["checksum"] for file in outputs[port]]

    def expected(texts: list[str]) -> list[str]:
        return ["sha1$" + hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for text in texts]

    assert sums("argument") == expected(VALUES)
    assert sums("variable") == expected(VALUES)
    assert sums("joined") == expected([f"x{value}" for value in VALUES])
    assert sums("copy") == expected([f"content {number}" for number in range(len(names))])
    assert [file["basename"] for file in outputs["copy"]] == names
