# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the tasks of a run have recorded of files, from Airflow's database."""

from __future__ import annotations

from sqlalchemy.orm import Session

from airflow_hybrid.model.records import LINEAGE_XCOM
from airflow_hybrid.overviews.lineage import RunLineage, TaskLineage, checked_entries
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.xcoms import KeptValues, PublishedValue, read_values


def lineage_of_run(session: Session, run: RunKey, kept: KeptValues | None = None) -> RunLineage:
    """What the tasks of a run have recorded, in the order of tasks and map indexes; it is checked.

    :param kept: what was read of the run before.
    """
    return RunLineage(*read_values(session, run, LINEAGE_XCOM, _task_lineage, kept))


def _task_lineage(published: PublishedValue) -> TaskLineage:
    """:raises ValueError: it is no lineage."""
    return TaskLineage(published.task_id, published.map_index, checked_entries(published.value))
