# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A long scatter costs the login node little, counted there."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import psutil
import pytest

from airflow_hybrid.operators.values import OUTPUTS_TASK
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


@pytest.mark.slow
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
