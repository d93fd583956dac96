# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A DAG has the edges that it needs, and waits as it would with all of them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from airflow_hybrid import HybridDag
from airflow_hybrid.dag.edges import Edges

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs: {a: Any}
stdout: o.txt
outputs: {o: {type: stdout}}
"""


def closure(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """All that each task waits for; each task comes after those that it has edges to."""
    ancestors: dict[str, set[str]] = {}
    for task, upstream in edges.items():
        ancestors[task] = upstream.union(*(ancestors.get(name, set()) for name in upstream))
    return ancestors


@given(st.lists(st.frozensets(st.integers(0, 11)), min_size=1, max_size=12))
def test_what_is_left_out_is_implied_and_nothing_else_could_be(wanted: list[frozenset[int]]) -> None:
    full = {str(n): {str(m) for m in upstream if m < n} for n, upstream in enumerate(wanted)}
    edges = Edges()
    needed = {task: set(edges.needed(task, upstream)) for task, upstream in full.items()}
    assert closure(needed) == closure(full)
    for upstream in needed.values():
        for name in upstream:
            assert name not in set().union(*(closure(needed)[other] for other in upstream - {name}))


def test_inputs_and_outputs_are_joined_only_to_the_first_and_last_steps(tmp_path: Path) -> None:
    (tmp_path / "tool.cwl").write_text(TOOL)
    steps = {"one": "first", "two": "[one/o, first]", "side": "first", "three": "[two/o, one/o, first]"}
    (tmp_path / "main.cwl").write_text(
        "cwlVersion: v1.2\nclass: Workflow\nrequirements: {MultipleInputFeatureRequirement: {}}\n"
        "inputs: {first: Any}\noutputs: {result: {type: File, outputSource: one/o}}\nsteps:\n"
        + "".join(f"  {name}: {{run: tool.cwl, in: {{a: {{source: {source}}}}}, out: [o]}}\n"
                  for name, source in steps.items())
    )  # fmt: skip
    dag = HybridDag(tmp_path / "main.cwl")
    assert {task.task_id: set(task.upstream_task_ids) for task in dag.tasks} == {
        "inputs": set(),
        "one": {"inputs"},
        "two": {"one"},
        "side": {"inputs"},
        "three": {"two"},
        "outputs": {"three", "side"},
    }


def test_a_mapped_step_waits_for_its_plan_alone(tmp_path: Path) -> None:
    (tmp_path / "tool.cwl").write_text(TOOL)
    (tmp_path / "main.cwl").write_text(
        "cwlVersion: v1.2\nclass: Workflow\nrequirements: {ScatterFeatureRequirement: {}}\n"
        "inputs: {many: 'string[]'}\noutputs: []\nsteps:\n"
        "  each: {run: tool.cwl, scatter: a, in: {a: many}, out: [o]}\n"
        "  all: {run: tool.cwl, in: {a: each/o}, out: [o]}\n"
    )
    dag = HybridDag(tmp_path / "main.cwl")
    assert {task.task_id: set(task.upstream_task_ids) for task in dag.tasks} == {
        "inputs": set(),
        "plan_each": {"inputs"},
        "each": {"plan_each"},
        "all": {"each"},
        "outputs": {"all"},
    }
