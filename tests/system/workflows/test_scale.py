# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A long scatter costs the login node little, counted there."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import JOBS_XCOM, JobRecord, JobsReport
from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_api import AirflowApiError, wait_for
from tests.system.airflow_stack import AirflowStack, peak_rss_mib
from tests.system.conftest import Dags
from tests.system.processes import marked
from tests.testbed.fixture import Testbed

JOBS = 1000
COMMANDS_PER_JOB = 0.05
SHORTEST_POLL_S = 0.3


def connections_to(airflow: AirflowStack, component: str, host: str) -> set[int]:
    """The local ports of the TCP connections that a component's processes have to a host's ssh port now.

    A process that is about to start a program has its parent's connections, too; so they are told apart by their ports.
    """
    root = psutil.Process(airflow.processes.pid(component))
    ports = set()
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.raddr == (host, 22) and connection.status == psutil.CONN_ESTABLISHED:
                    ports.add(connection.laddr.port)
    return ports


@pytest.mark.slow
def test_a_thousand_echos_on_slurm_are_few_commands(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed
) -> None:
    workflow = {
        "type": "cwl",
        "config": {"file": "scatter_echo.cwl"},
        "bindings": [{"step": "/echo", "target": {"deployment": "hpc", "service": "main"}}],
    }
    name = "scale_slurm"
    dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": deployments})
    airflow.api.unpause(name)
    words = [f"word {i}" for i in range(JOBS)]
    host = testbed.sites["hpc"].host
    most: set[int] = set()

    # those of other deployments, which earlier tests have used
    before = connections_to(airflow, "triggerer", host)

    def watch() -> None:
        nonlocal most
        most = max(most, connections_to(airflow, "triggerer", host) - before, key=len)

    moment = testbed.sshd_log_bytes("hpc")
    with testbed.counting("hpc", "sbatch", "squeue", "sacct", "scontrol") as calls:
        started = time.monotonic()
        run = airflow.api.trigger(name, {"words": words})
        airflow.api.wait_run(name, run, 300, watch=watch)
        airflow.api.succeed(name, run)
        elapsed_s = time.monotonic() - started
        chunks = sum(task["task_id"] == "echo" for task in airflow.api.tasks(name, run))
        login = testbed.login_since("hpc", moment)
        seen = {program: calls[program] for program in ("sbatch", "squeue", "sacct", "scontrol")}
    print(f"{elapsed_s:.1f} s, {chunks} chunks, {seen}, {login}, triggerer {airflow.peak_rss_mib('triggerer'):.0f} MiB")
    said = airflow.api.xcom(name, run, OUTPUTS_TASK)["said"]
    assert [file["size"] for file in said] == [len(word) + 1 for word in words]
    assert 1 <= seen["sbatch"] <= chunks
    assert seen["squeue"] <= elapsed_s / SHORTEST_POLL_S
    assert len(most) <= 1, "connections from the triggerer to the login node at a time"
    # the triggerer's, and that of the final task, which fetches the outputs from a worker
    assert login.connections <= 2
    assert login.commands <= COMMANDS_PER_JOB * JOBS
    chunk_numbers = [task["map_index"] for task in airflow.api.tasks(name, run) if task["task_id"] == "echo"]
    reports = [airflow.api.xcom(name, run, "echo", JOBS_XCOM, number) for number in chunk_numbers]
    records = [record for report in reports for record in JobsReport.from_json(report).records]
    assert sorted(int(record.index[1:-1]) for record in records) == list(range(JOBS))
    assert {record.state for record in records} == {JobState.COMPLETED}
    assert {(record.scheduler_id, record.node) for record in records} <= accounted(testbed, records)


