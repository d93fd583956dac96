# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a callback can read of its run: the XComs and states that Airflow hands out over its API for tasks.

Callbacks of a DAG run in the DAG processor, those of tasks in a worker; neither has access to the database.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from airflow_hybrid.model.records import JOBS_XCOM, LINEAGE_XCOM, JobRecord, JobsReport
from airflow_hybrid.notifications.summary import RunSummary
from airflow_hybrid.operators.values import OUTPUTS_TASK
from airflow_hybrid.overviews.lineage import RunLineage, TaskLineage, checked_entries, transfers
from airflow_hybrid.overviews.tasks import instance_of

log = logging.getLogger(__name__)

_STEP = "HybridOperator"


def summary_of(context: Mapping[str, Any]) -> RunSummary:
    """The summary of the run that a callback is about.

    What cannot be read is said in the summary: nobody is told less because a value is wrong.
    """
    dag, run_id = context["dag"], str(context["run_id"])
    steps = [task.task_id for task in dag.tasks if task.task_type == _STEP]
    records: list[JobRecord] = []
    lineage: list[TaskLineage] = []
    unread: list[str] = []
    steps_of_tasks: dict[str, frozenset[str]] = {}
    for task_id in steps:
        reported: set[str] = set()
        for value in _values(dag.dag_id, run_id, task_id, JOBS_XCOM, unread):
            try:
                report = JobsReport.from_json(value)
            except ValueError:
                _add(unread, task_id)
                continue
            records += report.records
            reported |= {record.step for record in report.records}
        steps_of_tasks[task_id] = frozenset(reported)
    for task_id in [*steps, OUTPUTS_TASK]:
        for value in _values(dag.dag_id, run_id, task_id, LINEAGE_XCOM, unread):
            try:
                lineage.append(TaskLineage(task_id, -1, checked_entries(value)))
            except ValueError:
                _add(unread, task_id)
    return RunSummary(
        dag_id=dag.dag_id,
        run_id=run_id,
        state=_state(context),
        reason=str(context.get("exception") or context.get("reason") or ""),
        records=records,
        transfers=transfers(RunLineage(tuple(lineage))),
        failed_tasks=_failed_tasks(dag, run_id),
        unread=unread,
        url=_url(dag.dag_id, run_id),
        steps_of_tasks=steps_of_tasks,
    )


def _values(dag_id: str, run_id: str, task_id: str, key: str, unread: list[str]) -> Iterator[Any]:
    """An XCom of all instances of a task."""
    from airflow.sdk.execution_time.xcom import XCom

    try:
        yield from XCom.get_all(key=key, dag_id=dag_id, task_id=task_id, run_id=run_id) or ()
    except Exception:  # of Airflow's API, or of the custom XCom backend
        log.warning("XCom %s of task %s cannot be read", key, task_id, exc_info=True)
        _add(unread, task_id)


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _state(context: Mapping[str, Any]) -> str:
    """Airflow gives a callback of a DAG its reason: ``success``, ``task_failure``, ``timed_out``, ..."""
    if context.get("exception") is not None:
        return "failed"
    reason = context.get("reason")
    return "succeeded" if reason in (None, "success") else "failed"


def _failed_tasks(dag: Any, run_id: str) -> list[str] | None:
    """The ids of tasks that failed; None: Airflow does not say."""
    from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        answer: Any = SUPERVISOR_COMMS.send(GetTaskStates(dag_id=dag.dag_id, run_ids=[run_id]))
    except Exception:
        log.warning("the states of the run's tasks cannot be read", exc_info=True)
        return None
    if not isinstance(answer, TaskStatesResult):
        log.warning("the states of the run's tasks cannot be read: Airflow has answered %s", type(answer).__name__)
        return None
    known = {task.task_id for task in dag.tasks}
    failed: list[str] = []
    for name, state in answer.task_states.get(run_id, {}).items():
        if str(getattr(state, "value", state)) != "failed":
            continue
        _add(failed, instance_of(name, known)[0])
    return failed


def _url(dag_id: str, run_id: str) -> str:
    from airflow.sdk.configuration import conf

    base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}" if base else ""
