# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is shown of a run, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_hybrid.overviews.progress import StepProgress
from airflow_hybrid.sites.files.under_way import UnderWay


@dataclass(frozen=True)
class StepLine:
    """A step that works or waits.

    :ivar failed: jobs that have failed by now.
    :ivar places: where its jobs are.
    :ivar doing: what is done here for it, in words (``staging inputs``).
    :ivar unknown: why the state of its jobs is unknown, or ``""``.
    :ivar seconds: since its first job was submitted; None: none has been.
    """

    path: str
    progress: StepProgress
    failed: int = 0
    places: tuple[str, ...] = ()
    doing: tuple[str, ...] = ()
    unknown: str = ""
    seconds: int | None = None


@dataclass(frozen=True)
class RunView:
    """A run at a moment.

    :ivar steps: those that work or wait, in the document's order.
    :ivar done: how many steps have succeeded or were skipped, of ``total``; ``failed_steps``: have failed;
        ``not_run``: could not run, because others had failed.
    :ivar ended: how many jobs have, and ``failed`` of them.
    :ivar doing: what else is done, in words; empty: nothing.
    """

    steps: tuple[StepLine, ...]
    transfers: tuple[UnderWay, ...]
    done: int
    total: int
    ended: int
    failed: int
    running: int
    pending: int
    doing: str
    seconds: int
    failed_steps: int = 0
    not_run: int = 0
