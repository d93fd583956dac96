# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Puts rows of Airflow's database into the states that its scheduler gives them; runs in a process with Airflow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any


def hold(  # noqa: PLR0913 - facts, by name
    dag_id: str,
    run_id: str,
    task: dict[str, Any],
    *,
    run_state: str = "running",
    paused: bool = False,
    pool_slots: int = 128,
    scheduler_silent_s: float | None = None,
    trigger: str = "",
) -> None:
    """:param task: ``task_id`` and what its instances shall have (``state``, ``queue``, ``pool``)."""
    from airflow.jobs.job import Job
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.models.pool import Pool
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.sdk import timezone
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select, update

    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id).values(_state=run_state))
        session.execute(update(DagModel).where(DagModel.dag_id == dag_id).values(is_paused=paused))
        session.execute(update(Pool).where(Pool.pool == "default_pool").values(slots=pool_slots))
        session.execute(delete(Job).where(Job.job_type == "SchedulerJob"))
        if scheduler_silent_s is not None:
            heartbeat = timezone.utcnow() - timedelta(seconds=scheduler_silent_s)
            job: Any = Job(job_type="SchedulerJob")  # type: ignore[no-untyped-call]
            job.job_type, job.latest_heartbeat = "SchedulerJob", heartbeat
            session.add(job)
        values = dict(task)
        task_id = values.pop("task_id")
        if trigger:
            row = Trigger(classpath=trigger, kwargs={})
            session.add(row)
            session.flush()
            values["trigger_id"] = row.id
        of_run = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id == task_id)
        for found in session.scalars(select(TaskInstance).where(*of_run)):
            for key, value in values.items():
                setattr(found, key, value)
