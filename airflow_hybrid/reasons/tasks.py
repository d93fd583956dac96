# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why a task of a DAG run waits in Airflow, or was not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid.reasons.actions import REPAIR
from airflow_hybrid.reasons.explanation import Explanation

MOST_NAMES = 3
LOGIN = (
    "`airflow hybrid login SITE` logs in, or renew the key or certificate; it goes on by itself as soon as the login"
    " works, and its log says which site it is"
)
LOGIN_TRIGGER = ".LoginTrigger"
"""end of the class of the trigger of a task that waits for a login in a worker's place"""
_BY_ITSELF = "it starts by itself"


@dataclass(frozen=True)
class Other:
    """A task that another one waits for.

    :ivar name: path of its step, or its task id.
    :ivar state: as Airflow names it; None: not scheduled yet.
    :ivar deploys: it brings up a deployment.
    """

    name: str
    state: str | None
    deploys: bool = False


@dataclass(frozen=True)
class Pool:
    """:ivar slots: -1: without a limit; ``free``: of them."""

    name: str
    slots: int
    free: float


@dataclass(frozen=True)
class Airflow:
    """What holds up tasks of a run.

    :ivar paused: the DAG is paused.
    :ivar active: tasks of the run that are queued or run; ``most_active``: as many may be.
    :ivar scheduler_s: for how long no scheduler has given a sign of life; None: one is alive, or there never was one.
    :ivar triggerer_s: the same of triggerers.
    """

    paused: bool = False
    active: int = 0
    most_active: int = 0
    scheduler_s: float | None = None
    triggerer_s: float | None = None


@dataclass(frozen=True)
class Waiting:
    """A task that has not ended.

    :ivar state: as Airflow names it; None: not scheduled yet.
    :ivar before: tasks directly before it that have not ended.
    :ivar pool: None: Airflow has no pool of its pool's name.
    :ivar instances: of it that are queued or run; ``most_instances``: as many may be, of all runs; None: no limit.
    :ivar trigger: class of its trigger, if it is deferred.
    """

    state: str | None
    before: tuple[Other, ...] = ()
    pool_name: str = "default_pool"
    pool: Pool | None = None
    queue: str = "default"
    instances: int = 0
    most_instances: int | None = None
    trigger: str = ""


def waiting(task: Waiting, airflow: Airflow) -> Explanation | None:
    """Why a task waits; None: it does not wait for Airflow, but runs."""
    if task.state in (None, "scheduled", "up_for_retry", "up_for_reschedule") and airflow.paused:
        return Explanation(
            "the DAG is paused", "`airflow dags unpause DAG`, or the switch on its page, lets the run go on"
        )
    if task.state is None and task.before:
        return _for_others(task.before)
    if task.state in (None, "scheduled", "queued", "up_for_retry") and airflow.scheduler_s is not None:
        return _silent("scheduler", airflow.scheduler_s)
    if task.state is None:
        return Explanation("Airflow's scheduler has not looked at it yet", _BY_ITSELF, passes=True)
    if task.state == "scheduled":
        return _for_a_slot(task, airflow)
    if task.state == "queued":
        return Explanation(
            f"it waits for a worker (queue `{task.queue}`)",
            f"{_BY_ITSELF} when a worker of that queue is free; if it does not, is one running? `[core] parallelism` of"
            " Airflow and the workers' concurrency limit how many tasks run at a time",
        )
    if task.state == "deferred" and task.trigger.endswith(LOGIN_TRIGGER):
        return Explanation("it waits for a login that works", LOGIN)
    if task.state == "deferred" and airflow.triggerer_s is not None:
        return _silent("triggerer", airflow.triggerer_s)
    if task.state == "up_for_reschedule":
        return Explanation("it waits for a login that works, and looks again in a few minutes", LOGIN)
    return None


