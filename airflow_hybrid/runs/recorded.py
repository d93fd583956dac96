# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The facts of a run for a record of it, from Airflow's database."""

from __future__ import annotations

from typing import Any, cast

from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_hybrid.crates.facts import RunFacts
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.operators.outputs import OutputsOperator
from airflow_hybrid.operators.published.recorded import RunDescription, facts_of_run
from airflow_hybrid.operators.values import OUTPUTS_TASK, Scope
from airflow_hybrid.printable import printable
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.xcoms import plain

_ENDED = ("success", "failed")


def facts_from_database(session: Session, run: RunKey, dag: Any) -> RunFacts:
    """The facts of a run that has ended.

    :param dag: its DAG.
    :raises HybridError: the run has not ended, or too little is known of it.
    """
    row = session.scalars(select(DagRun).where(DagRun.dag_id == run.dag_id, DagRun.run_id == run.run_id)).one()
    state = str(getattr(row.state, "value", row.state))
    if state not in _ENDED:
        raise HybridError(
            f"run {printable(run.run_id)} of DAG {printable(run.dag_id)} is {state}: only runs that have ended can be"
            " recorded"
        )
    description = RunDescription(
        dag_id=run.dag_id,
        run_id=run.run_id,
        succeeded=state == "success",
        began=None if row.start_date is None else row.start_date.timestamp(),
        ended=None if row.end_date is None else row.end_date.timestamp(),
        user=row.triggering_user_name or "",
    )
    return facts_of_run(scope_of(dag), XComs(session, run), description)


def dag_of_run(session: Session, run: RunKey) -> Any:
    """The DAG of a run, from its file. Airflow's database stays as it is.

    :raises HybridError: there is none, or it cannot be read.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.models.dag import DagModel

    known = session.get(DagModel, run.dag_id)
    problem = "Airflow does not know it"
    if known is not None:
        manager = cast(Any, DagBundlesManager)()
        try:
            bundle = manager.get_bundle(known.bundle_name)
            bundle.initialize()
        except (ValueError, OSError) as error:
            problem = str(error)
        else:
            bag = BundleDagBag(
                dag_folder=bundle.path / (known.relative_fileloc or ""),
                bundle_path=bundle.path,
                bundle_name=bundle.name,
            )
            if run.dag_id in bag.dags:
                return bag.dags[run.dag_id]
            problem = next(iter(bag.import_errors.values()), f"{known.relative_fileloc} does not have it")
    raise HybridError(
        f"the file of DAG {printable(run.dag_id)} cannot be read here: {problem}",
        hint="airflow dags list-import-errors shows what is wrong with DAG files",
    )


def scope_of(dag: Any) -> Scope:
    """The workflow of a DAG, with the tasks of its steps.

    :raises HybridError: it was not made of a document.
    """
    task = dag.task_dict.get(OUTPUTS_TASK)
    if not isinstance(task, OutputsOperator):
        raise HybridError(f"DAG {printable(dag.dag_id)} is not made of a CWL document by airflow_hybrid")
    return task.scope


class XComs:
    """Reads XComs of a run: those of all instances of a task at once."""

    def __init__(self, session: Session, run: RunKey) -> None:
        self._session = session
        self._run = run
        self._known: dict[tuple[str, str], dict[int, JsonValue]] = {}

    def __call__(self, task_id: str, key: str, map_index: int) -> JsonValue:
        if (task_id, key) not in self._known:
            query = select(XComModel.map_index, XComModel.value).where(
                XComModel.dag_id == self._run.dag_id,
                XComModel.run_id == self._run.run_id,
                XComModel.task_id == task_id,
                XComModel.key == key,
            )
            self._known[task_id, key] = {index: plain(value) for index, value in self._session.execute(query)}
        return self._known[task_id, key].get(map_index)
