# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Jobs that fail, runs that are stopped, sites that cannot be used: what users see, and what is left behind."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed

HOME = {"hpc": "/home/hpcuser", "cloud": "/home/clouduser"}


def moods_dag(
    dags: Dags, name: str, deployments: dict[str, Any], site: str, service: str | None = None, **options: Any
) -> str:
    """A DAG of ``moods.cwl`` with its jobs at ``site``, one task instance."""
    target = {"deployment": site, **({"service": service} if service else {})}
    workflow = {
        "type": "cwl",
        "config": {"file": "moods.cwl"},
        "bindings": [{"step": "/job", "target": target, "scatter": "batch"}],
        "dag": options,
    }
    return dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": deployments})


class Moods:
    """One run of such a DAG."""

    def __init__(
        self, airflow: AirflowStack, testbed: Testbed, dag: str, site: str, moods: list[str], seconds: int = 0
    ):
        self.api, self.testbed, self.dag, self.site = airflow.api, testbed, dag, site
        self.record = f"{HOME[site]}/{dag}.record"
        airflow.api.unpause(dag)
        self.run = airflow.api.trigger(dag, {"moods": moods, "record": self.record, "seconds": seconds})

    def ran(self) -> Counter[str]:
        """How often jobs of each mood ran, counted at the site."""
        return Counter(self.testbed.run(self.site, f"cat {self.record} 2>/dev/null || true").split())

    def wait(self, state: str, timeout_s: float = 180) -> None:
        def ended() -> str | None:
            found = str(self.api.run(self.dag, self.run)["state"])
            return found if found in ("success", "failed") else None

        found = wait_for(ended, timeout_s, lambda: self.api.failures(self.dag, self.run))
        assert found == state, self.api.failures(self.dag, self.run)

    def wait_until_running(self, jobs: int = 1) -> None:
        wait_for(
            lambda: sum(self.ran().values()) >= jobs, 120, lambda: self.api.failures(self.dag, self.run), poll_s=0.3
        )

    def log(self, try_number: int = 1) -> str:
        return str(self.api.log(self.dag, self.run, "job", try_number=try_number))


def jobs_in_queue(testbed: Testbed) -> str:
    return testbed.run("hpc", "squeue -h -o '%i %j %T'").strip()


@pytest.mark.slow
def test_a_permanent_failure_is_said_once_and_clearly_and_not_repeated(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed
) -> None:
    options = {"default_args": {"retries": 1, "retry_delay": 1}}
    dag = moods_dag(dags, "mood_bad", deployments, "hpc", "main", **options)
    run = Moods(airflow, testbed, dag, "hpc", ["good", "bad", "good"])
    run.wait("failed")
    assert run.ran() == {"good": 2, "bad": 1}
    log = run.log()
    for part in (
        "1 of 3 jobs failed",
        "/job",
        "exit code 3 (permanentFail)",
        "| this mood is bad",
        "stderr: /",
        "job id:",
    ):
        assert part in log
    assert "Traceback" not in log
    assert "an earlier try failed for good" in run.log(try_number=2)


@pytest.mark.slow
def test_a_retry_attempts_only_the_jobs_that_failed(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed
) -> None:
    options = {"default_args": {"retries": 1, "retry_delay": 1}}
    dag = moods_dag(dags, "mood_flaky", deployments, "hpc", "main", **options)
    run = Moods(airflow, testbed, dag, "hpc", ["good", "flaky", "good"])
    run.wait("success")
    assert run.ran() == {"good": 2, "flaky": 2}
    airflow.api.clear(dag, run.run, ["job"])
    wait_for(lambda: run.ran()["good"] == 4, 180, lambda: airflow.api.failures(dag, run.run))
    run.wait("success")
    assert run.ran() == {"good": 4, "flaky": 3}, "a clear runs everything anew"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["mark failed", "clear", "DAG run timeout"])
