# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Decides whether it is known how the jobs of a batch ended. Pure: the caller measures the time.

A batch is judged when the queue no longer has it, or when all its jobs left an exit code. Exit codes and the accounting
may lag behind the queue, and the queue may forget a batch for a moment, so one look may not be enough.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from airflow_hybrid.model import JobResult, JobState
from airflow_hybrid.sites.batches.results import Case, doubtful

CERTAIN_AFTER_S = 2.0
"""how long exit codes may still arrive after the scheduler reported that a job failed"""
WORD_S = 5.0
"""how long to wait for the scheduler's word on an exit code that a signal caused, if no runner was signalled"""
INCOMPLETE = 10
"""how many times longer to wait if a source that might know did not answer"""
ALIVE = frozenset({JobState.PENDING, JobState.RUNNING})


class Step(enum.Enum):
    """What to do next about a batch."""

    WATCH = enum.auto()
    """it is alive: keep polling the queue"""
    LOOK_AGAIN = enum.auto()
    DECIDED = enum.auto()
    WITHDRAW = enum.auto()
    """some of its jobs are unknown everywhere: cancel what may be left of them before they count as lost"""


@dataclass(frozen=True)
class Look:
    """The result of one look at a batch.

    :ivar sure: the site itself reports every job without an exit code as failed.
    :ivar heard: the scheduler has answered about every doubtful exit code, or has had enough time.
    """

    sure: bool = False
    heard: bool = False


NO_LOOK = Look()


@dataclass(frozen=True)
class Decision:
    """What follows from a look: ``results``, one per job, if it is decided; ``look``, to compare with the next one."""

    step: Step
    look: Look = NO_LOOK
    results: tuple[JobResult, ...] = ()


def settle(case: Case, before: Look, waited_s: float, grace_s: float) -> Decision:
    """Decide on a batch.

    Unknown is not gone: while a source that knows which jobs are alive does not answer, no missing job counts as lost.

    :param before: the previous look.
    :param waited_s: seconds since the first look.
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
    # a job that the site ran again writes another exit code before the scheduler reports its end: look twice
    if not look.heard or (case.doubted and not before.heard):
        return Decision(Step.LOOK_AGAIN, look)
    results = tuple(case.results())
    if case.batch.ids and any(result.state is JobState.LOST for result in results):
        return Decision(Step.WITHDRAW, look)
    return Decision(Step.DECIDED, look, results)


def _is_enough(case: Case, look: Look, before: Look, waited_s: float) -> bool:
    """Whether no exit code is missing, or those that are missing can no longer arrive."""
    if not case.unended or not case.evidence.present:
        return True
    # an exit code may have arrived after the directory was read and before the scheduler was asked: look twice
    return look.sure and before.sure and waited_s >= CERTAIN_AFTER_S


def _ended_badly(case: Case, index: int) -> bool:
    """Whether the site itself reports that the job failed: then there is no exit code to wait for.

    If an element's script ended on its own with an exit code, its runner has written how its claimed jobs ended; that
    may still be on its way.
    """
    element = case.elements[index]
    if case.evidence.disk_full and element.state.ended:
        return True
    if element.exited and index in case.evidence.claims:
        return False
    return element.state.ended and element.state is not JobState.COMPLETED


def _is_heard(case: Case, waited_s: float, patience_s: float) -> bool:
    """Whether the scheduler has answered about every doubtful exit code, or has had enough time.

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
