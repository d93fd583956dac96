# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is known of a run: read from the database when something has changed, and kept until then."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakValueDictionary

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from fastapi import HTTPException, status
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from airflow_hybrid.errors import HybridError
from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.overviews.overview import RunFacts, RunOverview, overview_of, storages_of
from airflow_hybrid.overviews.tasks import in_order
from airflow_hybrid.overviews.usage import last_tries
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.overview import facts_of_run
from airflow_hybrid.runs.tasks import state_of_run
from airflow_hybrid.runs.xcoms import KeptValues
from airflow_hybrid.version import __version__

_MOST_JOBS_KEPT = 50_000
"""of all runs that are kept together: a record takes about 1 kB"""


class RunJob(NamedTuple):
    """An attempt of a job that has ended; a tuple, as there may be thousands to make for an answer.

    :ivar site: name of the site that has its files.
    :ivar is_last: no later attempt of the job is known.
    """

    task_id: str
    map_index: int
    site: str
    record: JobRecord
    is_last: bool

    @property
    def key(self) -> str:
        """What a URL names it by."""
        record = self.record
        name = (self.task_id, str(self.map_index), record.step, record.index, str(record.attempt), record.directory)
        return hashlib.sha256("\0".join(name).encode(errors="surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class KnownRun:
    """A run, as it was when its tag was made: the tag is another one after every change."""

    tag: str
    facts: RunFacts
    overview: RunOverview
    kept: KeptValues = field(default_factory=KeptValues, compare=False, repr=False)
    """for reading it again after the next change"""

    @functools.cached_property
    def jobs(self) -> tuple[RunJob, ...]:
        """The attempts that have ended; made when somebody asks for jobs: the overview has none."""
        return tuple(_jobs(self.facts))

    @property
    def job_count(self) -> int:
        return sum(len(task.report.records) for task in self.facts.jobs.tasks)

    def jobs_of_task(self, task_id: str | None, map_index: int | None) -> list[RunJob]:
        """The jobs of a task, or of one of its instances; None: of all."""
        if task_id is None and map_index in (None, -1):
            return list(self.jobs)
        return [
            job
            for job in self.jobs
            if task_id in (None, job.task_id) and (map_index in (None, -1) or map_index == job.map_index)
        ]

    @functools.cached_property
    def by_key(self) -> dict[str, RunJob]:
        return {job.key: job for job in self.jobs}


class _Reader:
    """Held by the request that reads a run."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


_kept: OrderedDict[RunKey, KnownRun] = OrderedDict()
_kept_lock = threading.Lock()
_readers: WeakValueDictionary[RunKey, _Reader] = WeakValueDictionary()


def known_run(session: Session, dag_id: str, run_id: str) -> KnownRun:
    """What is known of a run.

    :raises HTTPException: there is no such run, or its DAG is none of this package (404).
    """
    run = RunKey(dag_id, run_id)
    tag = _tag(session, run)
    if (kept := _kept_with(run, tag)) is not None:
        return kept
    with _kept_lock:
        reader = _readers.setdefault(run, _Reader())
    with reader.lock:  # many people look at a run: one request reads what is new, and the others get it from there
        return _kept_with(run, tag) or _read(session, run, tag)


def _kept_with(run: RunKey, tag: str) -> KnownRun | None:
    with _kept_lock:
        kept = _kept.get(run)
        if kept is None or kept.tag != tag:
            return None
        _kept.move_to_end(run)
        return kept


def _read(session: Session, run: RunKey, tag: str) -> KnownRun:
    """:raises HTTPException: as :func:`known_run`."""
    with _kept_lock:
        earlier = _kept.get(run)
    kept = earlier.kept if earlier is not None else KeptValues()
    try:
        state_of_run(session, run)
        facts = facts_of_run(session, run, kept)
    except HybridError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"{error}") from None
    known = KnownRun(tag, facts, overview_of(facts), kept)
    with _kept_lock:
        _kept[run] = known
        _kept.move_to_end(run)
        while len(_kept) > 1 and sum(other.job_count for other in _kept.values()) > _MOST_JOBS_KEPT:
            _kept.popitem(last=False)
    return known


def _tag(session: Session, run: RunKey) -> str:
    """Differs after every change of the run, of its task instances and of what they have published."""
    of_run = select(DagRun.id, DagRun.state, DagRun.start_date, DagRun.end_date).where(
        DagRun.dag_id == run.dag_id, DagRun.run_id == run.run_id
    )
    # not by `updated_at`, which heartbeats and the scheduler's looks change, too
    of_tasks = (
        select(
            TaskInstance.state,
            func.count(),
            func.sum(TaskInstance.try_number),
            func.max(TaskInstance.scheduled_dttm),
            func.max(TaskInstance.queued_dttm),
            func.max(TaskInstance.start_date),
            func.max(TaskInstance.end_date),
        )
        .where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
        .group_by(TaskInstance.state)
        .order_by(TaskInstance.state)
    )
    of_xcoms = select(func.count(), func.max(XComModel.timestamp)).where(
        XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id
    )
    rows = [[str(value) for value in row] for query in (of_run, of_tasks, of_xcoms) for row in session.execute(query)]
    return hashlib.sha256(repr((__version__, run, rows)).encode()).hexdigest()[:20]


def _jobs(facts: RunFacts) -> list[RunJob]:
    storages = storages_of(facts.outline)
    last = {id(record) for record in last_tries(facts.records())}
    return [
        RunJob(
            task.task_id,
            task.map_index,
            storages.get(record.deployment, record.deployment),
            record,
            id(record) in last,
        )
        for task in in_order(facts.jobs.tasks)
        for record in task.report.records
    ]
