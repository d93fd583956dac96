# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the tasks of a run have recorded of files, from Airflow's database."""

from __future__ import annotations

from sqlalchemy.orm import Session

from airflow_hybrid.overviews.lineage import RunLineage, TaskLineage, checked_entries
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.xcoms import PublishedValue, read_values
from airflow_hybrid.triggers.reports import LINEAGE_XCOM


def lineage_of_run(session: Session, run: RunKey) -> RunLineage:
    """What the tasks of a run have recorded, in the order of tasks and map indexes; it is checked."""
    return RunLineage(*read_values(session, run, LINEAGE_XCOM, _task_lineage))


def _task_lineage(published: PublishedValue) -> TaskLineage:
    """:raises ValueError: it is no lineage."""
    return TaskLineage(published.task_id, published.map_index, checked_entries(published.value))
