# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether it is known how the jobs of a batch ended. Pure: whoever looks at a site says how long that took.

A batch is judged when the queue no longer has it, or all its jobs left an exit code. Exit codes and the accounting may
lag behind the queue, and the queue may have forgotten the batch for a moment only, so one look may not be enough.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from airflow_hybrid.model import JobResult, JobState
from airflow_hybrid.sites.batches.results import Case, doubtful

CERTAIN_AFTER_S = 2.0
"""how long exit codes may still arrive after the scheduler said that a job ended badly"""
WORD_S = 5.0
"""how long the scheduler's word on an exit code is waited for that a signal made, where no runner was signalled"""
INCOMPLETE = 10
"""times longer is waited where a source that could know did not answer"""
ALIVE = frozenset({JobState.PENDING, JobState.RUNNING})


class Step(enum.Enum):
    """What is to be done about a batch."""

    WATCH = enum.auto()
    """it is alive: the queue will say when it is not"""
    LOOK_AGAIN = enum.auto()
    DECIDED = enum.auto()
    WITHDRAW = enum.auto()
    """nobody knows of some of its jobs: what may be left of them is ended before they count as lost"""


@dataclass(frozen=True)
class Look:
    """What one look at a batch told.

    :ivar sure: the site itself says of every job without an exit code that it ended without success.
    :ivar heard: the scheduler has had its word on every exit code that is doubtful.
    """

    sure: bool = False
    heard: bool = False


NO_LOOK = Look()


@dataclass(frozen=True)
class Decision:
    """What follows from a look: ``results`` if it is decided, one per job; ``look`` to be compared with the next."""

    step: Step
    look: Look = NO_LOOK
    results: tuple[JobResult, ...] = ()


def settle(case: Case, before: Look, waited_s: float, grace_s: float) -> Decision:
    """Decide on a batch.

    Unknown is not gone: while a source that knows what is alive does not answer, nothing that is missing is lost.

    :param before: the look before this one.
    :param waited_s: since the first look.
    :param grace_s: how long an exit code or the accounting may lag behind the queue.
    """
    unended = case.unended
    if any(case.elements[index].state in ALIVE for index in unended):
        return Decision(Step.WATCH)
    patience_s = grace_s if case.account.complete else INCOMPLETE * grace_s
    look = Look(
        sure=all(_ended_badly(case, index) for index in unended),
        heard=_is_heard(case, waited_s, patience_s),
    )
    if not _is_enough(case, look, before, waited_s) and not (case.account.heard and waited_s > patience_s):
        return Decision(Step.LOOK_AGAIN, look)
    # a job that the site ran again leaves another exit code before the scheduler says how it ended: look twice
    if not look.heard or (case.doubted and not before.heard):
        return Decision(Step.LOOK_AGAIN, look)
    results = tuple(case.results())
    if case.batch.ids and any(result.state is JobState.LOST for result in results):
        return Decision(Step.WITHDRAW, look)
    return Decision(Step.DECIDED, look, results)


def _is_enough(case: Case, look: Look, before: Look, waited_s: float) -> bool:
    """Whether no exit code is missing, or none that is can still come."""
    if not case.unended or not case.evidence.present:
        return True
    # an exit code may have come after the directory was read and before the scheduler was asked: look twice
    return look.sure and before.sure and waited_s >= CERTAIN_AFTER_S


def _ended_badly(case: Case, index: int) -> bool:
    """Whether the site itself says that the job ended without success: then no exit code need be waited for.

    An element whose script ended by itself, with an exit code, is that of a job that failed: what its runner wrote of
    the jobs that it had claimed is on its way.
    """
    element = case.elements[index]
    if case.evidence.disk_full and element.state.ended:
        return True
    if element.exited and index in case.evidence.claims:
        return False
    return element.state.ended and element.state is not JobState.COMPLETED


def _is_heard(case: Case, waited_s: float, patience_s: float) -> bool:
    """Whether the scheduler has had its word on every exit code that is doubtful.

    :param patience_s: how long the accounting may lag behind.
    """
    for index, ending in case.evidence.endings.items():
        if not doubtful(ending) or case.elements[index].state.ended or case.scheduler.on_host:
            continue
        if ending.signal and case.elements[index].state in ALIVE:
            return False
        if waited_s <= (patience_s if ending.signal else WORD_S):
            return False
    return True
