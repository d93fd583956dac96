# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The steps of a run: which are meant by a name, and their states, from those of their tasks."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid.errors import HybridError
from airflow_hybrid.model.outline import DagOutline, StepOutline
from airflow_hybrid.overviews.tasks import TaskState
from airflow_hybrid.printable import printable

_MOST_MEANT = 3
_MOST_NAMES = 10
_WORST_FIRST = (
    "failed",
    "upstream_failed",
    "up_for_retry",
    "running",
    "restarting",
    "deferred",
    "up_for_reschedule",
    "queued",
    "scheduled",
    "waiting",
    "success",
    "skipped",
    "removed",
)
"""states of tasks; a step of several tasks has the first one that any of them has"""
_UNFINISHED = frozenset(_WORST_FIRST[2:10])


def is_below(name: str, wanted: str | None) -> bool:
    """Whether something is about the step that somebody wants to see, or about one below it.

    :param name: a step's path; in a loop ``/count: iteration 3``; or a task's id.
    :param wanted: path of a step, with or without its first slash, or a task's id; None: all are wanted.
    """
    path = "/" + (wanted or "").strip("/")
    return path == "/" or name in (wanted, path) or name.startswith((f"{path}/", f"{path}: "))


def check_wanted(wanted: str | None, outline: DagOutline, others: Iterable[str] = ()) -> None:
    """Check that there is what somebody wants to see.

    :param others: names that may be wanted beside the paths of steps.
    :raises HybridError: there is no such step; the message names those that may be meant.
    """
    paths = [step.path for step in outline.steps]
    known = [*paths, *others]
    if any(is_below(name, wanted) for name in known):
        return
    path = "/" + (wanted or "").strip("/")
    raise HybridError(f"the DAG has no step {printable(path)}", hint=_meant(path, known))


def tasks_of_step(outline: DagOutline, wanted: str) -> set[str]:
    """The ids of the tasks that run a step and those below it; they may run other steps as well.

    :raises HybridError: there is no such step.
    """
    check_wanted(wanted, outline)
    steps = [step for step in outline.steps if is_below(step.path, wanted)]
    return {task_id for step in steps for task_id in (step.task_id, step.plan_id) if task_id}


def _meant(path: str, known: Sequence[str]) -> str:
    """``did you mean /align or /qc/align?``, or the first steps that there are."""
    leaf = path.rpartition("/")[2].lower()
    meant = [name for name in known if name.rpartition("/")[2].lower() == leaf]
    meant = meant or difflib.get_close_matches(path, known, n=_MOST_MEANT, cutoff=0.6)
    if meant:
        return f"did you mean {' or '.join(map(printable, meant[:_MOST_MEANT]))}?"
    shown = ", ".join(map(printable, known[:_MOST_NAMES]))
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return f"its steps are {shown}{more}" if shown else "it has no steps"


@dataclass(frozen=True)
class StepState:
    """The state of a step.

    :ivar state: as Airflow names those of tasks; ``waiting``: not scheduled yet.
    :ivar tasks: number of its task instances in each state.
    :ivar task_began: when the first of them was started; ``task_ended``: the end of the last one, if all have ended.
    """

    state: str
    tasks: Mapping[str, int]
    task_began: float | None = None
    task_ended: float | None = None


def states_of_steps(outline: DagOutline, tasks: Iterable[TaskState]) -> dict[str, StepState]:
    """The state of each step, by its path. A sub-workflow has the states of all steps in it."""
    by_task: dict[str, list[TaskState]] = defaultdict(list)
    for task in tasks:
        by_task[task.task_id].append(task)
    return {step.path: _state(_tasks_of(step, outline, by_task)) for step in outline.steps}


def _tasks_of(step: StepOutline, outline: DagOutline, by_task: Mapping[str, Sequence[TaskState]]) -> list[TaskState]:
    members = [step]
    if not step.task_id:
        members += [inner for inner in outline.steps if inner.path.startswith(f"{step.path}/")]
    ids = dict.fromkeys(task_id for member in members for task_id in (member.task_id, member.plan_id) if task_id)
    return [task for task_id in ids for task in by_task.get(task_id, ())]


def _state(tasks: Sequence[TaskState]) -> StepState:
    counts: dict[str, int] = defaultdict(int)
    for task in tasks:
        counts[task.state or "waiting"] += 1
    state = next((state for state in _WORST_FIRST if counts.get(state)), "waiting")
    if counts.get("skipped") and state == "success" and not _ran(tasks):
        state = "skipped"
    began = min((task.began for task in tasks if task.began is not None), default=None)
    ends = [task.ended for task in tasks if task.ended is not None]
    is_over = bool(tasks) and not _UNFINISHED.intersection(counts)
    return StepState(state, dict(counts), began, max(ends, default=None) if is_over else None)


def _ran(tasks: Sequence[TaskState]) -> bool:
    """Whether a task other than a plan ended well; a plan alone decides that nothing is to be done."""
    return any(task.state == "success" and not task.task_id.rpartition(".")[2].startswith("plan_") for task in tasks)
