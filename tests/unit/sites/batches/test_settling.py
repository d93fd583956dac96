# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""When it is known how a batch's jobs ended: situations as a table, no clock and no site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers.base import Account, ElementState, Scheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.directory import Ending, Evidence
from airflow_hybrid.sites.batches.results import Case
from airflow_hybrid.sites.batches.settling import Look, Step, settle
from airflow_hybrid.sites.batches.submitted import BatchMeta, SubmittedBatch

GRACE_S = 60.0
NOTHING_YET = Look()
SURE = Look(sure=True, heard=True)
HEARD = Look(heard=True)

RUNNING = ElementState(JobState.RUNNING, "RUNNING")
PENDING = ElementState(JobState.PENDING, "PENDING")
COMPLETED = ElementState(JobState.COMPLETED, "COMPLETED")
FAILED = ElementState(JobState.FAILED, "FAILED, exit code 4:0")
EXITED = ElementState(JobState.FAILED, "FAILED, exit code 3:0", exited=True)
NODE_FAIL = ElementState(JobState.NODE_FAIL, "NODE_FAIL, on n1")
CANCELLED = ElementState(JobState.CANCELLED, "CANCELLED by 0")

SILENT = "it left no exit code, and it is unknown how it ended"
DOWN = "slurmctld does not answer"


@dataclass(frozen=True)
class Situation:
    """What is seen of a batch of one job (``7``), or of several (``7_0``, ``7_1``...), and what follows.

    :ivar expected: state, exit code and reason of each job, where it is decided.
    """

    name: str
    step: Step
    endings: Mapping[int, Ending] = field(default_factory=dict)
    elements: Mapping[str, ElementState] = field(default_factory=dict)
    expected: tuple[tuple[JobState, int | None, str], ...] = ()
    waited_s: float = 0.0
    before: Look = NOTHING_YET
    jobs: int = 1
    claims: Mapping[int, str] = field(default_factory=dict)
    ids: tuple[str, ...] = ("7",)
    complete: bool = True
    heard: bool = True
    problem: str = ""
    cancelled: bool = False
    present: bool = True
    disk_full: bool = False
    scheduler: Scheduler = field(default_factory=SlurmScheduler)
    walltime_s: int | None = None


def lost(reason: str = SILENT) -> tuple[JobState, int | None, str]:
    return (JobState.LOST, None, reason)


