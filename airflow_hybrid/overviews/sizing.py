# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What jobs of a step should ask for, by what those of earlier runs used: a quantile and a margin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airflow_hybrid.amounts import counted
from airflow_hybrid.model import JobState
from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.overviews.usage import cores_used, quantile

FEWEST_JOBS = 3
"""from fewer jobs, nothing is proposed"""
_MEMORY_STEP_MIB = 64
_UNASKED_MIB = 1024
"""a step that asks for no memory and needs no more than this is left alone: sites give that much to any job"""
_TIME_STEP_S = 60
_ROUGHLY = 0.1
"""cores that a job uses for starting and ending its processes"""
_SAVES = 0.9
"""a request that is more than this share of the present one is no improvement that anybody wants to hear of"""


@dataclass(frozen=True)
class Rule:
    """How a proposal is made.

    :ivar share: of the jobs whose use the proposal covers, before the margin; it always covers all that succeeded.
    :ivar margin: added to it: 0.2 is a fifth.
    """

    share: float = 0.95
    margin: float = 0.2


USUAL = Rule()


@dataclass(frozen=True)
class Enough:
    """What would have been enough for the jobs of a step; None: nobody knows.

    :ivar cores: whole ones, as many as any job used: one that uses one and a half needs two. Of MPI jobs, those of all
        processes, which have equally many; ``cores_each``: of one of them.
    :ivar memory_mib: in steps of 64 MiB; more than jobs had that ended for lack of memory.
    :ivar seconds: in minutes, with twice the margin; more than jobs had that ended at their time limit.
    :ivar of_cores: how many jobs are known to have used how many cores, and ``of_memory`` likewise.
    """

    cores: int | None = None
    memory_mib: int | None = None
    seconds: int | None = None
    of_cores: int = 0
    of_memory: int = 0
    cores_each: int | None = None


def enough_for(records: Iterable[JobRecord], rule: Rule = USUAL) -> Enough:
    """What would have been enough, by what the jobs used that succeeded: the run page shows it, ``tune`` proposes it.

    :param records: of jobs of a step; reused ones do not count.
    """
    ran = [record for record in records if not record.reused]
    good = _ended_by(ran, JobState.COMPLETED)
    cores = [each for record in good if (each := _cores_each(record)) is not None]
    memory = [float(record.memory_used_mib) for record in good if record.memory_used_mib is not None]
    times = [r.seconds for r in (*good, *_ended_by(ran, JobState.TIMEOUT)) if r.seconds is not None]
    cores_each = max(cores, default=None)
    processes = max((max(1, record.processes) for record in good), default=1)
    return Enough(
        cores=None if cores_each is None else cores_each * processes,
        memory_mib=_enough_memory(memory, _ended_by(ran, JobState.OUT_OF_MEMORY), rule),
        seconds=_TIME_STEP_S * math.ceil(max(times) * (1 + 2 * rule.margin) / _TIME_STEP_S) if times else None,
        of_cores=len(cores),
        of_memory=len(memory),
        cores_each=cores_each,
    )


def _cores_each(record: JobRecord) -> int | None:
    """Whole cores that each process of a job used, on average over all of them."""
    used = cores_used(record)
    return None if used is None else max(1, math.ceil((used - _ROUGHLY) / max(1, record.processes)))


def _enough_memory(used: Sequence[float], killed: Sequence[JobRecord], rule: Rule) -> int | None:
    """What covers a share of the jobs and the margin, all that succeeded, and what killed ones had with the margin."""
    if not used:
        return None
    ordered = sorted(used)
    enough = max(quantile(ordered, rule.share) * (1 + rule.margin), ordered[-1])
    had = max((record.memory_mib or 0 for record in killed), default=0)
    return _MEMORY_STEP_MIB * math.ceil(max(enough, had * (1 + rule.margin)) / _MEMORY_STEP_MIB)


@dataclass(frozen=True)
class Proposal:
    """What the jobs of a step should ask for; None: no change.

    :ivar jobs: how many it is based on; ``runs``: of how many runs.
    :ivar cores: and ``ram_mib``, ``walltime_s``: to be asked for; cores for each process, as CWL counts them.
    :ivar cores_asked: and ``ram_asked_mib``: what they ask for now, the most of them; None: nothing.
    :ivar notes: why something is not proposed, or needs a look.
    """

    step: str
    jobs: int
    runs: int
    cores: float | None = None
    ram_mib: int | None = None
    walltime_s: int | None = None
    cores_asked: float | None = None
    ram_asked_mib: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def resources(self) -> dict[str, float]:
        """``resources`` of a binding, by CWL's names."""
        values = {"coresMin": self.cores, "ramMin": self.ram_mib, "timelimit": self.walltime_s}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class PastRun:
    """The jobs of a run.

    :ivar unread: what cannot be read of them, in sentences.
    """

    records: tuple[JobRecord, ...]
    unread: tuple[str, ...] = ()


