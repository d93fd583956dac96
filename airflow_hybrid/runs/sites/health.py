# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How a deployment is, as a sentence, from what runs have told of it. Nobody is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid.amounts import counted
from airflow_hybrid.model.records import BatchProgress
from airflow_hybrid.printable import printable, shortened
from airflow_hybrid.runs.sites.digests import LastJob

BAD, WARN, GOOD, IDLE = "bad", "warn", "good", "idle"
_RANKS = {BAD: 0, WARN: 1, GOOD: 2, IDLE: 3}
_LONGEST = 300


@dataclass(frozen=True)
class Health:
    """How a deployment is.

    :ivar level: ``bad``: it is not known what happens there; ``warn``: look at it; ``good``; ``idle``: no news.
    """

    level: str
    text: str

    @property
    def rank(self) -> int:
        """Ascending from bad to idle."""
        return _RANKS[self.level]


@dataclass(frozen=True)
class Known:
    """What runs have told of a deployment.

    :ivar batches: that are there now, each with the time at which this was told.
    :ivar last: the job that ended last.
    :ivar jobs: that ended in the last 24 h; ``by_site``: those of them that failed for a reason of the site.
    :ivar contact: when something last came from there.
    """

    batches: Sequence[tuple[BatchProgress, float]] = ()
    last: LastJob | None = None
    jobs: int = 0
    by_site: int = 0
    contact: float | None = None


def health_of(known: Known, now: float) -> Health:
    """A sentence about the worst that is known."""
    unknown = [(progress, at) for progress, at in known.batches if progress.unknown]
    if unknown:
        return _unknown(unknown, now)
    if known.by_site:
        jobs_failed = counted(known.by_site, "job")
        text = f"{jobs_failed} of {known.jobs} in the last 24 h failed for a reason of the site (node, lost, disk full)"
        return Health(WARN, text)
    if known.batches:
        return Health(GOOD, _busy([progress for progress, _ in known.batches]))
    if known.last is not None:
        how = "ended well" if known.last.success else "failed by itself"
        return Health(GOOD, f"the last job {how} {ago(now - known.last.ended)}")
    if known.contact is not None:
        return Health(GOOD, f"it was last heard of {ago(now - known.contact)}")
    return Health(IDLE, "no job ended here in the last 24 h")


def _unknown(batches: Sequence[tuple[BatchProgress, float]], now: float) -> Health:
    """The oldest report says for how long at least: reports are made when something changes."""
    progress, at = min(batches, key=lambda batch: batch[1])
    of = "the state of 1 batch is" if len(batches) == 1 else f"the states of {len(batches):,} batches are"
    reason = shortened(printable(progress.unknown), _LONGEST)
    return Health(BAD, f"{of} unknown: {reason} (for {span(now - at)})")


def _busy(batches: Sequence[BatchProgress]) -> str:
    running = sum(progress.running for progress in batches)
    pending = sum(progress.pending for progress in batches)
    parts = []
    if running:
        parts.append(f"{counted(running, 'job runs', 'jobs run')}")
    if pending:
        parts.append(f"{counted(pending, 'job waits', 'jobs wait')}")
    if not parts:
        return f"{counted(len(batches), 'batch of jobs is', 'batches of jobs are')} there"
    return " and ".join(parts)


def ago(seconds: float) -> str:
    """``3 min ago``, ``just now``."""
    return "just now" if seconds < 1 else f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """``3 min``: one unit is enough."""
    for limit, unit, divisor in ((60, "s", 1), (3600, "min", 60), (2 * 86400, "h", 3600)):
        if seconds < limit:
            return f"{int(max(0.0, seconds) // divisor)} {unit}"
    return f"{int(seconds // 86400)} d"
