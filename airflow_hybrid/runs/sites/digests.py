# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What reports about jobs say of deployments, over many runs: each report is read once, and its sums are kept."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.state import DagRunState
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import JOBS_XCOM, BatchProgress, JobRecord, JobsReport
from airflow_hybrid.overviews.usage import is_success, last_tries
from airflow_hybrid.runs.xcoms import plain

PERIOD_S = 900
"""jobs are counted by the quarter of an hour in which they ended"""
MOST_RUNS = 5000
"""that are looked at, the latest first"""
_MOST_KEPT = 100_000
_RUNS_AT_ONCE = 500
_READ_AT_ONCE = 20
_MOST_WAITS = 20
_READING_S = 1.5
"""how long a request reads reports that are new; the others are read by the next one"""
_OF_THE_SITE = frozenset({JobState.NODE_FAIL, JobState.LOST, JobState.DISK_FULL, JobState.UNKNOWN})
_WITH_BATCHES = frozenset({"running", "deferred", "queued", "scheduled", "up_for_retry", "up_for_reschedule"})
"""states of task instances whose last report says what is now"""


@dataclass(frozen=True)
class LastJob:
    """The job that ended last at a deployment, in seconds since the epoch."""

    ended: float
    step: str
    index: str
    state: JobState
    success: bool
    reason: str
    exit_code: int | None


@dataclass(frozen=True)
class DeploymentDigest:
    """What a report says of a deployment.

    :ivar jobs: that ended, by period (its number since the epoch); ``failed``: those without success; ``by_site``:
        those that failed for a reason of the site. Of a job that ran again, its last try counts; reused ones do not.
    :ivar waits: how long some of the jobs were in the queue, by period.
    :ivar contact: the latest time at which something is known to have come from there.
    """

    jobs: Mapping[int, int]
    failed: Mapping[int, int]
    by_site: Mapping[int, int]
    waits: tuple[tuple[int, float], ...]
    contact: float
    last: LastJob | None


@dataclass(frozen=True)
class ReportDigest:
    """What a report says.

    :ivar at: when it was made.
    :ivar problem: why it cannot be read; empty: it can.
    """

    at: float = 0.0
    deployments: Mapping[str, DeploymentDigest] = field(default_factory=dict)
    batches: tuple[BatchProgress, ...] = ()
    problem: str = ""


def digest_of(report: JobsReport) -> ReportDigest:
    """Keep of a report what pages about many runs show."""
    records_at: dict[str, list[JobRecord]] = defaultdict(list)
    for record in last_tries(report.records):
        if not record.reused:
            records_at[record.deployment].append(record)
    deployments = {name: _deployment(records, report.at) for name, records in records_at.items()}
    return ReportDigest(report.at, deployments, report.batches)


