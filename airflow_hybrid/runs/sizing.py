# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The past runs of a DAG from which requests are proposed, from Airflow's database."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from airflow_hybrid.overviews.sizing import PastRun
from airflow_hybrid.runs.jobs import RunKey, jobs_of_run


def past_runs(session: Session, runs: Iterable[RunKey]) -> list[PastRun]:
    """The jobs of each run."""
    past = []
    for run in runs:
        jobs = jobs_of_run(session, run)
        records = [record for task in jobs.tasks for record in task.report.records]
        unread = [f"run {run.run_id}: the jobs of task {task} do not count: {why}" for task, why in jobs.unread]
        past.append(PastRun(tuple(records), tuple(unread)))
    return past
