# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The files of a run, from Airflow's database."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.orm import Session

from airflow_hybrid.overviews.files import OUTPUTS_TASK, RunData, RunFile, published, replicas
from airflow_hybrid.overviews.lineage import MOVING_ROUTES, RunLineage, transfers
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.lineage import lineage_of_run
from airflow_hybrid.runs.xcoms import published_values

_VALUE_XCOM = "return_value"


def data_of_run(session: Session, run: RunKey) -> RunData:
    """What the tasks of a run have published of files. It is not proof of anything: XComs can be edited."""
    found: dict[tuple[str, str], RunFile] = {}
    for returned in published_values(session, run, _VALUE_XCOM):
        for file in published(returned.task_id, returned.value):
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


def _told_more(known: RunFile, copy: RunFile) -> RunFile:
    """A file of which two tasks have told: how it came there is what the task says that brought it."""
    if known.route in MOVING_ROUTES or (known.route and copy.route not in MOVING_ROUTES):
        return known
    if known.role == "replica":
        return copy
    if known.task_id != copy.task_id or copy.route not in MOVING_ROUTES:
        return known
    return replace(known, route=copy.route, source=copy.source, seconds=copy.seconds)