def _deployment(records: Sequence[JobRecord], at: float) -> DeploymentDigest:
    jobs: dict[int, int] = defaultdict(int)
    failed: dict[int, int] = defaultdict(int)
    by_site: dict[int, int] = defaultdict(int)
    waits: list[tuple[int, float]] = []
    contact, last, last_ended = 0.0, None, 0.0
    for record in records:
        ended = _end(record, at)
        period = int(ended // PERIOD_S)
        jobs[period] += 1
        if not is_success(record):
            failed[period] += 1
            by_site[period] += record.state in _OF_THE_SITE
        if record.waited_s is not None:
            waits.append((period, record.waited_s))
        contact = max(contact, record.collected or ended)
        if ended >= last_ended:
            last, last_ended = record, ended
    every = max(1, len(waits) // _MOST_WAITS)
    final = None
    if last is not None:
        final = LastJob(last_ended, last.step, last.index, last.state, is_success(last), last.reason, last.exit_code)
    return DeploymentDigest(dict(jobs), dict(failed), dict(by_site), tuple(waits[::every]), contact, final)


def _end(record: JobRecord, at: float) -> float:
    """When a job ended, as well as it is known."""
    return next(time for time in (record.ended, record.collected, at) if time is not None)


@dataclass(frozen=True)
class RunOfDag:
    """A run that is not over, or was over a short time ago."""

    number: int
    dag_id: str
    run_id: str
    is_over: bool


@dataclass(frozen=True)
class TaskDigest:
    """A report of a task instance of a run.

    :ivar is_now: its batches are there now: the run and the task instance are not over.
    """

    run: RunOfDag
    task_id: str
    map_index: int
    digest: ReportDigest
    is_now: bool


@dataclass(frozen=True)
class Digests:
    """Reports of many runs.

    :ivar runs: how many runs were looked at; ``is_cut``: there are more of them.
    :ivar unread: how many reports are not read yet; the next request reads on.
    """

    tasks: tuple[TaskDigest, ...]
    runs: int
    unread: int = 0
    is_cut: bool = False


_Key = tuple[int, str, int]


class ReportReader:
    """Reads reports of runs, each version of a report once.

    A report that was published again has another time, so a report of a run that is over is read once in the life of
    the process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[_Key, tuple[datetime, ReportDigest]] = {}

    def read(self, session: Session, dag_ids: Iterable[str], since: datetime) -> Digests:
        """The reports of all runs of DAGs that are not over, or ended later than ``since``."""
        runs = {run.number: run for run in _runs(session, sorted(dag_ids), since)}
        is_cut = len(runs) > MOST_RUNS
        numbers = list(runs)[:MOST_RUNS]
        now = _instances_now(session, [number for number in numbers if not runs[number].is_over])
        with self._lock:
            times = _times(session, numbers)
            unread = self._read_new(session, times)
            tasks = tuple(
                TaskDigest(runs[key[0]], key[1], key[2], self._known[key][1], key in now)
                for key in times
                if key in self._known
            )
            self._forget()
        return Digests(tasks, len(numbers), unread, is_cut)

    def _read_new(self, session: Session, times: Mapping[_Key, datetime]) -> int:
        """Read the reports that are new or have changed; -> how many of them there was no time for."""
        wanted: dict[int, set[_Key]] = defaultdict(set)
        for key, published in times.items():
            known = self._known.get(key)
            if known is None or known[0] != published:
                wanted[key[0]].add(key)
        end = time.monotonic() + _READING_S
        for numbers in _parts(sorted(wanted, reverse=True), _READ_AT_ONCE):
            if time.monotonic() > end:
                break
            for key, published, value in _reports(session, numbers):
                if key in wanted[key[0]]:
                    self._known[key] = (published, _read(value))
            for number in numbers:
                del wanted[number]
        return sum(len(keys) for keys in wanted.values())

    def _forget(self) -> None:
        """Leave out what was read first, if there is too much."""
        for key in list(self._known)[: max(0, len(self._known) - _MOST_KEPT)]:
            del self._known[key]


def _read(value: object) -> ReportDigest:
    try:
        return digest_of(JobsReport.from_json(plain(value)))
    except ValueError as error:
        return ReportDigest(problem=str(error))


def _runs(session: Session, dag_ids: Sequence[str], since: datetime) -> Iterator[RunOfDag]:
    unfinished = DagRun.state.in_([DagRunState.QUEUED, DagRunState.RUNNING])
    query = (
        select(DagRun.id, DagRun.dag_id, DagRun.run_id, DagRun.end_date, DagRun.state)
        .where(DagRun.dag_id.in_(dag_ids), unfinished | (DagRun.end_date >= since))
        .order_by(DagRun.id.desc())
        .limit(MOST_RUNS + 1)
    )
    for number, dag_id, run_id, _, state in session.execute(query):
        yield RunOfDag(number, dag_id, run_id, state not in (DagRunState.QUEUED, DagRunState.RUNNING))


def _times(session: Session, numbers: Sequence[int]) -> dict[_Key, datetime]:
    """When each report of runs was published; the latest run first."""
    times: dict[_Key, datetime] = {}
    for some in _parts(numbers):
        query = select(XComModel.dag_run_id, XComModel.task_id, XComModel.map_index, XComModel.timestamp).where(
            XComModel.dag_run_id.in_(some), XComModel.key == JOBS_XCOM
        )
        for number, task_id, map_index, published in session.execute(query):
            times[number, task_id, map_index] = published
    return times


def _reports(session: Session, numbers: Sequence[int]) -> Iterator[tuple[_Key, datetime, object]]:
    key = (XComModel.dag_run_id, XComModel.task_id, XComModel.map_index)
    query = select(*key, XComModel.timestamp, XComModel.value).where(
        XComModel.dag_run_id.in_(numbers), XComModel.key == JOBS_XCOM
    )
    for number, task_id, map_index, published, value in session.execute(query):
        yield (number, task_id, map_index), published, value


def _instances_now(session: Session, numbers: Sequence[int]) -> set[_Key]:
    """The task instances of runs whose jobs may be at a site now."""
    found: set[_Key] = set()
    for some in _parts(numbers):
        query = (
            select(DagRun.id, TaskInstance.task_id, TaskInstance.map_index)
            .join(TaskInstance, (TaskInstance.dag_id == DagRun.dag_id) & (TaskInstance.run_id == DagRun.run_id))
            .where(DagRun.id.in_(some), TaskInstance.state.in_(_WITH_BATCHES))
        )
        found.update((number, task_id, map_index) for number, task_id, map_index in session.execute(query))
    return found


def _parts(numbers: Sequence[int], length: int = _RUNS_AT_ONCE) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), length):
        yield numbers[start : start + length]