def test_a_stopped_task_leaves_no_job_behind(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed, how: str
) -> None:
    options = {"dagrun_timeout": 25} if how == "DAG run timeout" else {}
    dag = moods_dag(dags, f"mood_{how.replace(' ', '_')}", deployments, "hpc", "main", **options)
    run = Moods(airflow, testbed, dag, "hpc", ["good", "fine"], seconds=100)
    run.wait_until_running(2)
    before = jobs_in_queue(testbed)
    assert before
    if how == "mark failed":
        airflow.api.mark(dag, run.run, "job", "failed")
    elif how == "clear":
        airflow.api.clear(dag, run.run, ["job"])
    old = {line.split()[1] for line in before.splitlines()}

    def gone() -> bool:
        return not any(line.split()[1] in old for line in jobs_in_queue(testbed).splitlines())

    wait_for(gone, 90, lambda: f"{jobs_in_queue(testbed)}\n{run.log()}")
    if how == "clear":
        run.wait_until_running(4)
        airflow.api.mark(dag, run.run, "job", "failed")
        wait_for(lambda: not jobs_in_queue(testbed), 90, lambda: jobs_in_queue(testbed))
    assert len(run.ran()) == 2


@pytest.mark.slow
def test_a_cut_link_is_waited_out(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed
) -> None:
    dag = moods_dag(dags, "mood_cut", deployments, "cloud")
    run = Moods(airflow, testbed, dag, "cloud", ["good", "fine"], seconds=12)
    run.wait_until_running()
    with testbed.partition("cloud"):
        # longer than the jobs need: they end while nobody can see them
        wait_for(lambda: "." in testbed.exec("cloud", "sh", "-c", "sleep 25; echo ."), 60, str)
    run.wait("success", 240)
    assert run.ran() == {"good": 1, "fine": 1}


SITES: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "unreachable": ({"type": "ssh", "config": {"nodes": ["127.0.0.1:9"], "username": "nobody"}}, None, "127.0.0.1"),
    "wrong_host_key": ({}, None, "host key"),
    "refused_key": ({}, None, "refused"),
    "no_sbatch": ({}, None, "sbatch"),
    "full_disk": ({}, None, "No space left"),
    "refused_job": ({}, "toolong", "refused the batch"),
}


@pytest.mark.slow
@pytest.mark.parametrize("trouble", SITES)
def test_a_site_that_cannot_be_used_gives_one_clear_message(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed, trouble: str, tmp_path: Any
) -> None:
    given, service, said = SITES[trouble]
    all_sites = {**deployments}
    cloud, edge = testbed.sites["cloud"], testbed.sites["edge"]
    key = {"hostname": cloud.host, "username": cloud.user, "sshKey": str(cloud.key)}
    known = tmp_path / "known_hosts"
    known.write_text(f"{cloud.host} {edge.host_key if trouble == 'wrong_host_key' else cloud.host_key}\n")
    if trouble == "wrong_host_key":
        given = {"type": "ssh", "config": {"nodes": [{**key, "known_hosts": str(known)}]}}
    elif trouble == "refused_key":
        given = {"type": "ssh", "config": {"nodes": [{**key, "username": "root", "known_hosts": str(known)}]}}
    elif trouble == "no_sbatch":
        # the cloud host has Slurm's programs, as this machine does, so take them away there
        testbed.exec("cloud", "sh", "-c", "rm -f /usr/bin/sbatch")
        given = {"type": "slurm", "wraps": "cloud", "config": {}}
    elif trouble == "full_disk":
        given = {**deployments["login"], "workdir": "/scratch/full"}
    elif trouble == "refused_job":
        services = {"toolong": {"partition": "nowhere"}}
        given = {"type": "slurm", "wraps": "login", "config": {"services": services}}
    all_sites["trouble"] = given
    dag = moods_dag(dags, f"trouble_{trouble}", all_sites, "trouble", service)
    if trouble == "full_disk":
        testbed.exec(
            "hpc", "sh", "-c", "fallocate -l 300M /scratch/big || dd if=/dev/zero of=/scratch/big bs=1M || true"
        )
    airflow.api.unpause(dag)
    try:
        run = airflow.api.trigger(dag, {"moods": ["good"], "record": "/tmp/trouble"})
        wait_for(
            lambda: airflow.api.run(dag, run)["state"] == "failed" or None, 180, lambda: airflow.api.failures(dag, run)
        )
        log = str(airflow.api.log(dag, run, "job"))
    finally:
        if trouble == "full_disk":
            testbed.exec("hpc", "rm", "-f", "/scratch/big")
    assert said in log, log[-3000:]
    assert "Traceback" not in log, log[-5000:]
    assert "->" in log, f"no hint what to do: {log[-3000:]}"
