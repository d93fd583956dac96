# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The task instances of a run, and the jobs that they have reported."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from airflow_hybrid.model.records import JobsReport

_INSTANCE = re.compile(r"(.+)_(\d{1,6})")


def instance_of(name: str, known: Collection[str]) -> tuple[str, int]:
    """What Airflow's API for tasks means by ``train_3``: the task's id and the instance's map index, -1 if it has none.

    :param known: ids of the DAG's tasks, one of which may end that way.
    """
    instance = _INSTANCE.fullmatch(name)
    if name in known or instance is None:
        return name, -1
    return instance[1], int(instance[2])


def label_of(task_id: str, map_index: int) -> str:
    """An instance's name for people: ``train``, or ``train[3]``."""
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


@dataclass(frozen=True)
class TaskState:
    """A task instance. Times are in seconds since the epoch, by Airflow's clock; None: not yet.

    :ivar map_index: -1: its task is not mapped, or not yet.
    :ivar state: as Airflow names it; None: not scheduled yet.
    :ivar scheduled: when all that it waits for had ended; ``queued``: when it was given to the executor.
    :ivar name: of a mapped task instance: which jobs it holds.
    """

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    scheduled: float | None
    queued: float | None
    began: float | None
    ended: float | None
    pool: str = ""
    name: str = ""

    @property
    def label(self) -> str:
        return label_of(self.task_id, self.map_index)


@dataclass(frozen=True)
class RunState:
    """A DAG run; times as in :class:`TaskState`.

    :ivar user: who triggered it; empty: nobody, or it is not known who.
    """

    dag_id: str
    run_id: str
    state: str
    queued: float | None
    began: float | None
    ended: float | None
    user: str = ""
    kind: str = ""


@dataclass(frozen=True)
class TaskJobs:
    """The jobs of one task instance.

    :ivar map_index: -1: its task is not mapped.
    """

    task_id: str
    map_index: int
    report: JobsReport


@dataclass(frozen=True)
class RunJobs:
    """The jobs of a run.

    :ivar unread: tasks whose reports cannot be read, with the reason.
    """

    tasks: tuple[TaskJobs, ...]
    unread: tuple[tuple[str, str], ...] = ()


def in_order(tasks: Sequence[TaskJobs]) -> list[TaskJobs]:
    """Tasks by the time at which their first job was started, each with its instances in their order; tasks without
    such a job last.
    """
    began: dict[str, float] = {}
    for task in tasks:
        first = min((r.began for r in task.report.records if r.began is not None), default=math.inf)
        began[task.task_id] = min(first, began.get(task.task_id, math.inf))
    return sorted(tasks, key=lambda task: (began[task.task_id], task.task_id, task.map_index))
