# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Components of Airflow die while jobs run: the run completes, and each job ran exactly once."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed

JOBS = 24


def record_dag(dags: Dags, deployments: dict[str, Any], site: str, name: str | None = None) -> str:
    """A DAG of jobs at ``site`` that append to a file there whenever they run."""
    name = name or f"record_{site}"
    target = {"deployment": site, **({"service": "main"} if site == "hpc" else {})}
    workflow = {
        "type": "cwl",
        "config": {"file": "scatter_record.cwl"},
        "bindings": [{"step": "/job", "target": target, "max_mapped": 4}],
        "dag": {"default_args": {"retries": 2, "retry_delay": 1}},
    }
    return dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": deployments})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("site", "record", "family"),
    [
        pytest.param("hpc", "/home/hpcuser/record", True, id="slurm-with-its-children"),
        pytest.param("cloud", "/home/clouduser/record", False, id="ssh-only-the-supervisor", marks=pytest.mark.faults),
    ],
)
def test_kill_of_the_triggerer_loses_and_doubles_no_job(  # noqa: PLR0913 - fixtures and cases
    airflow: AirflowStack,
    dags: Dags,
    deployments: dict[str, Any],
    testbed: Testbed,
    site: str,
    record: str,
    family: bool,
) -> None:
    dag = record_dag(dags, deployments, site)
    airflow.api.unpause(dag)
    testbed.run(site, f"rm -f {record}")
    words = [f"w{i}" for i in range(JOBS)]
    run = airflow.api.trigger(dag, {"words": words, "record": record, "seconds": 3})

    def ran() -> list[str]:
        return testbed.run(site, f"cat {record} 2>/dev/null || true").split()

    wait_for(lambda: len(ran()) >= 3, 120, lambda: airflow.api.failures(dag, run), poll_s=0.2)
    airflow.kill("triggerer", family=family)
    assert len(ran()) < JOBS, "all jobs had started before the triggerer was killed: the test shows nothing"
    airflow.restart("triggerer")
    airflow.api.succeed(dag, run, 240)
    assert Counter(ran()) == Counter(words)
    outputs = airflow.api.xcom(dag, run, OUTPUTS_TASK)
    assert [file["size"] for file in outputs["said"]] == [len(word) + 1 for word in words]


@pytest.fixture
def local_jobs(airflow: AirflowStack, dags: Dags, tmp_path: Path, request: pytest.FixtureRequest) -> LocalJobs:
    """A run of local jobs, three of which have started; its tasks are followed by workers."""
    here = {"here": {"type": "local", "config": {"cores": 2}, "workdir": str(tmp_path / "work")}}
    dag = record_dag(dags, here, "here", f"record_{request.node.callspec.id.replace('-', '_')}")
    airflow.api.unpause(dag)
    jobs = LocalJobs(airflow, dag, tmp_path / "record")
    wait_for(lambda: len(jobs.ran()) >= 3 or None, 120, jobs.failures, poll_s=0.2)
    return jobs


class LocalJobs:
    """One run of a record DAG on this machine."""

    def __init__(self, airflow: AirflowStack, dag: str, record: Path) -> None:
        self.api, self.dag, self.record = airflow.api, dag, record
        self.words = [f"w{i}" for i in range(JOBS)]
        self.run = self.api.trigger(dag, {"words": self.words, "record": str(record), "seconds": 2})

    def ran(self) -> list[str]:
        return self.record.read_text().split() if self.record.exists() else []

    def failures(self) -> str:
        return str(self.api.failures(self.dag, self.run))


def holder(airflow: AirflowStack) -> str:
    """The component below which tasks run: with LocalExecutor the scheduler, else the worker."""
    return airflow.workers[0].name if airflow.workers else "scheduler"


def task_processes(airflow: AirflowStack) -> list[psutil.Process]:
    """Supervisors and processes of the run's job tasks: they descend from processes of the executor, one each."""
    root = psutil.Process(airflow.processes.pid(holder(airflow)))
    processes = [p for p in root.children() if p.children()]
    return [child for process in processes for child in process.children()]


def kill_tasks(airflow: AirflowStack) -> None:
    """As the kernel's OOM killer ends the processes of tasks; their supervisors live on."""
    victims = task_processes(airflow)
    assert victims, "no task was running"
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def kill_holder(family: bool) -> Callable[[AirflowStack], None]:
    def kill(airflow: AirflowStack) -> None:
        airflow.kill(holder(airflow), family=family)
        airflow.restart(holder(airflow))

    return kill


@pytest.mark.slow
@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(kill_tasks, id="processes-of-tasks"),
        pytest.param(kill_holder(True), id="executor-with-its-workers", marks=pytest.mark.faults),
        pytest.param(kill_holder(False), id="only-the-executor", marks=pytest.mark.faults),
    ],
)
def test_kill_of_what_follows_local_jobs_loses_and_doubles_no_job(
    airflow: AirflowStack, local_jobs: LocalJobs, kill: Callable[[AirflowStack], None]
) -> None:
    kill(airflow)
    assert len(local_jobs.ran()) < JOBS, "all jobs had started before the kill: the test shows nothing"
    airflow.api.succeed(local_jobs.dag, local_jobs.run, 600)
    assert Counter(local_jobs.ran()) == Counter(local_jobs.words)