SIGNALLED = "its runner got SIGTERM while it was running, and its exit code was 0"
SITUATIONS = [
    # exit codes
    Situation("all left exit codes", Step.DECIDED, {0: Ending(0), 1: Ending(3)}, jobs=2,
              expected=((JobState.COMPLETED, 0, ""), (JobState.FAILED, 3, "exit code 3"))),
    Situation("a command that could not be started", Step.DECIDED, {0: Ending(None, None, "no room")},
              expected=((JobState.FAILED, None, "no room"),)),
    # the queue forgot it
    Situation("the queue forgot it for a moment: it runs", Step.WATCH, elements={"7": RUNNING}),
    Situation("the queue forgot it for a moment: it waits", Step.WATCH, elements={"7": PENDING}),
    Situation("one of several runs", Step.WATCH, {0: Ending(0)}, {"7_1": RUNNING}, jobs=2),
    Situation("alive, however long it lasts", Step.WATCH, elements={"7": RUNNING}, waited_s=10 * GRACE_S + 1),
    Situation("alive by the word on the whole array", Step.WATCH, elements={"7": PENDING}, jobs=2),
    # the exit code is late
    Situation("queue empty, accounting silent: not yet lost", Step.LOOK_AGAIN, waited_s=GRACE_S, before=HEARD),
    Situation("queue empty, accounting silent for the whole grace period", Step.WITHDRAW, waited_s=GRACE_S + 1,
              before=HEARD),
    Situation("it completed, and its exit code is late", Step.LOOK_AGAIN, elements={"7": COMPLETED}, waited_s=GRACE_S,
              before=SURE),
    Situation("it completed, and left no exit code", Step.WITHDRAW, elements={"7": COMPLETED}, waited_s=GRACE_S + 1),
    Situation("the site says that it ended badly: one look is not enough", Step.LOOK_AGAIN,
              elements={"7": NODE_FAIL}, waited_s=2.0),
    Situation("the site says that it ended badly: too early", Step.LOOK_AGAIN, elements={"7": NODE_FAIL}, before=SURE,
              waited_s=1.9),
    Situation("the site says twice that it ended badly", Step.DECIDED, elements={"7": NODE_FAIL}, before=SURE,
              waited_s=2.0, expected=((JobState.NODE_FAIL, None, "NODE_FAIL, on n1"),)),
    Situation("its element failed by itself: its exit code is on its way", Step.LOOK_AGAIN, elements={"7": EXITED},
              claims={0: "7"}, before=SURE, waited_s=GRACE_S),
    Situation("its element failed by itself before it took the job", Step.DECIDED, elements={"7": EXITED}, before=SURE,
              waited_s=2.0, expected=((JobState.FAILED, None, "FAILED, exit code 3:0"),)),
    Situation("another element claimed it, and that one runs", Step.WATCH, {1: Ending(0)},
              {"7_0": NODE_FAIL, "7_1": RUNNING}, jobs=2, claims={0: "7_1", 1: "7_1"}),
    # sources that failed
    Situation("nobody can say what is alive: unknown, however long", Step.LOOK_AGAIN, complete=False, heard=False,
              problem=DOWN, waited_s=1000 * GRACE_S, before=HEARD),
    Situation("the accounting failed: longer is waited", Step.LOOK_AGAIN, complete=False, problem=DOWN,
              waited_s=10 * GRACE_S, before=HEARD),
    Situation("the accounting failed, and nothing came", Step.WITHDRAW, complete=False, problem=DOWN,
              waited_s=10 * GRACE_S + 1, before=HEARD),
    Situation("no source is needed where all left exit codes", Step.DECIDED, {0: Ending(0)}, complete=False,
              heard=False, expected=((JobState.COMPLETED, 0, ""),)),
    # exit codes that the scheduler may overrule
    Situation("signalled and silent: the accounting is waited for", Step.LOOK_AGAIN, {0: Ending(0, signal="TERM")},
              waited_s=GRACE_S, before=HEARD),
    Situation("signalled, exit code 0, and nobody says who did it", Step.DECIDED, {0: Ending(0, signal="TERM")},
              waited_s=GRACE_S + 1, before=HEARD,
              expected=((JobState.CANCELLED, None, f"{SIGNALLED}; it is unknown who ended it"),)),
    Situation("cancelled by the administrator, exit code 0: heard once", Step.LOOK_AGAIN,
              {0: Ending(0, signal="TERM")}, {"7": CANCELLED}),
    Situation("cancelled by the administrator, exit code 0: heard twice", Step.DECIDED, {0: Ending(0, signal="TERM")},
              {"7": CANCELLED}, before=HEARD,
              expected=((JobState.CANCELLED, None, "CANCELLED by 0; its exit code was 0"),)),
    Situation("signalled, and it completed all the same", Step.DECIDED, {0: Ending(0, signal="TERM")},
              {"7": COMPLETED}, before=HEARD, expected=((JobState.COMPLETED, 0, ""),)),
    Situation("requeued: signalled, and its element runs again", Step.LOOK_AGAIN, {0: Ending(143, signal="TERM")},
              {"7": RUNNING}, waited_s=1000 * GRACE_S, before=HEARD),
    Situation("requeued: signalled, and its element waits again", Step.LOOK_AGAIN, {0: Ending(0, signal="TERM")},
              {"7": PENDING}, waited_s=1000 * GRACE_S, before=HEARD),
    Situation("a tool that was killed: the accounting is waited for briefly", Step.LOOK_AGAIN, {0: Ending(137)},
              waited_s=5.0, before=HEARD),
    Situation("a tool that was killed by nobody whom the site knows", Step.DECIDED, {0: Ending(137)}, waited_s=5.1,
              before=HEARD, expected=((JobState.FAILED, 137, "exit code 137"),)),
    Situation("a tool that was killed on a plain host", Step.DECIDED, {0: Ending(137)}, before=HEARD,
              scheduler=ProcessScheduler(), expected=((JobState.FAILED, 137, "exit code 137"),)),
    Situation("a tool that took too long", Step.DECIDED, {0: Ending(124, 5.0)}, walltime_s=5,
              expected=((JobState.TIMEOUT, 124, "it ran longer than its time limit of 5 s"),)),
    # disk full, cancelled, gone
    Situation("disk full: the site says that it ended, heard once", Step.LOOK_AGAIN, elements={"7": EXITED},
              claims={0: "7"}, disk_full=True, waited_s=2.0),
    Situation("disk full: no exit code can come", Step.DECIDED, elements={"7": COMPLETED}, claims={0: "7"},
              disk_full=True, before=SURE, waited_s=2.0,
              expected=((JobState.DISK_FULL, None, "the file system was full, and it left no exit code"),)),
    Situation("disk full: a job that was noted behind its claim", Step.DECIDED, {0: Ending(1, disk_full=True)},
              disk_full=True,
              expected=((JobState.DISK_FULL, None, "the file system was full when it ended with exit code 1"),)),
    Situation("the task was cancelled, and its jobs are gone", Step.DECIDED, cancelled=True, waited_s=GRACE_S + 1,
              expected=((JobState.CANCELLED, None, "the task was cancelled"),)),
    Situation("the batch directory is gone", Step.WITHDRAW, present=False),
    Situation("the batch directory is gone, and jobs run in it", Step.WATCH, elements={"7": RUNNING}, present=False),
    Situation("lost, and no id to be withdrawn", Step.DECIDED, ids=(), waited_s=GRACE_S + 1, expected=(lost(),)),
]  # fmt: skip