def accounted(testbed: Testbed, records: list[JobRecord]) -> set[tuple[str, str]]:
    """Elements and their nodes, of the arrays that ran jobs, as the site's accounting has them; it lags behind."""
    arrays = sorted({record.scheduler_id.partition("_")[0] for record in records})
    command = f"sacct -n -X -P -j {','.join(arrays)} -o JobID,NodeList"
    wanted = {record.scheduler_id for record in records}
    deadline = time.monotonic() + 240
    while True:
        rows = [tuple(row.split("|", 1)) for row in testbed.run("hpc", command).splitlines()]
        if wanted <= {row[0] for row in rows if row[1].startswith("node")} or time.monotonic() > deadline:
            return {(row[0], row[1]) for row in rows}
        time.sleep(2)


@pytest.mark.slow
def test_jobs_are_shown_while_they_run_and_later(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed
) -> None:
    name, note = "jobs_shown", f"/tmp/held-{uuid.uuid4().hex}"
    workflow = {
        "type": "cwl",
        "config": {"file": "held.cwl"},
        "bindings": [{"step": "/", "target": {"deployment": "cloud"}}],
    }
    dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": deployments})
    airflow.api.unpause(name)
    run = airflow.api.trigger(name, {"note": note})
    command = ("hybrid", "jobs", run, "--dag-id", name)
    shown = ""

    def is_running() -> bool:
        nonlocal shown
        shown = airflow.airflow(*command)
        return re.search(r"at cloud.*: 0 of 1 job ended, 1 running, for [\d.]+ s\n", shown) is not None

    def first_report() -> JobsReport | None:
        for task in airflow.api.tasks(name, run):
            with contextlib.suppress(AirflowApiError):
                return JobsReport.from_json(airflow.api.xcom(name, run, task["task_id"], JOBS_XCOM))
        return None

    try:
        report = wait_for(first_report, 240, lambda: "no report")
        seen_s = time.time()
        (progress,) = report.batches
        print(f"a batch is reported {seen_s - progress.since:.1f} s after it was submitted")
        assert seen_s - progress.since <= 5 and (progress.total, progress.failed) == (1, 0)
        wait_for(is_running, 240, lambda: shown)
    finally:
        testbed.run("cloud", f"touch {note}.end")
    airflow.api.wait_run(name, run, 240)
    airflow.api.succeed(name, run)
    (job,) = json.loads(airflow.airflow(*command, "-o", "json"))
    assert (job["deployment"], job["state"], job["exit_code"], job["bytes_out"]) == ("cloud", "COMPLETED", 0, 2)
    assert not Path("/usr/bin/time").exists() or 1 <= job["memory_used_mib"] <= 50
    assert job["staging_began"] <= job["collected"]
    assert testbed.run("cloud", f"cat {shlex.quote(job['directory'])}/out/*") == "1\n"


@pytest.mark.long
def test_ten_thousand_local_echos_need_little_memory(airflow: AirflowStack, dags: Dags) -> None:
    name = "scale_local"
    site = {"type": "local", "config": {}, "workdir": str(dags.work / name)}
    workflow = {
        "type": "cwl",
        "config": {"file": "scatter_echo.cwl"},
        "bindings": [{"step": "/", "target": {"deployment": "here"}}],
    }
    dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": {"here": site}})
    airflow.api.unpause(name)
    words = [f"word {i}" for i in range(10_000)]
    peaks: dict[int, float] = {}

    def watch() -> None:
        for process in marked(airflow.processes.mark):
            peaks[process.pid] = peak_rss_mib(process.pid)

    started, cpu_s = time.monotonic(), airflow.cpu_s()
    run = airflow.api.trigger(name, {"words": words})
    airflow.api.wait_run(name, run, 400, watch=watch, poll_s=1.0)
    airflow.api.succeed(name, run)
    print(
        f"{time.monotonic() - started:.0f} s, {airflow.cpu_s() - cpu_s:.0f} CPU-s, peak {max(peaks.values()):.0f} MiB"
    )
    said = airflow.api.xcom(name, run, OUTPUTS_TASK)["said"]
    assert [file["size"] for file in said] == [len(word) + 1 for word in words]
    assert max(peaks.values()) < 1024
