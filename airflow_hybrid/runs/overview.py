# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run as a whole, from Airflow's database."""

from __future__ import annotations

from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.model.task_folders import task_folder
from airflow_hybrid.operators.recovery.producers import maker_in
from airflow_hybrid.overviews.overview import RunFacts, RunOverview, overview_of, scatter_length
from airflow_hybrid.overviews.replays import MADE_AGAIN_XCOM, RENEWED_XCOM, RunReplays, replays_of
from airflow_hybrid.runs.jobs import RunKey, jobs_of_run
from airflow_hybrid.runs.lineage import lineage_of_run
from airflow_hybrid.runs.outline import outline_of_run
from airflow_hybrid.runs.tasks import state_of_run, tasks_of_run
from airflow_hybrid.runs.xcoms import KeptValues, plain, published_values

_VALUE_XCOM = "return_value"


def facts_of_run(session: Session, run: RunKey, kept: KeptValues | None = None) -> RunFacts:
    """Read a run.

    :param kept: what was read of it before.
    :raises HybridError: there is no such run, or its DAG is none of this package.
    """
    outline = outline_of_run(session, run)
    return RunFacts(
        state_of_run(session, run),
        outline,
        jobs_of_run(session, run, kept),
        lineage_of_run(session, run, kept),
        tuple(tasks_of_run(session, run)),
        planned_of_run(session, run, outline),
        replays_of_run(session, run, outline),
    )


def replays_of_run(session: Session, run: RunKey, outline: DagOutline) -> RunReplays:
    """What was lost in a run and made again."""
    renewed = {table.label: table.value for table in published_values(session, run, RENEWED_XCOM)}
    told = published_values(session, run, MADE_AGAIN_XCOM)
    values = ((task.label, task.value, renewed.get(task.label)) for task in told)
    tasks = {step.task_id for step in outline.steps if step.task_id}
    folders = {task_folder(run.dag_id, run.run_id, task_id): task_id for task_id in tasks}
    return replays_of(values, maker_in(folders))


def planned_of_run(session: Session, run: RunKey, outline: DagOutline) -> dict[str, int]:
    """How many jobs, or instances, the plan tasks have found."""
    plans = [step.plan_id for step in outline.steps if step.plan_id and step.scatter]
    query = select(XComModel.task_id, XComModel.value).where(
        XComModel.dag_id == run.dag_id,
        XComModel.run_id == run.run_id,
        XComModel.key == _VALUE_XCOM,
        XComModel.map_index == -1,
        XComModel.task_id.in_(plans),
    )
    return {task_id: scatter_length(plain(value)) for task_id, value in session.execute(query)}


def overview_of_run(session: Session, run: RunKey) -> RunOverview:
    """A run as a whole.

    :raises HybridError: as :func:`facts_of_run`.
    """
    return overview_of(facts_of_run(session, run))
