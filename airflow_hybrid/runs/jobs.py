# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The jobs of a run, as its tasks have reported them."""

from __future__ import annotations

from dataclasses import dataclass

from airflow.models.dagrun import DagRun
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_hybrid.errors import HybridError
from airflow_hybrid.model.records import JOBS_XCOM, JobsReport
from airflow_hybrid.overviews.tasks import RunJobs, TaskJobs
from airflow_hybrid.printable import printable
from airflow_hybrid.runs.xcoms import KeptValues, PublishedValue, read_values

_MOST_NAMES = 10


@dataclass(frozen=True)
class RunKey:
    """A DAG run, by Airflow's names."""

    dag_id: str
    run_id: str


def find_run(session: Session, run_id: str, dag_id: str | None = None) -> RunKey:
    """The run with an id; ids are unique in a DAG only.

    :raises HybridError: there is none, or several DAGs have one.
    """
    query = select(DagRun.dag_id).where(DagRun.run_id == run_id).order_by(DagRun.dag_id)
    if dag_id is not None:
        query = query.where(DagRun.dag_id == dag_id)
    found = list(session.scalars(query))
    if len(found) == 1:
        return RunKey(found[0], run_id)
    if found:
        names = ", ".join(found[:_MOST_NAMES]) + (" ..." if len(found) > _MOST_NAMES else "")
        raise HybridError(f"{len(found)} DAGs have a run {printable(run_id)}: {names}", hint="add --dag-id")
    if dag_id is not None:
        raise HybridError(
            f"DAG {printable(dag_id)} has no run {printable(run_id)}",
            hint=f"airflow dags list-runs {printable(dag_id)}",
        )
    raise HybridError(f"no DAG has a run {printable(run_id)}", hint="airflow dags list-runs DAG lists those of a DAG")


def latest_runs(session: Session, dag_id: str, most: int) -> list[RunKey]:
    """The latest runs of a DAG, the latest one first."""
    query = select(DagRun.run_id).where(DagRun.dag_id == dag_id).order_by(DagRun.run_after.desc(), DagRun.id.desc())
    return [RunKey(dag_id, run_id) for run_id in session.scalars(query.limit(most))]


def jobs_of_run(session: Session, run: RunKey, kept: KeptValues | None = None) -> RunJobs:
    """What the tasks of a run have reported, in the order of tasks and map indexes.

    :param kept: what was read of the run before.
    """
    return RunJobs(*read_values(session, run, JOBS_XCOM, _task_jobs, kept))


def _task_jobs(published: PublishedValue) -> TaskJobs:
    """:raises ValueError: it is no report."""
    return TaskJobs(published.task_id, published.map_index, JobsReport.from_json(published.value))
