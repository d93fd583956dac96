# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What holds up the tasks of a run in Airflow: its pools, limits and processes, and the order of the tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.jobs.job import Job
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool as AirflowPool
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.sdk import timezone
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from airflow_hybrid.reasons.tasks import Airflow, Pool
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.outline import tasks_of_dag

ACTIVE = ("queued", "running")
"""states of tasks that count for Airflow's limits"""
_SILENT_S = 60.0
"""after which a process of Airflow counts as silent; they give a sign of life every few seconds"""
_DEPLOYS = "DeployOperator"


@dataclass(frozen=True)
class TaskOfDag:
    """A task of the DAG that the run has used.

    :ivar before: ids of the tasks directly before it.
    :ivar deploys: it brings up a deployment.
    :ivar most_instances: of it at a time, in all runs; None: no limit.
    """

    task_id: str
    before: frozenset[str] = frozenset()
    deploys: bool = False
    most_instances: int | None = None


@dataclass(frozen=True)
class Placed:
    """Where Airflow has a task instance.

    :ivar trigger: class of its trigger; empty: it has none.
    """

    queue: str
    trigger: str


@dataclass(frozen=True)
class Holds:
    """What may hold up tasks of a run.

    :ivar placed: by task id and map index.
    :ivar active: by task id: its instances that are queued or run, in all runs.
    :ivar runs_active: runs of the DAG that run; ``most_runs``: as many may.
    """

    airflow: Airflow
    tasks: Mapping[str, TaskOfDag]
    pools: Mapping[str, Pool]
    placed: Mapping[tuple[str, int], Placed]
    active: Mapping[str, int]
    runs_active: int
    most_runs: int


def holds_of_run(session: Session, run: RunKey) -> Holds:
    """Read what may hold up tasks of a run."""
    query = select(DagModel.is_paused, DagModel.max_active_tasks, DagModel.max_active_runs).where(
        DagModel.dag_id == run.dag_id
    )
    dag = session.execute(query).one_or_none()
    active = _active(session, run)
    of_run = select(func.count()).where(
        TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id, TaskInstance.state.in_(ACTIVE)
    )
    runs = select(func.count()).where(DagRun.dag_id == run.dag_id, DagRun.state == "running")
    return Holds(
        Airflow(
            paused=bool(dag and dag.is_paused),
            active=session.scalar(of_run) or 0,
            most_active=int(dag.max_active_tasks or 0) if dag else 0,
            scheduler_s=_silence(session, "SchedulerJob"),
            triggerer_s=_silence(session, "TriggererJob"),
        ),
        _tasks(session, run),
        _pools(session, run),
        _placed(session, run),
        active,
        session.scalar(runs) or 0,
        int(dag.max_active_runs or 0) if dag else 0,
    )


def _tasks(session: Session, run: RunKey) -> dict[str, TaskOfDag]:
    """The tasks of the DAG, each with those directly before it."""
    serialized = tasks_of_dag(session, run)
    before: dict[str, set[str]] = defaultdict(set)
    for task in serialized:
        for following in task.get("downstream_task_ids") or ():
            before[following].add(str(task["task_id"]))
    return {str(task["task_id"]): _task(task, frozenset(before[str(task["task_id"])])) for task in serialized}


def _task(task: Mapping[str, Any], before: frozenset[str]) -> TaskOfDag:
    most = task.get("max_active_tis_per_dag", (task.get("partial_kwargs") or {}).get("max_active_tis_per_dag"))
    deploys = task.get("task_type", task.get("_task_type")) == _DEPLOYS
    return TaskOfDag(str(task["task_id"]), before, deploys, most if isinstance(most, int) else None)


def _active(session: Session, run: RunKey) -> dict[str, int]:
    query = (
        select(TaskInstance.task_id, func.count())
        .where(TaskInstance.dag_id == run.dag_id, TaskInstance.state.in_(ACTIVE))
        .group_by(TaskInstance.task_id)
    )
    return {task_id: count for task_id, count in session.execute(query)}


def _pools(session: Session, run: RunKey) -> dict[str, Pool]:
    """The pools of the run's tasks."""
    of_tasks = select(TaskInstance.pool).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
    pools = session.scalars(select(AirflowPool).where(AirflowPool.pool.in_(of_tasks)))
    return {name: Pool(name, pool.slots, pool.open_slots(session=session)) for pool in pools if (name := pool.pool)}


def _placed(session: Session, run: RunKey) -> dict[tuple[str, int], Placed]:
    query = (
        select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.queue, Trigger.classpath)
        .outerjoin(Trigger, Trigger.id == TaskInstance.trigger_id)
        .where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
    )
    return {(task, index): Placed(queue or "", trigger or "") for task, index, queue, trigger in session.execute(query)}


def _silence(session: Session, kind: str) -> float | None:
    """For how long no process of a kind has given a sign of life, in seconds; None: one has, or there never was one."""
    latest = session.scalar(select(func.max(Job.latest_heartbeat)).where(Job.job_type == kind))
    if latest is None:
        return None
    if latest.tzinfo is None:  # SQLite's function returns it without
        latest = latest.replace(tzinfo=timezone.utc)
    seconds = float((timezone.utcnow() - latest).total_seconds())
    return seconds if seconds > _SILENT_S else None
