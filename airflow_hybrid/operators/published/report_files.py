# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The report about a run beside its outputs, written by the run's last task.

A task has no access to Airflow's database: it reads what other tasks have published by Airflow's API for tasks.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_hybrid import settings
from airflow_hybrid.engine import Logger
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import LOCAL_DEPLOYMENT, LOCAL_LOCATION, CwlObject, FileRef
from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.model.records import JOBS_XCOM, LINEAGE_XCOM, JobsReport
from airflow_hybrid.model.task_folders import task_folder
from airflow_hybrid.operators.recovery.producers import maker_in
from airflow_hybrid.operators.values import OUTPUTS_TASK, RETURN
from airflow_hybrid.overviews.files import published
from airflow_hybrid.overviews.lineage import RunLineage, TaskLineage, checked_entries
from airflow_hybrid.overviews.overview import RunFacts, scatter_length
from airflow_hybrid.overviews.replays import MADE_AGAIN_XCOM, RENEWED_XCOM, replays_of
from airflow_hybrid.overviews.tasks import RunJobs, RunState, TaskJobs, TaskState, instance_of, label_of
from airflow_hybrid.printable import printable_lines
from airflow_hybrid.removal.here import make_folder, remove_folder
from airflow_hybrid.reports.files import content
from airflow_hybrid.reports.footprint import constants_of
from airflow_hybrid.reports.making import report_of
from airflow_hybrid.reports.values import RunReport

if TYPE_CHECKING:
    from airflow.sdk import Context

T = TypeVar("T")

REPORT_NAME = "run-report"


@contextmanager
def report_files(
    context: Context, outputs: CwlObject, formats: Sequence[str], log: Logger
) -> Iterator[dict[str, CwlObject]]:
    """The report about a run whose outputs are where they belong, as Files in a temporary folder, by their formats.

    :param formats: of :data:`airflow_hybrid.model.report_formats.REPORT_FORMATS`; one that cannot be made does not
        keep the others from being written.
    :raises HybridError: too little is known of the run, or none of the formats can be made.
    """
    report = report_of_context(context, outputs)
    constants = constants_of(settings.current())
    folder = make_folder(tempfile.gettempdir(), "airflow_hybrid_report_")
    try:
        files: dict[str, CwlObject] = {}
        problems: list[Exception] = []
        for name in formats:
            path = folder / f"{REPORT_NAME}.{name}"
            try:
                path.write_bytes(content(report, f".{name}", constants))
            except Exception as error:  # whatever it is: the other formats do not depend on it
                problems.append(error)
                continue
            location = FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, str(path)).uri
            files[name] = {"class": "File", "location": location, "basename": path.name}
        if not files:
            raise problems[0]
        for problem in problems:
            text = str(problem) if isinstance(problem, HybridError) else f"{type(problem).__name__}: {problem}"
            log.warning("a file of the run's report is not written: %s", printable_lines(text))
        yield files
    finally:
        remove_folder(folder)


def report_of_context(context: Context, outputs: CwlObject) -> RunReport:
    """The report of the run that a task belongs to, as its last task knows it.

    :param outputs: of the run, where they belong.
    """
    ti: Any = context["ti"]
    run: Any = context["dag_run"]
    began = None if run.start_date is None else run.start_date.timestamp()
    state = RunState(ti.dag_id, ti.run_id, "running", None, began, None, run.triggering_user_name or "")
    outline = DagOutline.from_text(ti.task.doc_json)
    ids = dict.fromkeys(step.task_id for step in outline.steps if step.task_id)
    tasks = _tasks(ti)
    jobs: list[TaskJobs] = []
    lineage: list[TaskLineage] = []
    unread_jobs: list[tuple[str, str]] = []
    unread_files: list[tuple[str, str]] = []
    for task_id in ids:
        values = _of_instances(ti, task_id, JOBS_XCOM, tasks)
        reports = _readable(task_id, values, JobsReport.from_json, unread_jobs)
        jobs += [TaskJobs(task_id, number, report) for number, report in reports]
    for task_id in [*ids, OUTPUTS_TASK]:
        values = _of_instances(ti, task_id, LINEAGE_XCOM, tasks)
        entries = _readable(task_id, values, checked_entries, unread_files)
        lineage += [TaskLineage(task_id, number, of_task) for number, of_task in entries]
    facts = RunFacts(
        run=state,
        outline=outline,
        jobs=RunJobs(tuple(jobs), tuple(unread_jobs)),
        lineage=RunLineage(tuple(lineage), tuple(unread_files)),
        tasks=tasks,
        planned=_planned(ti, outline),
        replays=replays_of(_made_again(ti, outline, tasks), maker_in(_folders(ti, ids))),
    )
    return report_of(facts, published(OUTPUTS_TASK, outputs), time.time(), is_last_task=True)


