# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which job of a run is meant by a name, by what its tasks have reported."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from airflow_hybrid.amounts import counted
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model.records import BatchProgress, JobRecord
from airflow_hybrid.overviews.tasks import RunJobs
from airflow_hybrid.printable import printable
from airflow_hybrid.sites.batches.directory import attempt_of

Stream = Literal["stdout", "stderr"]
_MOST_NAMES = 10


@dataclass(frozen=True)
class FoundJob:
    """A job of a run.

    :ivar name: for people: ``/align[3]``.
    :ivar task_id: and ``map_index``, of the task instance that reports it.
    :ivar record: None: it has not ended, or its batch has not; then it is a job of one of ``batches``.
    :ivar batches: of its step, that have not ended.
    """

    name: str
    task_id: str
    map_index: int
    record: JobRecord | None
    batches: tuple[tuple[str, int, BatchProgress], ...] = ()


def normal_name(name: str) -> str:
    """A name that somebody has typed, without blanks and with its first slash."""
    return "/" + "".join(name.split()).lstrip("/")


def step_of_name(name: str) -> str:
    """The path of the step in the name of a job."""
    return re.split(r"[\[:]", normal_name(name), maxsplit=1)[0]


def find_job(jobs: RunJobs, name: str, attempt: int | None = None) -> FoundJob:
    """The job with a name (:attr:`JobRecord.name`); of a step with one job, its path is enough.

    :param attempt: the try whose job is meant; None: the last one.
    :raises HybridError: the run has no such job, or several.
    """
    wanted = normal_name(name)
    records = [
        (task.task_id, task.map_index, record)
        for task in jobs.tasks
        for record in task.report.records
        if wanted in (normal_name(record.name), record.step) and attempt in (None, record.attempt)
    ]
    names = dict.fromkeys(record.name for _, _, record in records)
    exact = next((known for known in names if normal_name(known) == wanted), None)
    if exact is not None:
        records = [found for found in records if found[2].name == exact]
    elif len(names) > 1:
        raise _ambiguous(name, list(names))
    # of several tasks that ran it, the last one
    last = max(reversed(records), key=lambda found: found[2].order, default=None)
    batches = tuple(_batches(jobs, wanted, last, attempt))
    if last is not None:
        task_id, map_index, record = last
        return FoundJob(record.name, task_id, map_index, record, batches)
    if batches:
        _check_one(name, wanted, [batch for _, _, batch in batches])
        return FoundJob(name, batches[0][0], batches[0][1], None, batches)
    steps = dict.fromkeys(record.step for task in jobs.tasks for record in task.report.records)
    steps.update(dict.fromkeys(batch.step for task in jobs.tasks for batch in task.report.batches))
    known = ", ".join(list(steps)[:_MOST_NAMES]) + (" ..." if len(steps) > _MOST_NAMES else "")
    raise HybridError(
        f"the run has no job {printable(name)} that has begun",
        hint=f"steps with jobs: {printable(known)}" if steps else "none of its jobs has begun",
    )


def _ambiguous(name: str, names: list[str]) -> HybridError:
    some = ", ".join(names[:_MOST_NAMES]) + (" ..." if len(names) > _MOST_NAMES else "")
    return HybridError(f"step {printable(name)} has {counted(len(names), 'job')}", hint=f"name one: {printable(some)}")


def _check_one(name: str, wanted: str, batches: list[BatchProgress]) -> None:
    """:raises HybridError: the name is that of a step of which several jobs run."""
    total = sum(batch.total for batch in batches)
    if total > 1 and any(batch.step == wanted for batch in batches):
        raise HybridError(
            f"step {printable(name)} has {counted(total, 'job')}", hint=f"name one: {printable(wanted)}[0]"
        )


def _batches(
    jobs: RunJobs, wanted: str, last: tuple[str, int, JobRecord] | None, attempt: int | None
) -> Iterator[tuple[str, int, BatchProgress]]:
    """Running batches that may have the job: later attempts, where one has ended already."""
    for task in jobs.tasks:
        if last is not None and (task.task_id, task.map_index) != last[:2]:
            continue
        for batch in task.report.batches:
            path = batch.step.partition(": ")[0]
            number = attempt_of(posixpath.basename(batch.directory))
            is_other_step = wanted != path and not wanted.startswith((f"{path}[", f"{path}:"))
            if is_other_step or attempt not in (None, number):
                continue
            if last is None or number > last[2].attempt:
                yield task.task_id, task.map_index, batch
