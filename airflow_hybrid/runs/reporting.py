# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run as a report (:mod:`airflow_hybrid.reports`), from Airflow's database."""

from __future__ import annotations

import time

from sqlalchemy.orm import Session

from airflow_hybrid.operators.values import OUTPUTS_TASK
from airflow_hybrid.reports.making import report_of
from airflow_hybrid.reports.values import RunReport
from airflow_hybrid.runs.data import data_of_run
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.overview import facts_of_run


def report_of_run(session: Session, run: RunKey) -> RunReport:
    """All that a report about a run has.

    :raises HybridError: there is no such run, or its DAG is none of this package.
    """
    facts = facts_of_run(session, run)
    published = [file for file in data_of_run(session, run).files if file.task_id == OUTPUTS_TASK]
    return report_of(facts, published, time.time())