def _values(ti: Any, task_id: str, key: str) -> list[Any]:
    """An XCom of all instances of a task, in their order."""
    from airflow.sdk.execution_time.xcom import XCom

    return list(XCom.get_all(key=key, dag_id=ti.dag_id, task_id=task_id, run_id=ti.run_id) or ())


def _of_instances(ti: Any, task_id: str, key: str, tasks: Sequence[TaskState]) -> list[tuple[int, Any]]:
    """The same with the map indexes of those instances that have one.

    Airflow's API tells values without their instances, so if some have none (skipped ones), each is asked for.
    """
    from airflow.sdk.execution_time.xcom import XCom

    values = _values(ti, task_id, key)
    indexes = sorted(task.map_index for task in tasks if task.task_id == task_id) or [-1]
    if len(values) in (0, len(indexes)):
        return list(zip(indexes, values, strict=False))
    found = []
    for index in indexes:
        value = XCom.get_one(key=key, dag_id=ti.dag_id, task_id=task_id, run_id=ti.run_id, map_index=index)
        if value is not None:
            found.append((index, value))
    return found


def _readable(
    task_id: str, values: Iterable[tuple[int, Any]], read: Callable[[Any], T], unread: list[tuple[str, str]]
) -> Iterator[tuple[int, T]]:
    """What can be read of them; what cannot, as somebody has edited it, is noted with the reason."""
    for map_index, value in values:
        try:
            yield map_index, read(value)
        except ValueError as error:
            unread.append((label_of(task_id, map_index), str(error)))


def _made_again(ti: Any, outline: DagOutline, tasks: Sequence[TaskState]) -> Iterator[tuple[str, Any, Any]]:
    """What the tasks of steps, their plans and this task have made again, as they have published it."""
    ids = dict.fromkeys(name for step in outline.steps for name in (step.task_id, step.plan_id) if name)
    for task_id in [*ids, OUTPUTS_TASK]:
        of_task = _of_instances(ti, task_id, MADE_AGAIN_XCOM, tasks)
        if of_task:
            renewed = dict(_of_instances(ti, task_id, RENEWED_XCOM, tasks))
            yield from ((label_of(task_id, index), value, renewed.get(index)) for index, value in of_task)


def _folders(ti: Any, ids: Iterable[str]) -> dict[str, str]:
    """The ids of tasks, by their folders in every work directory."""
    return {task_folder(ti.dag_id, ti.run_id, task_id): task_id for task_id in ids}


def _planned(ti: Any, outline: DagOutline) -> Mapping[str, int]:
    plans = [step.plan_id for step in outline.steps if step.plan_id and step.scatter]
    return {plan_id: scatter_length(chunks) for plan_id in plans for chunks in _values(ti, plan_id, RETURN)[:1]}


def _tasks(ti: Any) -> tuple[TaskState, ...]:
    """The states of the run's task instances; Airflow's API tells no times."""
    known = set(ti.task.dag.task_dict)
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    tasks: list[TaskState] = []
    for name, state in states.items():
        text = None if state is None else str(getattr(state, "value", state))
        task_id, index = instance_of(name, known)
        tasks.append(TaskState(task_id, index, text, 0, None, None, None, None))
    return tuple(tasks)