def proposals(outline: DagOutline, runs: Sequence[PastRun], rule: Rule) -> list[Proposal]:
    """A proposal for each step that has had jobs, in the order of the document."""
    by_step: dict[str, list[JobRecord]] = {}
    runs_of: dict[str, int] = {}
    for run in runs:
        ran = [record for record in run.records if not record.reused]
        for record in ran:
            by_step.setdefault(record.step, []).append(record)
        for step in {record.step for record in ran}:
            runs_of[step] = runs_of.get(step, 0) + 1
    return [
        propose(step.path, by_step[step.path], runs_of[step.path], rule)
        for step in outline.steps
        if by_step.get(step.path)
    ]


def propose(step: str, records: Sequence[JobRecord], runs: int, rule: Rule) -> Proposal:
    """A proposal for one step: ``tune`` shows it, and the run page the one by its run alone.

    :param records: of jobs that ran, all tries of them.
    """
    good = _ended_by(records, JobState.COMPLETED)
    cores_asked = max((r.cores / max(1, r.processes) for r in records if r.cores is not None), default=None)
    ram_asked = _asked_first(records)
    known = Proposal(step, len(good), runs, cores_asked=cores_asked, ram_asked_mib=ram_asked)
    if len(good) < FEWEST_JOBS:
        note = f"{counted(len(good), 'job')} succeeded: a proposal needs {FEWEST_JOBS}"
        return _with(known, notes=(note,))
    notes: list[str] = []
    enough = enough_for(records, rule)
    ram = _memory(records, enough, notes)
    return _with(
        known,
        cores=_if_other(_cores(records, enough, notes), cores_asked),
        ram_mib=_if_other(ram, ram_asked),
        walltime_s=_time(records, enough, notes),
        notes=tuple(notes),
    )


def _with(proposal: Proposal, **values: object) -> Proposal:
    return Proposal(**{**vars(proposal), **values})


def _if_other(value: float | None, asked: float | None) -> float | None:
    """A value that asks for more than now, or for noticeably less."""
    if value is None or asked is None or value > asked or value < _SAVES * asked:
        return value
    return None


def _memory(records: Sequence[JobRecord], enough: Enough, notes: list[str]) -> int | None:
    if enough.memory_mib is None or enough.of_memory < FEWEST_JOBS:
        notes.append(f"how much memory its jobs used is unknown there{_why_unknown(records)}")
        return None
    killed = _ended_by(records, JobState.OUT_OF_MEMORY)
    if killed:
        notes.append(f"{counted(len(killed), 'job')} ended for lack of memory")
    asks = any(record.memory_mib is not None for record in records)
    needed = _needed_after_failures(records)
    if needed > enough.memory_mib:
        notes.append(
            f"some of its jobs failed with less than {needed:,} MiB and succeeded with that, whatever they used"
        )
    proposed = max(enough.memory_mib, needed)
    return proposed if asks or proposed > _UNASKED_MIB else None


def _asked_first(records: Sequence[JobRecord]) -> int | None:
    """What jobs ask for before a rule gives them more: the most of any job; None: nothing."""
    least: dict[str, int] = {}
    for record in records:
        if record.memory_mib is not None:
            least[record.index] = min(record.memory_mib, least.get(record.index, record.memory_mib))
    return max(least.values(), default=None)


def _needed_after_failures(records: Sequence[JobRecord]) -> int:
    """The most memory that a job had when it succeeded, of those that had failed with less; 0: there are none."""
    failed_with: dict[str, int] = {}
    for record in records:
        if record.state is JobState.FAILED and record.memory_mib is not None:
            failed_with[record.index] = min(record.memory_mib, failed_with.get(record.index, record.memory_mib))
    needed = [
        record.memory_mib
        for record in records
        if record.state is JobState.COMPLETED
        and record.memory_mib is not None
        and record.memory_mib > failed_with.get(record.index, record.memory_mib)
    ]
    return max(needed, default=0)


def _cores(records: Sequence[JobRecord], enough: Enough, notes: list[str]) -> int | None:
    """A job has one core without asking."""
    if enough.of_cores < FEWEST_JOBS:
        notes.append(f"how much processor time its jobs used is unknown there{_why_unknown(records)}")
        return None
    asks = any(record.cores is not None for record in records)
    return enough.cores_each if asks or enough.cores_each != 1 else None


def _why_unknown(records: Sequence[JobRecord]) -> str:
    is_mpi = any(record.processes for record in records)
    return ": of MPI jobs only the accounting of a queue system can tell it" if is_mpi else ""


def _time(records: Sequence[JobRecord], enough: Enough, notes: list[str]) -> int | None:
    """A limit is proposed only where jobs have run into one: it ends a job that is slower than those before."""
    ended = _ended_by(records, JobState.TIMEOUT)
    if not ended:
        return None
    notes.append(f"{counted(len(ended), 'job')} ended at the time limit")
    return enough.seconds


def _ended_by(records: Sequence[JobRecord], state: JobState) -> list[JobRecord]:
    return [record for record in records if record.state is state]
