# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run that is read again and again: what has not changed is neither read from the database nor checked anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.models.xcom import XComModel
from sqlalchemy import create_engine, delete, event, insert
from sqlalchemy.orm import Session

from airflow_hybrid.model.records import JOBS_XCOM, JobsReport
from airflow_hybrid.overviews.tasks import RunJobs
from airflow_hybrid.runs import xcoms
from airflow_hybrid.runs.jobs import RunKey, jobs_of_run
from airflow_hybrid.runs.xcoms import KeptValues


@dataclass
class Database:
    """A run's reports, and how many of them were read."""

    session: Session
    kept: KeptValues = field(default_factory=KeptValues)
    read: list[Any] = field(default_factory=list)

    def report(self, task: str, at: float | str, map_index: int = -1) -> None:
        """As Airflow sets an XCom: a new row takes the place of the old one."""
        self.remove(task, map_index)
        value = at if isinstance(at, str) else JobsReport(at=at).to_json()
        row = {"dag_run_id": 1, "dag_id": "d", "run_id": "r", "task_id": task, "map_index": map_index}
        self.session.execute(insert(XComModel), [{**row, "key": JOBS_XCOM, "value": value}])

    def remove(self, task: str, map_index: int = -1) -> None:
        of_task = (XComModel.task_id == task, XComModel.map_index == map_index)
        self.session.execute(delete(XComModel).where(*of_task))

    def jobs(self) -> RunJobs:
        self.read.clear()
        return jobs_of_run(self.session, RunKey("d", "r"), self.kept)


@pytest.fixture
def database() -> Iterator[Database]:
    engine = create_engine("sqlite://")
    XComModel.__table__.create(engine)
    with Session(engine) as session:
        database = Database(session)
        columns = XComModel.__table__.columns

        @event.listens_for(engine, "before_cursor_execute")
        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("SELECT") and str(columns.value) in statement.partition("FROM")[0]:
                database.read.append(parameters[3:])

        yield database


def ats(jobs: RunJobs) -> list[tuple[str, int, float]]:
    return [(task.task_id, task.map_index, task.report.at) for task in jobs.tasks]


def test_only_what_was_published_since_is_read_again(database: Database) -> None:
    for index in (1, 0):
        database.report("many", 10.0 + index, index)
    database.report("bad", "no report")
    first = database.jobs()
    assert ats(first) == [("many", 0, 10.0), ("many", 1, 11.0)]
    assert first.unread == (("bad", "not a report about jobs that this version reads"),)
    assert database.read == [()]
    again = database.jobs()
    assert (again, database.read) == (first, [])
    assert all(new is old for new, old in zip(again.tasks, first.tasks, strict=True))
    database.report("many", 12.0, 1)
    database.report("bad", 3.0)
    changed = database.jobs()
    assert ats(changed) == [("bad", -1, 3.0), ("many", 0, 10.0), ("many", 1, 12.0)]
    assert changed.unread == () and changed.tasks[1] is first.tasks[0]
    assert database.read == [("bad", -1, "many", 1)]


def test_what_a_cleared_task_had_published_is_forgotten(database: Database) -> None:
    database.report("a", 1.0)
    database.report("b", 2.0)
    database.jobs()
    database.remove("a")
    assert (ats(database.jobs()), database.read) == ([("b", -1, 2.0)], [])
    database.remove("b")
    assert (ats(database.jobs()), database.read) == ([], [])
    database.report("a", 4.0)
    assert ats(database.jobs()) == [("a", -1, 4.0)]


def test_where_much_has_changed_all_is_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xcoms, "_MOST_NAMED", 1)
    for task in ("a", "b", "c"):
        database.report(task, 1.0)
    database.jobs()
    for task in ("a", "c"):
        database.report(task, 2.0)
    assert ats(database.jobs()) == [("a", -1, 2.0), ("b", -1, 1.0), ("c", -1, 2.0)]
    assert database.read == [()]
