# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The states of steps follow from those of their tasks."""

from __future__ import annotations

import pytest

from airflow_hybrid.errors import HybridError
from airflow_hybrid.model.outline import DagOutline, StepOutline
from airflow_hybrid.overviews.steps import check_wanted, is_below, states_of_steps, tasks_of_step
from airflow_hybrid.overviews.tasks import TaskState
from tests.raising import raising

OUTLINE = DagOutline(
    "main.cwl",
    (
        StepOutline("/each", "workflow", plan_id="plan_each", scatter=("read",)),
        StepOutline("/each/align", "tool", "each.align"),
        StepOutline("/each/sort", "tool", "each.sort"),
        StepOutline("/report", "tool", "report", "plan_report", conditional=True),
    ),
)


@pytest.mark.parametrize(
    ("name", "wanted", "is_shown"),
    [
        ("/qc", None, True), ("/qc", "/", True), ("/qc/fast", "qc", True), ("/qc: iteration 3", "/qc/", True),
        ("deploy_hpc", "deploy_hpc", True), ("/qcx", "/qc", False),
        ("/a/qc", "/qc", False),
    ],
)  # fmt: skip
def test_a_step_and_all_below_it(name: str, wanted: str | None, is_shown: bool) -> None:
    assert is_below(name, wanted) == is_shown


def test_the_tasks_of_a_step_and_of_those_below_it() -> None:
    assert tasks_of_step(OUTLINE, "each") == {"plan_each", "each.align", "each.sort"}
    assert tasks_of_step(OUTLINE, "/each/sort") == {"each.sort"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("/sort", "the DAG has no step /sort\n  -> did you mean /each/sort?"),
        ("each/algin", "the DAG has no step /each/algin\n  -> did you mean /each/align or /each?"),
        ("/x\x1b[2J", "the DAG has no step /x\\x1b[2J\n  -> its steps are /each, /each/align, /each/sort, /report"),
    ],
)
def test_a_step_that_is_not_there(wanted: str, message: str) -> None:
    with raising(HybridError, message):
        check_wanted(wanted, OUTLINE)


def task(task_id: str, state: str | None, index: int = -1, began: float | None = 5.0) -> TaskState:
    ended = began + 10 if began is not None and state in ("success", "failed") else None
    return TaskState(task_id, index, state, 1, None, None, began if state else None, ended)


@pytest.mark.parametrize(
    ("tasks", "states"),
    [
        ((), ("waiting", "waiting", "waiting", "waiting")),
        ((task("plan_each", "success"),), ("success", "waiting", "waiting", "waiting")),
        (
            (task("plan_each", "success"), task("each.align", "success", 0), task("each.align", "deferred", 1)),
            ("deferred", "deferred", "waiting", "waiting"),
        ),
        (
            (task("each.align", "failed", 0), task("each.align", "running", 1), task("each.sort", None, 1)),
            ("failed", "failed", "waiting", "waiting"),
        ),
        (
            (task("each.align", "failed", 0), task("each.sort", "upstream_failed", 0)),
            ("failed", "failed", "upstream_failed", "waiting"),
        ),
        ((task("plan_report", "success"), task("report", "skipped")), ("waiting", "waiting", "waiting", "skipped")),
    ],
    ids=["nothing yet", "planned", "running", "failed beside running", "failed before", "skipped by its when"],
)
def test_the_worst_state_of_its_tasks_is_that_of_a_step(tasks: tuple[TaskState, ...], states: tuple[str, ...]) -> None:
    found = states_of_steps(OUTLINE, tasks)
    assert tuple(found[step.path].state for step in OUTLINE.steps) == states


def test_a_step_has_ended_when_all_of_its_tasks_have() -> None:
    first, second = task("each.align", "success", 0, 5.0), task("each.align", "success", 1, 9.0)
    found = states_of_steps(OUTLINE, [first, second])["/each/align"]
    assert (found.task_began, found.task_ended, found.tasks) == (5.0, 19.0, {"success": 2})
    unfinished = states_of_steps(OUTLINE, [first, task("each.align", "running", 1)])["/each/align"]
    assert (unfinished.task_began, unfinished.task_ended) == (5.0, None)
