# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The outline of a DAG: what pages and commands know of it without its DAG file."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_hybrid import HybridDag
from airflow_hybrid.model import AskedResources, Target
from airflow_hybrid.model.outline import DagOutline, StepOutline

WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {reads: 'string[]'}
outputs: []
steps:
  per_read:
    scatter: read
    in: {read: reads}
    out: []
    run:
      class: Workflow
      inputs: {read: string}
      outputs: []
      steps:
        align: {in: {read: read}, out: [o], run: tool.cwl}
  first: {in: {read: {source: reads, valueFrom: '$(self[0])'}}, out: [o], run: tool.cwl}
  second: {in: {read: first/o}, out: [o], run: tool.cwl}
"""
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: echo
inputs: {read: Any}
outputs: {o: {type: string, outputBinding: {outputEval: $(inputs.read)}}}
"""


@pytest.fixture
def dag(tmp_path: Path) -> HybridDag:
    (tmp_path / "main.cwl").write_text(WORKFLOW)
    (tmp_path / "tool.cwl").write_text(TOOL)
    return HybridDag(
        tmp_path / "main.cwl",
        bindings=[
            {
                "step": "/per_read/align",
                "target": {"deployment": "cluster", "service": "gpu"},
                "resources": {"coresMin": 2, "timelimit": 60},
            }
        ],
        deployments={"cluster": {"type": "slurm", "config": {"services": {"gpu": {"partition": "gpu"}}}}},
        fuse="chains",
    )


def outline(dag: HybridDag) -> DagOutline:
    text = dag.get_task("outputs").doc_json
    assert text is not None
    return DagOutline.from_text(text)


def test_each_step_says_what_it_is_and_which_task_runs_it(dag: HybridDag) -> None:
    local, gpu = Target("local"), Target("cluster", "gpu")
    asked = AskedResources(cores=2, walltime_s=60)
    assert list(outline(dag).steps) == [
        StepOutline("/first", "tool", "first__second", shares_task=True, targets=(local,)),
        StepOutline("/second", "tool", "first__second", shares_task=True, targets=(local,)),
        StepOutline("/per_read", "workflow", plan_id="plan_per_read", scatter=("read",)),
        StepOutline("/per_read/align", "tool", "per_read.align", targets=(gpu,), asked=asked),
    ]


def test_deployments_are_those_of_the_hybrid_file(dag: HybridDag) -> None:
    deployments = outline(dag).deployments
    assert deployments == {name: deployment.to_json() for name, deployment in dag.deployments.items()}


def test_the_text_is_read_back_as_it_was(dag: HybridDag) -> None:
    text = dag.get_task("outputs").doc_json
    assert text == outline(dag).to_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not the outline of a DAG: a list"),
        ("{}", "the outline of a DAG was written by another version of airflow_hybrid"),
        ('{"version": 99}', "the outline of a DAG was written by another version of airflow_hybrid"),
    ],
)
def test_what_is_no_outline_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        DagOutline.from_text(text)
    assert str(caught.value) == message