def case_of(seen: Situation) -> Case:
    keys = tuple(f"{index:05}" for index in range(seen.jobs))
    meta = BatchMeta.from_json(
        {"keys": list(keys), "max_array": 1000, "jobs": {keys[0]: {"w": seen.walltime_s}} if seen.walltime_s else {}}
    )
    return Case.of(
        seen.scheduler,
        SubmittedBatch("/w/T/a1-x", seen.ids, meta),
        Evidence(None, seen.ids, seen.endings, seen.claims, seen.cancelled, seen.present, seen.disk_full),
        Account(seen.elements, seen.complete, seen.problem, seen.heard),
    )


@pytest.mark.parametrize("seen", SITUATIONS, ids=lambda seen: seen.name)
def test_what_follows_from_what_is_seen(seen: Situation) -> None:
    decision = settle(case_of(seen), seen.before, seen.waited_s, GRACE_S)
    assert decision.step is seen.step
    assert tuple((r.state, r.exit_code, r.reason) for r in decision.results) == seen.expected


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Situation("", Step.WITHDRAW, waited_s=GRACE_S + 1), SILENT),
        (Situation("", Step.WITHDRAW, elements={"7": COMPLETED}), f"{SILENT}; slurm: COMPLETED"),
        (Situation("", Step.WITHDRAW, complete=False, problem=DOWN), f"{SILENT}; no answer: {DOWN}"),
        (Situation("", Step.WITHDRAW, present=False), "its batch directory no longer exists"),
    ],
)
def test_why_a_job_is_lost(seen: Situation, reason: str) -> None:
    assert [(r.state, r.exit_code, r.reason) for r in case_of(seen).results()] == [lost(reason)]


def test_two_looks_of_which_only_the_last_is_sure_are_not_enough() -> None:
    seen = Situation("", Step.LOOK_AGAIN, elements={"7": NODE_FAIL}, waited_s=30.0)
    first = settle(case_of(seen), NOTHING_YET, 30.0, GRACE_S)
    assert (first.step, first.look) == (Step.LOOK_AGAIN, SURE)
    assert settle(case_of(seen), first.look, 30.5, GRACE_S).step is Step.DECIDED
