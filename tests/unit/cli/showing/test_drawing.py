# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Workflows as graphs in the languages of Mermaid and Graphviz."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_hybrid.cli.showing.drawing import Drawing, _dot_text, _mermaid_text, dot, mermaid
from airflow_hybrid.config import parse_bindings
from airflow_hybrid.cwl.documents.graphs import load_graph

WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}}
inputs: {reads: 'string[]'}
outputs: {all: {type: Any, outputSource: report/o}}
steps:
  each:
    scatter: read
    in: {read: reads}
    out: [o]
    run:
      class: Workflow
      inputs: {read: string}
      outputs: {o: {type: Any, outputSource: align/o}}
      steps:
        align: {in: {read: read}, out: [o], run: tool.cwl}
  report: {in: {read: each/o}, out: [o], run: tool.cwl}
"""
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs: {read: Any}
outputs: {o: {type: Any, outputBinding: {outputEval: $(inputs.read)}}}
"""


@pytest.fixture
def drawing(tmp_path: Path) -> Drawing:
    (tmp_path / "main.cwl").write_text(WORKFLOW)
    (tmp_path / "tool.cwl").write_text(TOOL)
    bindings = parse_bindings([{"step": "/each", "target": {"deployment": "hpc", "service": "gpu"}}])
    return Drawing.of(load_graph(str(tmp_path / "main.cwl")), bindings)


def test_mermaid_has_steps_with_their_places_in_frames(drawing: Drawing) -> None:
    assert mermaid(drawing) == (
        "flowchart TD\n"
        '  n0["inputs"]\n'
        '  n1["outputs"]\n'
        '  n3["report<br>local"]\n'
        '  subgraph f0 ["each (for each read)"]\n'
        '    n2["align<br>hpc/gpu"]\n'
        "  end\n"
        "  n0 --> n2\n"
        "  n2 --> n3\n"
        "  n3 --> n1\n"
        "  style n2 fill:#d3eeee,color:#000000\n"
        "  style n3 fill:#d9e8f6,color:#000000\n"
    )


def test_dot_has_the_same(drawing: Drawing) -> None:
    lines = dot(drawing).splitlines()
    assert lines[0] == "digraph workflow {" and lines[-1] == "}"
    assert '    n2 [label="align\\nhpc/gpu", fillcolor="#d3eeee"];' in lines
    assert '    label="each (for each read)";' in lines
    assert lines[-4:-1] == ["  n0 -> n2;", "  n2 -> n3;", "  n3 -> n1;"]


def test_labels_cannot_leave_their_quotes() -> None:
    assert _mermaid_text('a"]; click n0 "javascript:x"<img>') == ("a#34;#93;; click n0 #34;javascript:x#34;#60;img#62;")
    assert _dot_text('a\\"];b') == 'a\\\\\\"];b'
