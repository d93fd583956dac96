# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What people see of a task: in the graph, in the grid, and when they open it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid import HybridDag
from airflow_hybrid.dag.shown import colour_of, where_it_runs

TOOL = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {reads: 'string[]'}
outputs: []
steps:
  align:
    label: Align the reads
    doc: One sample at a time.
    scatter: read
    in: {read: reads}
    out: []
    run:
      class: CommandLineTool
      doc: Aligns reads to a genome.
      hints:
        DockerRequirement: {dockerPull: 'debian:12'}
      requirements:
        ResourceRequirement: {coresMin: 2, ramMin: $(inputs.read.length * 1024)}
      baseCommand: 'true'
      inputs: {read: string}
      outputs: []
"""


@pytest.fixture
def dag(tmp_path: Path) -> HybridDag:
    (tmp_path / "main.cwl").write_text(TOOL)
    return HybridDag(
        tmp_path / "main.cwl",
        bindings=[{"step": "/align", "target": {"deployment": "cluster", "service": "gpu"}}],
        deployments={"cluster": {"type": "slurm", "config": {"services": {"gpu": {"partition": "gpu"}}}}},
        inputs={"reads": ["a", "b"]},
    )


def test_the_doc_of_a_task_says_what_runs_where_and_what_it_needs(dag: HybridDag) -> None:
    assert dag.get_task("align").doc_md == (
        "**Align the reads**\n\nOne sample at a time.\n\nAligns reads to a genome.\n\n"
        "* step `/align`\n* runs on `cluster/gpu`\n* container: `debian:12` (a hint)\n"
        "* each job asks for 2 cores, `$(inputs.read.length * 1024)` MiB of memory\n* a job for each of `read`"
    )


def test_airflow_keeps_where_a_mapped_step_runs_and_which_jobs_its_instances_hold(dag: HybridDag) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    kept = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("align")
    assert (kept.operator_name, kept.ui_color) == ("cluster/gpu", colour_of([("cluster", "gpu")]))
    assert kept.map_index_template == "{{ task.jobs_held }}"


@pytest.mark.parametrize(
    ("bound", "shown"),
    [
        ([("local", None)], "local"),
        ([("b", "x"), ("a", None)], "a, b/x"),
        ([(name, None) for name in "dcba"], "a, b, c ..."),
    ],
)
def test_where_a_step_runs_is_said_in_few_words(bound: Any, shown: str) -> None:
    assert where_it_runs(bound) == shown
