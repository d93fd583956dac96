# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What monitoring is told about batches: sums per batch, never one call per job."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from airflow_hybrid.metrics import sending, table


class Counts(Protocol):
    """How far a batch is, in jobs; ``unknown``: why that is unknown at the moment, or ``""``."""

    @property
    def total(self) -> int: ...
    @property
    def finished(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def pending(self) -> int: ...
    @property
    def unknown(self) -> str: ...


class BatchMeter:
    """Follows one batch while somebody waits for it.

    :param submitted: whether this process has submitted it just now.
    """

    def __init__(self, deployment: str, *, submitted: bool) -> None:
        self._deployment = deployment
        self._submitted_at = time.monotonic() if submitted else None
        self._running = 0
        self._queued = 0
        self._unknown = False

    def tell(self, progress: Counts) -> None:
        """Record that the jobs have reached ``progress``."""
        if progress.unknown:
            if not self._unknown:
                unknown = progress.total - progress.finished
                sending.count(table.STATES_UNKNOWN, unknown, deployment=self._deployment)
            self._unknown = True
            return  # what ran when last asked is the best that is known
        self._unknown = False
        if progress.running or progress.finished:
            self.started()
        self._levels(progress.running, progress.pending)

    def started(self) -> None:
        """Its first job is running, or has ended."""
        if self._submitted_at is not None:
            sending.time(table.QUEUE_WAIT, time.monotonic() - self._submitted_at, deployment=self._deployment)
            self._submitted_at = None

    def close(self) -> None:
        """Nobody waits for it any more."""
        self._levels(0, 0)

    def _levels(self, running: int, queued: int) -> None:
        sending.change(table.JOBS_RUNNING, running - self._running, deployment=self._deployment)
        sending.change(table.JOBS_QUEUED, queued - self._queued, deployment=self._deployment)
        self._running, self._queued = running, queued


def count_ended(deployment: str, states: Iterable[str]) -> None:
    """Count jobs that have ended: ``success``, or why they failed."""
    for state, number in sorted(Counter(states).items()):
        sending.count(table.JOBS_ENDED, number, deployment=deployment, state=state)


def count_tried_again(deployment: str, states: Iterable[str]) -> None:
    """Count jobs of an earlier try that are attempted again, by how they ended there."""
    ends = Counter("lost" if state == "lost" else "failed" for state in states)
    for end, number in sorted(ends.items()):
        sending.count(table.RECOVERED, number, deployment=deployment, how=f"{end}_tried_again")
