# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The task instances of a run."""

from __future__ import annotations

from datetime import datetime

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_hybrid.errors import HybridError
from airflow_hybrid.overviews.tasks import RunState, TaskState
from airflow_hybrid.printable import printable
from airflow_hybrid.runs.jobs import RunKey


def state_of_run(session: Session, run: RunKey) -> RunState:
    """A DAG run.

    :raises HybridError: there is none.
    """
    query = select(DagRun).where(DagRun.dag_id == run.dag_id, DagRun.run_id == run.run_id)
    found = session.scalar(query)
    if found is None:
        raise HybridError(
            f"DAG {printable(run.dag_id)} has no run {printable(run.run_id)}",
            hint=f"airflow dags list-runs {printable(run.dag_id)}",
        )
    return RunState(
        run.dag_id,
        run.run_id,
        str(found.state),
        _seconds(found.queued_at),
        _seconds(found.start_date),
        _seconds(found.end_date),
        found.triggering_user_name or "",
        str(found.run_type),
    )


def tasks_of_run(session: Session, run: RunKey) -> list[TaskState]:
    """The task instances of a run, by task id and map index."""
    columns = (
        TaskInstance.task_id,
        TaskInstance.map_index,
        TaskInstance.state,
        TaskInstance.try_number,
        TaskInstance.scheduled_dttm,
        TaskInstance.queued_dttm,
        TaskInstance.start_date,
        TaskInstance.end_date,
        TaskInstance.pool,
        TaskInstance._rendered_map_index,
    )
    query = (
        select(*columns)
        .where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
        .order_by(TaskInstance.task_id, TaskInstance.map_index)
    )
    return [
        TaskState(
            task,
            index,
            state,
            tries,
            _seconds(scheduled),
            _seconds(queued),
            _seconds(start),
            _seconds(end),
            pool,
            name or "",
        )
        for task, index, state, tries, scheduled, queued, start, end, pool, name in session.execute(query)
    ]


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else round(time.timestamp(), 3)
