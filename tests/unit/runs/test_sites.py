# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which deployments of several DAGs are the same, where they are, and what is kept of a report."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.model.records import JobRecord, JobsReport
from airflow_hybrid.runs.sites.digests import PERIOD_S, digest_of
from airflow_hybrid.runs.sites.now import key_of, where_of

HPC = {"type": "ssh", "config": {"nodes": [{"hostname": "login.example"}]}}


def outline(**deployments: Any) -> DagOutline:
    return DagOutline("main.cwl", (), deployments)


@pytest.mark.parametrize(
    ("deployment", "where"),
    [
        ({"type": "local"}, "the machine of Airflow's workers"),
        ({"type": "local", "config": {"queue": "gpu"}}, "the machine of Airflow's workers of queue gpu"),
        (HPC, "login.example"),
        ({"type": "ssh", "config": {"nodes": [{"hostname": f"n{i}"} for i in range(5)]}}, "n0, n1, n2, 2 more"),
        ({"type": "ssh", "config": {"conn_id": "hpc", "nodes": [{"conn_id": "n1"}]}}, "Connection hpc, Connection n1"),
        ({"type": "slurm", "config": {"hostname": "h", "passphrase": "secret"}}, "h"),
        ({"type": "kubernetes", "config": {"namespace": "team"}}, "team"),
        ({"type": "slurm", "wraps": "login", "config": {}}, ""),
        ({"type": "ssh", "config": "nonsense"}, ""),
    ],
)
def test_where_a_deployment_is_says_hosts_and_connections_and_no_secret(deployment: Any, where: str) -> None:
    assert where_of(deployment) == where


def test_deployments_of_one_name_at_different_hosts_are_told_apart() -> None:
    elsewhere = {"type": "ssh", "config": {"nodes": [{"hostname": "other.example"}]}}
    queue = {"type": "slurm", "wraps": "login"}
    one, same, other = outline(login=HPC, hpc=queue), outline(login=HPC, hpc=queue), outline(login=elsewhere, hpc=queue)
    assert key_of(one, "hpc") == key_of(same, "hpc") != key_of(other, "hpc")
    assert key_of(outline(a={"type": "x", "wraps": "b"}, b={"type": "x", "wraps": "a"}), "a") == (
        "a", "x", "", "b", "x", ""
    )  # fmt: skip


def test_of_a_report_the_last_tries_are_counted_by_the_time_at_which_they_ended() -> None:
    def record(index: str, state: JobState, attempt: int, ended: float, **more: Any) -> JobRecord:
        values: dict[str, Any] = {
            "attempt": attempt,
            "submitted": ended - 30,
            "began": ended - 10,
            "seconds": 10.0,
            **more,
        }
        return JobRecord("/a", index, "hpc", "", "login", state, **values)

    records = (
        record("[0]", JobState.NODE_FAIL, 1, 100),
        record("[0]", JobState.COMPLETED, 2, PERIOD_S + 100),
        record("[1]", JobState.LOST, 1, PERIOD_S + 200, reason="gone"),
        record("[2]", JobState.COMPLETED, 1, 5 * PERIOD_S, reused=True),
        record("[3]", JobState.FAILED, 1, 50, exit_code=1, collected=70.0),
    )
    hpc = digest_of(JobsReport(records, (), 9999.0)).deployments["hpc"]
    assert (hpc.jobs, hpc.failed, hpc.by_site) == ({1: 2, 0: 1}, {1: 1, 0: 1}, {1: 1, 0: 0})
    assert hpc.waits == ((1, 20.0), (1, 20.0), (0, 20.0))
    assert hpc.contact == PERIOD_S + 200
    assert hpc.last is not None and (hpc.last.index, hpc.last.reason, hpc.last.success) == ("[1]", "gone", False)
