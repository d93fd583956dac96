# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The files of a run, from Airflow's database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from airflow_hybrid.model import is_too_deep
from airflow_hybrid.overviews.files import OUTPUTS_TASK, RunData, RunFile, published, replicas
from airflow_hybrid.overviews.lineage import MOVING_ROUTES, RunLineage, transfers
from airflow_hybrid.overviews.replays import RENEWED_XCOM
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.lineage import lineage_of_run
from airflow_hybrid.runs.xcoms import published_values

_VALUE_XCOM = "return_value"


def data_of_run(session: Session, run: RunKey) -> RunData:
    """What the tasks of a run have published of files. It is not proof of anything: XComs can be edited."""
    found: dict[tuple[str, str], RunFile] = {}
    now = _made_again(session, run)
    for returned in published_values(session, run, _VALUE_XCOM):
        for file in published(returned.task_id, now(returned.value)):
            known = found.get((file.site, file.path))
            if known is None or known.role == "output" == file.role:
                found[file.site, file.path] = file
    lineage = lineage_of_run(session, run)
    for replica in replicas(lineage):
        key = (replica.site, replica.path)
        found[key] = replica if key not in found else _told_more(found[key], replica)
    ordered = sorted(found.values(), key=lambda file: (file.role, file.task_id, file.site, file.path))
    of_outputs = tuple(task for task in lineage.tasks if task.task_id == OUTPUTS_TASK)
    of_steps = tuple(task for task in lineage.tasks if task.task_id != OUTPUTS_TASK)
    return RunData(
        tuple(ordered),
        tuple(transfers(RunLineage(of_steps))),
        tuple(transfers(RunLineage(of_outputs))),
        lineage.unread,
    )


def _made_again(session: Session, run: RunKey) -> Callable[[Any], Any]:
    """What makes of a value one in which files that were made again have taken the place of those that were lost."""
    tables = [table.value for table in published_values(session, run, RENEWED_XCOM) if isinstance(table.value, dict)]
    if not tables:
        return lambda value: value
    from airflow_hybrid.operators.recovery.renewed import Renewed  # few runs have lost anything

    renewed = Renewed.from_json({old: new for table in tables for old, new in table.items()})
    return lambda value: value if is_too_deep(value) else renewed.applied(value)


def _told_more(known: RunFile, copy: RunFile) -> RunFile:
    """A file of which two tasks have told: how it came there is what the task says that brought it."""
    if known.route in MOVING_ROUTES or (known.route and copy.route not in MOVING_ROUTES):
        return known
    if known.role == "replica":
        return copy
    if known.task_id != copy.task_id or copy.route not in MOVING_ROUTES:
        return known
    return replace(known, route=copy.route, source=copy.source, seconds=copy.seconds)
