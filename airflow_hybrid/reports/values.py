# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a report about a run has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid.model import JobState
from airflow_hybrid.model.files import Transfer
from airflow_hybrid.model.outline import DAG_OF_RUNNER
from airflow_hybrid.model.records import JobRecord

NOT_RUN = "not run"
"""state of a step that was not run, as another one failed"""


@dataclass(frozen=True)
class StepPart:
    """A step in a report. Times are in seconds since the epoch.

    :ivar kind: ``tool``, ``expression`` or ``workflow``.
    :ivar state: in words; ``because``: why it was not run (``because /align failed``), where that is known.
    :ivar cores: used by each of its jobs, on average; ``memory_mib`` and ``seconds`` likewise, of those that are known.
    """

    path: str
    state: str
    total: int | None
    succeeded: int
    failed: int
    reused: int
    submitted: float | None
    began: float | None
    finished: float | None
    core_s: float
    cores: tuple[float, ...] = ()
    cores_asked: float | None = None
    memory_mib: tuple[float, ...] = ()
    memory_asked_mib: float | None = None
    seconds: tuple[float, ...] = ()
    kind: str = "tool"
    because: str = ""

    @property
    def state_and_reason(self) -> str:
        """``not run, because /align failed``"""
        return f"{self.state}, {self.because}" if self.because else self.state


@dataclass(frozen=True)
class ReasonPart:
    """Why a step waits, failed or was not run, and what to do about it, as ``airflow hybrid why`` says it.

    :ivar jobs: which jobs it is about, in words; empty: the whole step.
    """

    step: str
    state: str
    jobs: str
    place: str
    why: str
    remedy: str


@dataclass(frozen=True)
class SitePart:
    """A site in a report; ``core_s``: cores by seconds of the jobs there."""

    name: str
    kinds: tuple[str, ...]
    jobs: int
    failed: int
    nodes: int
    core_s: float


@dataclass(frozen=True)
class OutputPart:
    """A file among the outputs."""

    path: str
    size: int | None
    checksum: str


@dataclass(frozen=True)
class AgainPart:
    """Jobs that ran again, as their outputs were lost.

    :ivar task: whose jobs they are; ``missed_by``: the task that missed their outputs.
    :ivar reason: in words.
    """

    task: str
    missed_by: str
    jobs: int
    reason: str


@dataclass(frozen=True)
class RenewedPart:
    """A file that was made again.

    :ivar task: whose job has made it; ``missed_by``: the task that missed it.
    :ivar before: where it was; ``now``: where it is.
    """

    task: str
    missed_by: str
    before: str
    now: str
    size: int | None
    checksum: str


@dataclass(frozen=True)
class RunReport:
    """A run.

    :ivar problems: what could not be read, in sentences.
    :ivar made_at: when the report was made, in seconds since the epoch.
    :ivar by_last_task: the run's last task has made it: all steps have ended, the run has not.
    :ivar reasons: why steps wait, failed or were not run.
    :ivar title: what the run is of, for people: the document's label, or else the DAG's id.
    :ivar made_again: jobs whose outputs were lost; ``renewed``: files that have taken the place of lost ones.
    """

    dag_id: str
    run_id: str
    state: str
    document: str
    began: float | None
    ended: float | None
    user: str
    steps: tuple[StepPart, ...]
    sites: tuple[SitePart, ...]
    transfers: tuple[Transfer, ...]
    jobs: tuple[JobRecord, ...]
    outputs: tuple[OutputPart, ...]
    problems: tuple[str, ...] = ()
    made_at: float | None = None
    by_last_task: bool = False
    made_again: tuple[AgainPart, ...] = ()
    renewed: tuple[RenewedPart, ...] = ()
    reasons: tuple[ReasonPart, ...] = ()
    title: str = ""

    @property
    def heading(self) -> str:
        return self.title or self.dag_id

    @property
    def subtitle(self) -> str:
        """``run manual__1``, ``DAG hello, run manual__1``."""
        is_named = self.dag_id in (self.heading, DAG_OF_RUNNER)
        return f"run {self.run_id}" if is_named else f"DAG {self.dag_id}, run {self.run_id}"

    @property
    def core_hours(self) -> float:
        return sum(site.core_s for site in self.sites) / 3600

    @property
    def failures(self) -> Sequence[JobRecord]:
        """Jobs whose last try did not succeed."""
        return [job for job in self.jobs if job.state is not JobState.COMPLETED]
