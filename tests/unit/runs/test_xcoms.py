# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""XComs that a backend keeps elsewhere than in Airflow's database."""

from __future__ import annotations

from airflow.models.xcom import XComModel
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from airflow_hybrid.model.records import JOBS_XCOM, JobsReport
from airflow_hybrid.runs.jobs import RunKey, jobs_of_run
from airflow_hybrid.runs.xcoms import plain


def test_a_report_that_a_backend_keeps_elsewhere_is_told_as_such_and_not_fetched() -> None:
    engine = create_engine("sqlite://")
    XComModel.__table__.create(engine)
    addresses = {"far": "s3://bucket/d/r/far/1\x1b", "here": JobsReport(at=3.0).to_json(), "odd": "neither"}
    rows = [
        {
            "dag_run_id": 1,
            "dag_id": "d",
            "run_id": "r",
            "task_id": task,
            "map_index": -1,
            "key": JOBS_XCOM,
            "value": value,
        }
        for task, value in addresses.items()
    ]
    with Session(engine) as session:
        session.execute(insert(XComModel), rows)
        jobs = jobs_of_run(session, RunKey("d", "r"))
    assert [(task.task_id, task.report.at) for task in jobs.tasks] == [("here", 3.0)]
    assert jobs.unread == (
        (
            "far",
            "the XCom backend keeps it at s3://bucket/d/r/far/1\\x1b, and not in Airflow's database, where pages and"
            " commands read it; a higher [common.io] xcom_objectstorage_threshold keeps it there for later runs",
        ),
        ("odd", "not a report about jobs that this version reads"),
    )


def test_a_text_that_is_nested_too_deep_stays_a_text() -> None:
    text = "[" * 100_000
    assert plain(text) == text