def _silent(program: str, seconds: float) -> Explanation:
    """Programs of Airflow without a sign of life."""
    does = "starts its tasks" if program == "scheduler" else "follows its jobs; they go on at their sites"
    return Explanation(
        f"no {program} of Airflow has given a sign of life for {duration(seconds)}, so nobody {does}",
        f"start one: `airflow {program}`; its log says why the last one ended",
    )


def _for_others(others: Sequence[Other]) -> Explanation:
    deploying = [other for other in others if other.deploys]
    if deploying and len(deploying) == len(others):
        return Explanation(
            f"its deployment is not up yet: {_listed(others)}",
            f"{_BY_ITSELF} when that has ended; if it takes too long, look at that task's log",
            passes=True,
        )
    return Explanation(f"it waits for data of {_listed(others)}", f"{_BY_ITSELF} when they have ended", passes=True)


def _listed(others: Sequence[Other]) -> str:
    names = [f"{other.name} ({state_in_words(other.state)})" for other in others[:MOST_NAMES]]
    more = len(others) - MOST_NAMES
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def state_in_words(state: str | None) -> str:
    """A state of a task, for people."""
    words = {
        None: "not started",
        "upstream_failed": "not run",
        "up_for_retry": "between two tries",
        "up_for_reschedule": "waiting",
        "deferred": "running",
    }
    return words.get(state, str(state).replace("_", " "))


def _for_a_slot(task: Waiting, airflow: Airflow) -> Explanation:
    pool = task.pool
    if pool is None:
        return Explanation(
            f"Airflow has no pool `{task.pool_name}`",
            f"`airflow pools set {task.pool_name} SLOTS DESCRIPTION` makes it, or remove `pool` from the DAG's"
            " `default_args`",
        )
    if pool.slots >= 0 and pool.free < 1:
        return Explanation(
            f"all {pool.slots} slots of the pool `{pool.name}` are taken",
            f"{_BY_ITSELF} when one is free; `airflow pools set {pool.name} SLOTS DESCRIPTION` gives it more",
        )
    if airflow.most_active and airflow.active >= airflow.most_active:
        return Explanation(
            f"{airflow.active} tasks of the run are active, and no more may be",
            f"{_BY_ITSELF} when one has ended; `dag: {{max_active_tasks: N}}` in the hybrid file sets the limit",
        )
    if task.most_instances is not None and task.instances >= task.most_instances:
        return Explanation(
            f"{task.instances} of its instances are active, and no more may be",
            f"{_BY_ITSELF} when one has ended; `max_active_tis_per_dag` of the task sets the limit",
        )
    return Explanation(
        "it waits for a slot of Airflow's executor",
        f"{_BY_ITSELF}; `[core] parallelism` limits how many tasks run at a time",
        passes=True,
    )


def not_run(failed: Sequence[str]) -> Explanation:
    """A task that was not run because others failed; the sentence goes on after "was not run".

    :param failed: paths of their steps, or what else they are called.
    """
    names = ", ".join(failed[:MOST_NAMES]) + (
        f" and {len(failed) - MOST_NAMES} more" if len(failed) > MOST_NAMES else ""
    )
    if not failed:
        return Explanation("because something before it failed", "look at what failed before it")
    return Explanation(f"because {names} failed", REPAIR)


def queued_run(active: int, most_active: int, airflow: Airflow) -> Explanation:
    """A DAG run that has not begun.

    :param active: runs of the DAG that run; ``most_active``: as many may run.
    """
    if airflow.paused:
        return Explanation(
            "the DAG is paused", "`airflow dags unpause DAG`, or the switch on its page, lets the run begin"
        )
    if airflow.scheduler_s is not None:
        return _silent("scheduler", airflow.scheduler_s)
    if most_active and active >= most_active:
        return Explanation(
            f"{active} runs of the DAG are active, and no more may be",
            f"{_BY_ITSELF} when one has ended; `dag: {{max_active_runs: N}}` in the hybrid file sets the limit",
        )
    return Explanation("Airflow's scheduler has not begun it yet", _BY_ITSELF, passes=True)


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
