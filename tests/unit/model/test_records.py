# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reports about jobs: small, exact, and checked when they are read."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import BatchProgress, JobRecord, JobsReport

FOLDER = "/scratch/u/airflow_hybrid/dag/run/align/3/g0-0f0f0f0f0f/a1-0f0f0f0f0f"
GOOD = JobRecord(
    "/align", "[0]", "cluster", "gpu", "login", JobState.COMPLETED, "", 0, 1, False, "4711_0", "node1",
    1764446000.0, 1764446003.25, 12.5, 11.75, 2.0, 2048, 1000, 0, f"{FOLDER}/00000-0f0f", 1790, 1764445990.25,
    1764446020.5,
)  # fmt: skip
LOST = JobRecord("/align", "[1]", "cluster", "gpu", "login", JobState.LOST, "nobody knows it", attempt=2)
REUSED = JobRecord("/sort", "", "here", "", "here (localhost)", JobState.COMPLETED, reused=True, bytes_out=7)
BATCH = BatchProgress("/align", "cluster/gpu", 12, 3, 2, 7, ("Priority",), "", ("4711",), FOLDER, 1764446000.0, 1)


def read(report: JobsReport) -> JobsReport:
    return JobsReport.from_json(json.loads(json.dumps(report.to_json())))


@pytest.mark.parametrize(
    "records",
    [(), (GOOD,), (LOST,), (GOOD, LOST), (GOOD, LOST, REUSED), (GOOD, GOOD, LOST, LOST, REUSED, GOOD)],
    ids=["none", "one", "unknown", "mixed", "three", "repeated"],
)
def test_a_report_comes_back_as_it_was(records: tuple[JobRecord, ...]) -> None:
    report = JobsReport(records, (BATCH,), 1764446100.5)
    assert read(report) == report
    # a state is equal to its name
    assert [type(record.state) for record in read(report).records] == [JobState for _ in records]


def test_times_follow_from_what_was_seen() -> None:
    assert (GOOD.ended, GOOD.waited_s) == (1764446015.75, 3.25)
    assert (LOST.ended, LOST.waited_s) == (None, None)


def test_a_job_costs_less_than_two_hundred_bytes() -> None:
    records = tuple(
        JobRecord(
            "/align", f"[{i}]", "cluster", "gpu", "login", JobState.COMPLETED, "", 0, 1, False, f"4711_{i}",
            f"node{i % 50}", 1764446000.0, 1764446000 + i * 0.25, 12 + i % 40 / 4, 3.25, 2.0, 2048, 1000 + i, 5000 + i,
            f"{FOLDER}/{i:05d}-0f0f0f0f0f", 900 + i % 700, 1764445990.25 + i // 1000, 1764456020.5 + i // 1000,
        )
        for i in range(10_000)
    )  # fmt: skip
    report = JobsReport(records)
    assert len(json.dumps(report.to_json())) < 100 * len(records)
    assert read(report) == report


def _without(value: Any, *path: str) -> Any:
    changed = copy.deepcopy(value)
    at = changed
    for part in path[:-1]:
        at = at[part]
    del at[path[-1]]
    return changed


def _with(value: Any, new: Any, *path: str) -> Any:
    changed = copy.deepcopy(value)
    at = changed
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = new
    return changed


PLAIN: Any = JobsReport((GOOD, LOST, GOOD, LOST), (BATCH,), 1.0).to_json()
PLAIN = json.loads(json.dumps(PLAIN))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "not a report about jobs that this version reads"),
        ("text", "not a report about jobs that this version reads"),
        (_with(PLAIN, 2, "version"), "not a report about jobs that this version reads"),
        (_without(PLAIN, "batches"), "a report about jobs without a list of batches"),
        (_with(PLAIN, [3], "batches"), "a batch in a report about jobs that is none"),
        (_with(PLAIN, [{}], "batches"), "a record of a job whose step is not what it should be"),
        (_without(PLAIN, "records"), "records of jobs without columns"),
        (_with(PLAIN, 10**12, "records", "count"), "records of jobs without a number of them that is possible"),
        (_with(PLAIN, True, "records", "count"), "records of jobs without a number of them that is possible"),
        (_with(PLAIN, 3, "records", "count"), "records of jobs with another number of values of index"),
        (_without(PLAIN, "records", "columns", "node"), "records of jobs without node"),
        (
            _with(PLAIN, {"all": 3}, "records", "columns", "node"),
            "a record of a job whose node is not what it should be",
        ),
        (
            _with(PLAIN, {"all": "GOOD"}, "records", "columns", "state"),
            "a record of a job whose state is not what it should be",
        ),
        *(
            (
                _with(PLAIN, {"rows": [1.0, *values]}, "records", "columns", "cpu_s"),
                "a record of a job whose cpu_s is not what it should be",
            )
            for values in (
                (float("nan"), 1.0, 1.0),
                (float("inf"), float("-inf"), None),
                (10**400, -(10**400), 1),
                (True, 1.0, 1.0),
                ("1", 1.0, 1.0),
            )
        ),
        (
            _with(PLAIN, {"rows": [1, 10**400, 1, 1]}, "records", "columns", "attempt"),
            "a record of a job whose attempt is not what it should be",
        ),
        (
            _with(PLAIN, {"all": "x" * 5000}, "records", "columns", "node"),
            "a record of a job whose node is not what it should be",
        ),
        (
            _with(PLAIN, {"start": "x" * 4000, "rows": ["", "", "", "y" * 200]}, "records", "columns", "node"),
            "records of jobs with a longer text in node than is read",
        ),
        (
            _with(PLAIN, {"rows": [1.0, 1e299, 1.0, 1.0]}, "records", "columns", "cpu_s"),
            "a record of a job whose cpu_s is not what it should be",
        ),
        (
            _with(PLAIN, {"words": ["a"], "rows": [0, 0, 0, 1]}, "records", "columns", "node"),
            "records of jobs with a number of node that has no word",
        ),
        (
            _with(PLAIN, {"words": ["a"], "rows": [0, 0, 0, -1]}, "records", "columns", "node"),
            "records of jobs with a number of node that has no word",
        ),
        (
            _with(PLAIN, {"rows": [1.5, None, float("nan"), 1.0]}, "records", "columns", "seconds"),
            "a record of a job whose seconds is not what it should be",
        ),
    ],
)  # fmt: skip
def test_something_else_is_refused(value: Any, problem: str) -> None:
    with pytest.raises(ValueError) as error:
        JobsReport.from_json(value)
    assert str(error.value) == problem


def test_a_report_of_an_earlier_version_has_neither_mpi_jobs_nor_rules() -> None:
    earlier = PLAIN
    for column in ("processes", "resubmission", "rule"):
        earlier = _without(earlier, "records", "columns", column)
    assert JobsReport.from_json(earlier) == JobsReport.from_json(PLAIN)
