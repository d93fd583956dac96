# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The progress of a batch in its task's log."""

from __future__ import annotations

import asyncio
import time

from airflow_hybrid.engine.common import Logger
from airflow_hybrid.sites.batches.queue import Progress

PAUSE_S = 1.0
"""seconds between two lines about the progress of the same jobs"""


WARN_S = 5.0
"""seconds that a batch waits for cores used by others before a warning"""
MOST_WARNINGS = 10
"""warnings per batch: who uses the cores may change for hours"""
CORES = "they wait for cores"
"""start of the reason of such a batch (:mod:`airflow_hybrid.schedulers.process`)"""
_last: dict[int, Progress] = {}
"""progress of this process's batches, by ``id`` of their log: cores used by our own jobs are no news"""


class ProgressLog:
    """Logs the progress of a batch's jobs: each change, but at most one line per :data:`PAUSE_S`."""

    def __init__(self, name: str, log: Logger) -> None:
        self.name = name
        self.log = log
        self._said = ""
        self._when = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._warning: asyncio.TimerHandle | None = None
        self._warnings = 0
        self._warned: tuple[str, ...] = ()

    def tell(self, progress: Progress) -> None:
        """Record that the jobs have reached ``progress``."""
        self._say_no_more()
        _last[id(self)] = progress
        if progress.running:
            self._warned = ()  # if it waits again, that is a new wait
        self._warn_later(progress)
        left_s = self._when + PAUSE_S - time.monotonic()
        if left_s <= 0 or progress.finished == progress.total:
            self._say(progress)
        else:
            self._later = asyncio.get_running_loop().call_later(left_s, self._say, progress)

    def close(self) -> None:
        """Log nothing more."""
        self._say_no_more()
        _last.pop(id(self), None)
        if self._warning is not None:
            self._warning.cancel()

    def _warn_later(self, progress: Progress) -> None:
        if self._warning is None and self._warnings < MOST_WARNINGS and _waits_for_cores(progress):
            self._warning = asyncio.get_running_loop().call_later(WARN_S, self._warn)

    def _warn(self) -> None:
        """Log who uses the cores, unless that was logged already; repeat as long as the batch waits."""
        self._warning = None
        progress = _last[id(self)]
        ours_run = any(other.running for other in _last.values())
        if _waits_for_cores(progress) and not ours_run and progress.reasons != self._warned:
            self._warned = progress.reasons
            self._warnings += 1
            self.log.warning("%s: %s", self.name, progress)
        self._warn_later(progress)

    def _say_no_more(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _say(self, progress: Progress) -> None:
        self._later = None
        text = str(progress)
        if text != self._said:
            self._said, self._when = text, time.monotonic()
            self.log.info("%s: %s", self.name, text)


def _waits_for_cores(progress: Progress) -> bool:
    return not progress.running and any(CORES in reason for reason in progress.reasons)
