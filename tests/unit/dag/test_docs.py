# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What people see of a DAG as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from airflow_hybrid import HybridDag, load_dags
from airflow_hybrid.dag.docs import MOST_CHARACTERS

TOOL = """\
#!/usr/bin/env cwl-runner
cwlVersion: v1.2
class: CommandLineTool
label: Count words
doc: Of a text.
baseCommand: wc
inputs:
  text: {type: File, doc: "The text | `quoted`"}
  how: {type: {type: enum, symbols: [words, lines]}, default: words}
outputs: {count: stdout}
stdout: out
"""
HYBRID = """\
version: v1.0   # a comment
workflows:
  counted: {type: cwl, config: {file: count.cwl}, bindings: [{step: /, target: {deployment: far}}]}
deployments:
  far: {type: ssh, config: {nodes: [a.example.org], username: me, passwordFile: /etc/pw}, workdir: /w}
"""


def test_the_documentation_has_the_ports_the_document_and_the_hybrid_file(tmp_path: Path) -> None:
    (tmp_path / "count.cwl").write_text(TOOL)
    (tmp_path / "streamflow.yml").write_text(HYBRID)
    (dag,) = load_dags("streamflow.yml", {"__file__": str(tmp_path / "dag.py")})
    assert str(dag.doc_md) == (
        "# Count words\n\nOf a text.\n\n"
        "## Inputs\n\n| input | type | default | what it is |\n| --- | --- | --- | --- |\n"
        "| `text` | File |  | The text \\| `quoted` |\n"
        '| `how` | one of words, lines | `"words"` |  |\n\n'
        "## Outputs\n\n| output | type |\n| --- | --- |\n| `count` | File |\n\n"
        f"## Document `count.cwl`\n\n```yaml\n{TOOL.rstrip()}\n```\n\n"
        "## Hybrid file `streamflow.yml`\n\nWithout comments and what could be a secret.\n\n```yaml\n"
        "version: v1.0\nworkflows:\n  counted:\n    type: cwl\n    config:\n      file: count.cwl\n    bindings:\n"
        "    - step: /\n      target:\n        deployment: far\ndeployments:\n  far:\n    type: ssh\n    config:\n"
        "      nodes:\n      - a.example.org\n      username: me\n      passwordFile: '***'\n    workdir: /w\n```"
    )


def test_the_description_is_the_label_unless_there_is_another(tmp_path: Path) -> None:
    (tmp_path / "count.cwl").write_text(TOOL)
    assert HybridDag(tmp_path / "count.cwl").description == "Count words"
    assert HybridDag(tmp_path / "count.cwl", dag_id="other", description="Mine").description == "Mine"
    (tmp_path / "plain.cwl").write_text(TOOL.replace("label: Count words\n", ""))
    assert HybridDag(tmp_path / "plain.cwl").description is None


def test_a_document_cannot_end_its_own_block(tmp_path: Path) -> None:
    (tmp_path / "count.cwl").write_text(TOOL + "# ```\n# ````\n# <b>bold</b> ![x](http://example.org/x)\n")
    tokens = MarkdownIt().parse(str(HybridDag(tmp_path / "count.cwl").doc_md))
    assert tokens[-1].type == "fence" and tokens[-1].content.endswith("![x](http://example.org/x)\n")


def test_a_long_document_is_shown_in_part(tmp_path: Path) -> None:
    (tmp_path / "count.cwl").write_text(TOOL + "# more\n" * 10_000)
    doc = str(HybridDag(tmp_path / "count.cwl").doc_md)
    assert doc.endswith("# more\n# the document goes on\n```") and len(doc) < MOST_CHARACTERS + 1000


def test_a_documentation_of_ones_own_replaces_it_and_tasks_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "count.cwl").write_text(TOOL)
    assert HybridDag(tmp_path / "count.cwl", doc_md="mine").doc_md == "mine"
    # as Airflow sets it when it parses a DAG file to run a task of it
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "job")
    assert HybridDag(tmp_path / "count.cwl").doc_md is None


def test_the_defaults_are_those_that_a_run_has(tmp_path: Path) -> None:
    (tmp_path / "count.cwl").write_text(TOOL)
    doc = str(HybridDag(tmp_path / "count.cwl", inputs={"how": "{{ var.value.how }}"}).doc_md)
    assert '| `how` | one of words, lines | `"{{ var.value.how }}"` |  |' in doc.splitlines()
