# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How far the jobs of a step are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_hybrid.model.records import BatchProgress, JobRecord
from airflow_hybrid.overviews.usage import is_success


@dataclass(frozen=True)
class EndedJobs:
    """Jobs of a step that have ended: how many, and how many of them failed.

    :ivar submitted: when the first one was, in seconds since the epoch; None: unknown.
    """

    count: int = 0
    failed: int = 0
    submitted: float | None = None

    @classmethod
    def of(cls, records: Collection[JobRecord]) -> EndedJobs:
        """Those with records, each of another job."""
        submitted = [record.submitted for record in records if record.submitted is not None]
        failed = [record for record in records if not is_success(record)]
        return cls(len(records), len(failed), min(submitted, default=None))


def sum_of(parts: Iterable[EndedJobs]) -> EndedJobs:
    """All of them together."""
    several = list(parts)
    submitted = min((part.submitted for part in several if part.submitted is not None), default=None)
    return EndedJobs(sum(part.count for part in several), sum(part.failed for part in several), submitted)


@dataclass
class _Counts:
    count: int = 0
    failed: int = 0
    submitted: float | None = None


@dataclass
class Tally:
    """Counts records as they come in, so that nobody has to go through all of them again. Of a job that ran again, its
    last try counts.
    """

    records: int = 0
    _last: dict[tuple[str, str], tuple[tuple[int, int], bool]] = field(default_factory=dict)
    """step and index of a job -> its last attempt, and whether it succeeded"""
    _counts: dict[str, _Counts] = field(default_factory=dict)

    def add(self, records: Iterable[JobRecord]) -> None:
        for record in records:
            self.records += 1
            counts = self._counts.setdefault(record.step, _Counts())
            key = (record.step, record.index)
            earlier = self._last.get(key)
            if earlier is not None:
                if record.order < earlier[0]:
                    continue
                counts.count -= 1
                counts.failed -= not earlier[1]
            succeeded = is_success(record)
            self._last[key] = (record.order, succeeded)
            counts.count += 1
            counts.failed += not succeeded
            if record.submitted is not None:
                counts.submitted = min(counts.submitted or record.submitted, record.submitted)

    def by_step(self) -> Mapping[str, EndedJobs]:
        """Path of each step -> its jobs that have ended."""
        return {step: EndedJobs(made.count, made.failed, made.submitted) for step, made in list(self._counts.items())}


@dataclass(frozen=True)
class StepProgress:
    """How far the jobs of a step are. Numbers are numbers of jobs.

    :ivar total: jobs that are known to be its; None: not known yet.
    :ivar pending: submitted, and waiting at the site; ``running``: seen to run there.
    :ivar reasons: why jobs are pending, in the scheduler's words.
    :ivar since: when the first one was submitted, in seconds since the epoch.
    :ivar per_minute: jobs that ended, by the time since then; ``left_s``: how long the others take at that rate. None:
        nothing is known to say so.
    """

    total: int | None
    ended: int = 0
    running: int = 0
    pending: int = 0
    reasons: tuple[str, ...] = ()
    since: float | None = None
    per_minute: float | None = None
    left_s: float | None = None


def progress_of(
    ended: EndedJobs, batches: Sequence[BatchProgress], planned: int | None, now: float, *, before: int = 0
) -> StepProgress:
    """Sum up a step.

    :param ended: its jobs that have ended, without those of batches that go on.
    :param planned: how many jobs it has, if that is known.
    :param now: when the batches were looked at, in seconds since the epoch.
    :param before: how many jobs are known that are in no batch yet.
    """
    known = before + sum(batch.total - batch.ended for batch in batches)
    count = ended.count + sum(batch.ended for batch in batches)
    total = planned if planned is not None else (count + known or None)
    since = min([time for time in (ended.submitted, *(batch.since for batch in batches)) if time], default=None)
    rate, left = _rate(count, (total or 0) - count, since, now) if batches else (None, None)
    return StepProgress(
        total=total,
        ended=count,
        running=sum(batch.running for batch in batches),
        pending=sum(batch.pending for batch in batches),
        reasons=tuple(dict.fromkeys(reason for batch in batches for reason in batch.reasons)),
        since=since,
        per_minute=rate,
        left_s=left,
    )


def path_of(title: str) -> str:
    """The step of a batch's title, which ends in the iteration in a loop: ``/count: iteration 3``."""
    return title.partition(": ")[0]


def _rate(ended: int, left: int, since: float | None, now: float) -> tuple[float | None, float | None]:
    """-> jobs per minute, and how many seconds the others take at that rate."""
    if not ended or since is None or now <= since:
        return None, None
    per_s = ended / (now - since)
    return round(60 * per_s, 2), round(max(0, left) / per_s, 1)
