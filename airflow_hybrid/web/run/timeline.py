# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The times of a run's jobs for drawing: as columns where they are few, as counts per interval where they are many."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.overviews.usage import is_success
from airflow_hybrid.web.run.known import KnownRun, RunJob

MOST_AT_ONCE = 500
"""jobs of a step that are all sent unless the step is asked for"""
MOST_OF_A_STEP = 50_000
BINS = 300
PHASES = ("staging", "waiting", "running", "collecting")
_Interval = tuple[float, float]
_Maybe = tuple[float | None, float | None]


class TimelineQuery(BaseModel, extra="forbid"):
    """Which jobs are wanted.

    :ivar step: only this one, with all its jobs.
    :ivar task_id: and ``map_index``: only those of a task, or of one of its instances.
    """

    step: str | None = None
    task_id: str | None = None
    map_index: int | None = None


def timeline_json(known: KnownRun, query: TimelineQuery) -> dict[str, Any]:
    """The jobs by step, in the order of the steps. Times are in seconds since ``from``."""
    jobs: dict[str, list[RunJob]] = {outline.path: [] for outline in known.overview.outline.steps}
    for job in known.jobs_of_task(query.task_id, query.map_index):
        jobs.setdefault(job.record.step, []).append(job)
    start, end = _span(known)
    most = MOST_AT_ONCE if query.step is None else MOST_OF_A_STEP
    wanted = {path: own for path, own in jobs.items() if own and query.step in (None, path)}
    return {
        "from": start,
        "to": round(end - start, 2),
        "steps": [_step(path, own, start, end, most) for path, own in wanted.items()],
    }


def _step(path: str, jobs: Sequence[RunJob], start: float, end: float, most: int) -> dict[str, Any]:
    if len(jobs) > most:
        return {"path": path, "count": len(jobs), "bins": _bins([job.record for job in jobs], start, end)}
    return {"path": path, "count": len(jobs), "columns": _columns(jobs, start)}


def _span(known: KnownRun) -> _Interval:
    """The first and the last moment that is known of a run."""
    run = known.overview.run
    times = [time for time in (run.began, run.ended) if time is not None]
    times += [task.report.at for task in known.facts.jobs.tasks if task.report.at]
    records = known.facts.records()
    for name in ("staging_began", "submitted", "began", "ended", "collected"):
        known_times = [time for time in map(attrgetter(name), records) if time is not None]
        times += (min(known_times), max(known_times)) if known_times else ()
    if not times:
        return 0.0, 1.0
    start = min(times)
    return start, max(max(times), start + 1.0)


def _columns(jobs: Sequence[RunJob], start: float) -> dict[str, list[Any]]:
    records = [job.record for job in jobs]
    return {
        "key": [job.key for job in jobs],
        "index": [record.index for record in records],
        "outcome": [_outcome(record) for record in records],
        "site": [job.site for job in jobs],
        "staging": _since(start, (record.staging_began for record in records)),
        "submitted": _since(start, (record.submitted for record in records)),
        "began": _since(start, (record.began for record in records)),
        "ended": _since(start, (record.ended for record in records)),
        "collected": _since(start, (record.collected for record in records)),
    }


def _since(start: float, times: Iterable[float | None]) -> list[float | None]:
    return [None if time is None else round(time - start, 2) for time in times]


def _outcome(record: JobRecord) -> str:
    if record.reused:
        return "reused"
    return "succeeded" if is_success(record) else "failed"


def _bins(records: Sequence[JobRecord], start: float, end: float) -> dict[str, list[int]]:
    """How many jobs were in each phase during each of :data:`BINS` intervals, and how many ended badly."""
    per_bin = (end - start) / BINS
    failed = [0] * BINS
    for record in records:
        if not is_success(record) and record.ended is not None:
            failed[min(int((record.ended - start) / per_bin), BINS - 1)] += 1
    counts = {phase: _counts(own, start, per_bin, phase) for phase, own in _phases(records).items()}
    return {**counts, "failed": failed}


def _phases(records: Sequence[JobRecord]) -> dict[str, list[_Maybe]]:
    """When each job was in each of :data:`PHASES`; None: it is not known."""
    staging, submitted, began, ended, collected = (
        list(map(attrgetter(name), records)) for name in ("staging_began", "submitted", "began", "ended", "collected")
    )
    staged = [first if first is not None else second for first, second in zip(submitted, began, strict=True)]
    bounds = ((staging, staged), (submitted, began), (began, ended), (ended, collected))
    return {phase: list(zip(*bound, strict=True)) for phase, bound in zip(PHASES, bounds, strict=True)}


def _counts(intervals: Iterable[_Maybe], start: float, per_bin: float, phase: str) -> list[int]:
    """How many of some intervals each bin is in. One that runs is in one at least."""
    changes = [0] * (BINS + 1)
    least = 1 if phase == "running" else 0
    for interval, number in Counter(intervals).items():  # jobs of a batch have the same times
        began, ended = interval
        if began is None or ended is None or ended <= began:
            continue
        first = int((began - start) / per_bin)
        last = max(int((ended - start) / per_bin), first + least)
        changes[min(first, BINS)] += number
        changes[min(last, BINS)] -= number
    return list(itertools.accumulate(changes[:BINS]))
