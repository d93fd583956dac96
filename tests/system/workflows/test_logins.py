# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A site with one-time passwords: its login ends while a job runs, a person logs in again, and the run goes on."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid.model import FileRef
from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.unit.sites.hosts.logins.one_time import OneTimeSite, serving

STEP = "held"
LIMIT_S = 120.0
MACHINE = socket.gethostname()
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


@pytest.fixture
def site() -> Iterator[OneTimeSite]:
    with serving(OneTimeSite({"111", "222", "333"})) as site:
        yield site


@pytest.fixture
def dag_id(airflow: AirflowStack, dags: Dags, site: OneTimeSite) -> str:
    hybrid = {
        "version": "v1.0",
        "workflows": {
            "logins": {
                "type": "cwl",
                "config": {"file": "held.cwl"},
                "bindings": [{"step": "/", "target": "coded"}],
                "dag": {"default_args": {"retries": 0}},
            }
        },
        "deployments": {
            "coded": {
                "type": "ssh",
                "config": {
                    "nodes": [f"127.0.0.1:{site.port}"],
                    "username": "anna",
                    "login": "interactive",
                    "host_key": site.host_key,
                },
                "workdir": str(dags.work / "coded"),
            }
        },
    }
    name = dags.add("logins", hybrid)
    airflow.api.unpause(name)
    return name


def log_in(airflow: AirflowStack, *answers: str) -> str:
    """``airflow hybrid login`` on a terminal, by a person who answers each question; what is on the terminal then."""
    ours, terminal = pty.openpty()
    command = [sys.executable, "-m", "airflow", "hybrid", "login", "coded"]
    with contextlib.closing(os.fdopen(ours, "r+b", buffering=0)) as keyboard, subprocess.Popen(
        command, env=airflow.env, cwd=airflow.home, stdin=terminal, stdout=terminal, stderr=terminal,
        start_new_session=True,
    ) as person:  # fmt: skip
        os.close(terminal)
        left, shown, end = list(answers), "", time.monotonic() + LIMIT_S
        while person.poll() is None or select.select([keyboard], [], [], 0)[0]:
            if time.monotonic() > end:
                person.kill()
                raise TimeoutError(shown)
            if not select.select([keyboard], [], [], 0.2)[0]:
                continue
            try:
                shown += keyboard.read(4096).decode()
            except OSError:  # nobody has the terminal open any more
                break
            if left and shown.count(" asks: ") > len(answers) - len(left):
                keyboard.write(f"{left.pop(0)}\n".encode())
    assert person.returncode == 0, shown
    return shown


@pytest.mark.slow
def test_a_run_outlives_the_login_that_it_began_with(
    airflow: AirflowStack, dag_id: str, site: OneTimeSite, tmp_path: Path
) -> None:
    def log() -> str:
        return airflow.api.log(dag_id, run, STEP)

    note, end = tmp_path / "note", tmp_path / "note.end"
    assert f"anna@127.0.0.1:{site.port}: logged in, for Airflow's processes on {MACHINE}" in log_in(
        airflow, "secret", "111"
    )
    run = airflow.api.trigger(dag_id, {"note": str(note)})
    wait_for(lambda: note.exists() or None, LIMIT_S, log)
    site.end_connections()
    wait_for(lambda: "The task waits since" in log() or None, LIMIT_S, log)
    end.touch()  # the job ends while nobody can look
    log_in(airflow, "secret", "222")
    airflow.api.succeed(dag_id, run)
    path = Path(FileRef.parse(airflow.api.xcom(dag_id, run, OUTPUTS_TASK)["out"]["location"]).path)
    assert path.read_text() == "1\n", "the job ran once"
    assert {task["try_number"] for task in airflow.api.tasks(dag_id, run)} == {1}
    # a task in a worker
    site.end_connections()
    path.unlink()
    airflow.api.clear(dag_id, run, [OUTPUTS_TASK])
    wait_for(lambda: airflow.api.states(dag_id, run)[OUTPUTS_TASK] == "deferred" or None, LIMIT_S, log)
    log_in(airflow, "secret", "333")
    airflow.api.succeed(dag_id, run, LIMIT_S)  # without the login's being noticed, it would be five minutes
    assert path.read_text() == "1\n"
    assert [task["try_number"] for task in airflow.api.tasks(dag_id, run) if task["task_id"] == OUTPUTS_TASK] == [2]
    assert site.tried == [["secret", code] for code in ("111", "222", "333")], "nobody but the person has tried"
    name = f"anna@127.0.0.1:{site.port}"
    said = re.sub(MOMENT, "MOMENT", log())
    assert (
        f"the session at {name}, on this machine ({MACHINE}), ended at MOMENT\n"
        f"  -> as the user of Airflow on {MACHINE}: airflow hybrid login coded\n"
        "  The task waits since MOMENT, until MOMENT, without using retries, and goes on by itself as soon as the login"
        " works. If it should not wait: mark it as failed"
    ) in said
    assert "the login works again, after" in said
