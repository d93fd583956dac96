# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What people see of a task: in the graph, in the grid, and when they open it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_hybrid import HybridDag
from airflow_hybrid.dag.shown import colour_of, where_it_runs
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Step
from airflow_hybrid.operators.hybrid import HybridOperator

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


def test_the_name_of_an_instance_is_no_longer_than_airflow_keeps_it() -> None:
    step = Step("/s", "tool", (), (), document="", scatter=tuple(f"a_name_of_21_letters_{n}" for n in range(14)))
    setup = SimpleNamespace(step=step, bound=[("hpc", "gpu")])
    name = _name_of(SimpleNamespace(setup=setup, chunk={"lo": 6, "hi": 8}, _ran_at=()))
    assert (len(name), name[:22], name[-18:]) == (250, "a_name_of_21_letters_0", " ... 6-7 @ hpc/gpu")


def _name_of(task: object) -> str:
    return str(vars(HybridOperator)["jobs_held"].fget(task))


@pytest.mark.parametrize(
    ("bound", "ran_at", "shown"),
    [
        ([("hpc", "gpu")], [], "read 3 @ hpc/gpu"),
        ([("hpc", None), ("cloud", None)], [], "read 3 @ cloud or hpc"),
        ([(name, None) for name in "abcd"], [], "read 3 @ a or b or c ..."),
        ([("hpc", None), ("cloud", None)], [("hpc", None)], "read 3 @ hpc"),
        ([("hpc", None), ("cloud", None)], [("hpc", None), ("cloud", None)], "read 3 @ cloud, hpc"),
    ],
)
def test_an_instance_is_called_by_its_jobs_and_where_they_run(bound: Any, ran_at: Any, shown: str) -> None:
    step = Step("/s", "tool", (), (), document="", scatter=("read",))
    setup = SimpleNamespace(step=step, bound=bound)
    assert _name_of(SimpleNamespace(setup=setup, chunk={"lo": 3, "hi": 4}, _ran_at=ran_at)) == shown


CONDITIONAL = """\
cwlVersion: v1.2
class: Workflow
inputs: {go: boolean}
outputs: []
steps:
  maybe:
    when: $(inputs.go)
    in: {go: go}
    out: []
    run: {class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: []}
"""


def test_fail_fast_needs_steps_without_conditions(tmp_path: Path) -> None:
    (tmp_path / "plain.cwl").write_text(TOOL)
    dag = HybridDag(tmp_path / "plain.cwl", inputs={"reads": []}, fail_fast=True)
    assert dag.fail_fast and {task.trigger_rule for task in dag.tasks} == {"all_success"}
    (tmp_path / "main.cwl").write_text(CONDITIONAL)
    with pytest.raises(ConfigError) as caught:
        HybridDag(tmp_path / "main.cwl", inputs={"go": True}, fail_fast=True)
    assert str(caught.value) == (
        f"{__file__}: `fail_fast` is not possible: the step /maybe has a `when`\n"
        "  -> leave `fail_fast` out: with it, Airflow would skip all that follows a step whose `when` is false"
    )


def test_params_of_the_author_are_beside_those_of_the_inputs(tmp_path: Path) -> None:
    (tmp_path / "main.cwl").write_text(TOOL)
    dag = HybridDag(tmp_path / "main.cwl", inputs={"reads": ["a"]}, params={"zz": "z"})
    assert {"reads", "zz", "outdir"} <= set(dag.params) and dag.params["zz"] == "z"
