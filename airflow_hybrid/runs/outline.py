# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The outline of a run's DAG (:mod:`airflow_hybrid.model.outline`), from the serialized DAG that the run has used.

The DAG processor writes serialized DAGs, and no user can change them: unlike XComs, they can be trusted like DAG files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_hybrid.config import Deployment, Link, for_run
from airflow_hybrid.config.users import TriggeredBy, deployments_of_user
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.operators.context.run import UNATTENDED, run_token
from airflow_hybrid.operators.values import OUTPUTS_TASK
from airflow_hybrid.printable import printable
from airflow_hybrid.runs.jobs import RunKey


def outline_of_run(session: Session, run: RunKey) -> DagOutline:
    """The outline of the version of the DAG that the run has used.

    :raises HybridError: the DAG is none of this package, or was serialized by another version of it.
    """
    serialized = _serialized(session, run)
    if serialized is None:
        which = f"DAG {printable(run.dag_id)} that run {printable(run.run_id)} has used"
        raise HybridError(f"Airflow does not have the version of {which}, or not any longer")
    return _outline(serialized, run.dag_id)


def tasks_of_dag(session: Session, run: RunKey) -> list[Mapping[str, Any]]:
    """The tasks of the DAG that the run has used, as Airflow has serialized them; none: Airflow no longer has it."""
    serialized = _serialized(session, run)
    return [] if serialized is None else list(_tasks(serialized.data))


def _serialized(session: Session, run: RunKey) -> SerializedDagModel | None:
    query = select(DagRun.created_dag_version_id).where(DagRun.dag_id == run.dag_id, DagRun.run_id == run.run_id)
    version = session.scalar(query)
    of_task = select(TaskInstance.dag_version_id).where(
        TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id, TaskInstance.task_id == OUTPUTS_TASK
    )
    version = session.scalar(of_task) or version
    if version is None:
        return None
    return session.scalar(select(SerializedDagModel).where(SerializedDagModel.dag_version_id == version))


def outline_of_dag(session: Session, dag_id: str) -> DagOutline:
    """The outline of the latest version of a DAG.

    :raises HybridError: as :func:`outline_of_run`.
    """
    query = (
        select(SerializedDagModel)
        .where(SerializedDagModel.dag_id == dag_id)
        .order_by(SerializedDagModel.created_at.desc())
        .limit(1)
    )
    return _outline(session.scalar(query), dag_id)


def _outline(serialized: SerializedDagModel | None, dag_id: str) -> DagOutline:
    if serialized is None:
        raise HybridError(
            f"Airflow has no DAG {printable(dag_id)}",
            hint="airflow dags list shows all DAGs; airflow dags reserialize reads the DAG files again",
        )
    for task in _tasks(serialized.data):
        text = task.get("doc_json")
        if task.get("task_id") == OUTPUTS_TASK and isinstance(text, str):
            try:
                return DagOutline.from_text(text)
            except ValueError as error:
                problem = f"DAG {printable(dag_id)}: {error}"
                raise HybridError(problem, hint="airflow dags reserialize reads the DAG files again") from None
    raise HybridError(f"DAG {printable(dag_id)} is not made of a CWL document by airflow_hybrid")


def _tasks(data: Any) -> Iterator[Mapping[str, Any]]:
    """The tasks of a serialized DAG."""
    for task in (data or {}).get("dag", {}).get("tasks", ()):
        yield task.get("__var", task)


def deployments_in_run(session: Session, run: RunKey, outline: DagOutline) -> dict[str, Deployment]:
    """The deployments as the run's tasks have them: with its user's Connections, and what was deployed for it.

    Templates in their options are not rendered: a deployment that has some cannot be reached from here.
    """
    deployments = {name: Deployment.from_json(value) for name, value in outline.deployments.items()}
    query = select(DagRun.triggering_user_name, DagRun.run_type).where(
        DagRun.dag_id == run.dag_id, DagRun.run_id == run.run_id
    )
    row = session.execute(query).one()
    by = TriggeredBy(row.triggering_user_name or None, unattended=row.run_type in UNATTENDED)
    resolved = deployments_of_user(deployments, by)
    return for_run(resolved, run_token(run.dag_id, run.run_id), f"{run.dag_id} {run.run_id}")


def links_of(outline: DagOutline) -> tuple[Link, ...]:
    """The links of a DAG's deployments."""
    return Link.all_from_json(outline.links)
