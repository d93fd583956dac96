# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Jobs that fail, runs that are stopped, sites that cannot be used: what users see, and what is left behind."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.system.airflow_api import AirflowApi, wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed

HOME = {"hpc": "/home/hpcuser", "cloud": "/home/clouduser"}


class Case(NamedTuple):
    """A DAG of ``moods.cwl``: where its jobs run, and the options of the DAG."""

    site: str
    options: dict[str, Any]
    service: str | None = None


RETRY = {"default_args": {"retries": 1, "retry_delay": 1}}
CASES = {
    "mood_bad": Case("hpc", RETRY, "main"),
    "mood_flaky": Case("hpc", RETRY, "main"),
    "mood_mark_failed": Case("hpc", {}, "main"),
    "mood_clear": Case("hpc", {}, "main"),
    "mood_timeout": Case("hpc", {"dagrun_timeout": 25}, "main"),
    "mood_cut": Case("cloud", {}),
}


def add_dag(dags: Dags, name: str, deployments: dict[str, Any], case: Case) -> None:
    target = {"deployment": case.site, **({"service": case.service} if case.service else {})}
    workflow = {
        "type": "cwl",
        "config": {"file": "moods.cwl"},
        "bindings": [{"step": "/job", "target": target, "scatter": "batch"}],
        "dag": case.options,
    }
    dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": deployments})


@pytest.fixture(scope="module")
def start(airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed) -> Callable[..., Moods]:
    """Start a run of one of ``CASES``: its DAG, its moods, how long each job takes."""
    for name, case in CASES.items():
        add_dag(dags, name, deployments, case)

    def started(name: str, moods: list[str], seconds: int = 0) -> Moods:
        airflow.api.unpause(name)
        run = airflow.api.trigger(name, {"moods": moods, "record": record_of(name), "seconds": seconds})
        return Moods(airflow.api, testbed, name, run)

    return started


def record_of(dag: str) -> str:
    """Where the jobs of such a DAG say that they ran."""
    return f"{HOME[CASES[dag].site]}/{dag}.record"


@dataclass(frozen=True)
class Moods:
    """One run of such a DAG."""

    api: AirflowApi
    testbed: Testbed
    dag: str
    run: str

    def ran(self) -> Counter[str]:
        """How often jobs of each mood ran, counted at the site."""
        text = f"cat {record_of(self.dag)} 2>/dev/null || true"
        return Counter(self.testbed.run(CASES[self.dag].site, text).split())

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
    start: Callable[..., Moods],
) -> None:
    run = start("mood_bad", ["good", "bad", "good"])
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
    assert "Retry policy decision" in log
    (job,) = (task for task in run.api.tasks(run.dag, run.run) if task["task_id"] == "job")
    assert (job["state"], job["try_number"], job["max_tries"]) == ("failed", 1, 1), "the retry that is left is not used"
    run.api.clear(run.dag, run.run, ["job"])
    wait_for(lambda: run.ran().get("bad") == 2, 180, lambda: run.api.failures(run.dag, run.run))
    run.wait("failed")
    assert run.ran() == {"good": 2, "bad": 2}, "a clear after a failure runs the failed job only"


@pytest.mark.slow
def test_a_retry_attempts_only_the_jobs_that_failed(start: Callable[..., Moods]) -> None:
    run = start("mood_flaky", ["good", "flaky", "good"])
    run.wait("success")
    assert run.ran() == {"good": 2, "flaky": 2}
    run.api.clear(run.dag, run.run, ["job"])
    wait_for(lambda: run.ran()["good"] == 4, 180, lambda: run.api.failures(run.dag, run.run))
    run.wait("success")
    assert run.ran() == {"good": 4, "flaky": 3}, "a clear runs everything anew"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["mark_failed", "clear", "timeout"])
def test_a_stopped_task_leaves_no_job_behind(start: Callable[..., Moods], testbed: Testbed, how: str) -> None:
    run = start(f"mood_{how}", ["good", "fine"], seconds=100)
    run.wait_until_running(2)
    before = jobs_in_queue(testbed)
    assert before
    if how == "mark_failed":
        run.api.mark(run.dag, run.run, "job", "failed")
    elif how == "clear":
        run.api.clear(run.dag, run.run, ["job"])
    old = {line.split()[1] for line in before.splitlines()}

    def gone() -> bool:
        return not any(line.split()[1] in old for line in jobs_in_queue(testbed).splitlines())

    wait_for(gone, 90, lambda: f"{jobs_in_queue(testbed)}\n{run.log()}")
    if how == "clear":
        run.wait_until_running(4)
        run.api.mark(run.dag, run.run, "job", "failed")
        wait_for(lambda: not jobs_in_queue(testbed), 90, lambda: jobs_in_queue(testbed))
    assert len(run.ran()) == 2


@pytest.mark.slow
def test_a_stopped_local_task_leaves_no_process_behind(airflow: AirflowStack, dags: Dags, tmp_path: Path) -> None:
    add_dag(dags, "mood_here", {"here": {"type": "local", "config": {}, "workdir": str(tmp_path)}}, Case("here", {}))
    airflow.api.unpause("mood_here")
    record = tmp_path / "record"
    run = airflow.api.trigger("mood_here", {"moods": ["good", "fine"], "record": str(record), "seconds": 100})
    wait_for(lambda: record.exists() or None, 120, lambda: airflow.api.failures("mood_here", run), poll_s=0.3)

    def jobs() -> list[str]:
        found = []
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(record).encode() in command.read_bytes():
                    found.append(str(command))
        return found

    assert jobs()
    airflow.api.mark("mood_here", run, "job", "failed")
    wait_for(lambda: not jobs() or None, 60, lambda: f"{jobs()}\n{airflow.api.log('mood_here', run, 'job')}")


@pytest.mark.slow
def test_a_cut_link_is_waited_out(start: Callable[..., Moods], testbed: Testbed) -> None:
    run = start("mood_cut", ["good", "fine"], seconds=12)
    run.wait_until_running()
    with testbed.partition("cloud"):
        # longer than the jobs need: they end while nobody can see them
        wait_for(lambda: "." in testbed.exec("cloud", "sh", "-c", "sleep 25; echo ."), 60, str)
    run.wait("success", 240)
    assert run.ran() == {"good": 1, "fine": 1}


SAID = {
    "wrong_host_key": "host key",
    "refused_key": "refused",
    "no_sbatch": "sbatch",
    "full_disk": "No space left",
    "refused_job": "refused the batch",
}
"""what the message must contain"""


def troubled_site(trouble: str, deployments: dict[str, Any], testbed: Testbed, folder: Path) -> dict[str, Any]:
    """A deployment that cannot be used."""
    cloud, edge = testbed.sites["cloud"], testbed.sites["edge"]
    key = {"hostname": cloud.host, "username": cloud.user, "sshKey": str(cloud.key)}
    known = folder / f"known_hosts_{trouble}"
    known.write_text(f"{cloud.host} {edge.host_key if trouble == 'wrong_host_key' else cloud.host_key}\n")
    if trouble == "silent":
        return {"type": "ssh", "config": {"nodes": ["127.0.0.1:9"], "username": "nobody"}}
    if trouble == "wrong_host_key":
        return {"type": "ssh", "config": {"nodes": [{**key, "known_hosts": str(known)}]}}
    if trouble == "refused_key":
        nodes = [{**key, "username": "root", "known_hosts": str(known)}]
        return {"type": "ssh", "config": {"nodes": nodes, "wait_for_login": "off"}}
    if trouble == "no_sbatch":
        return {"type": "slurm", "wraps": "edge", "config": {}}
    if trouble == "full_disk":
        return {**deployments["login"], "workdir": "/scratch/full"}
    services = {"nowhere": {"partition": "nowhere"}}
    return {"type": "slurm", "wraps": "login", "config": {"services": services}}


@pytest.fixture(scope="module")
def troubles(
    airflow: AirflowStack,
    dags: Dags,
    deployments: dict[str, Any],
    testbed: Testbed,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """A run of a DAG for each trouble, all under way; trouble -> run id."""
    folder = tmp_path_factory.mktemp("troubles")
    # the host has Slurm's programs, as this machine does: take them away there
    testbed.exec("edge", "sh", "-c", "rm -f /usr/bin/sbatch")
    for trouble in (*SAID, "silent"):
        sites = {**deployments, "trouble": troubled_site(trouble, deployments, testbed, folder)}
        service = "nowhere" if trouble == "refused_job" else None
        add_dag(dags, f"trouble_{trouble}", sites, Case("trouble", {"retries": 0}, service))
    runs = {}
    for trouble in (*SAID, "silent"):
        airflow.api.unpause(f"trouble_{trouble}")
        if trouble != "full_disk":
            runs[trouble] = airflow.api.trigger(f"trouble_{trouble}", {"moods": ["good"], "record": "/tmp/trouble"})
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("trouble", SAID)
def test_a_site_that_cannot_be_used_gives_one_clear_message(
    airflow: AirflowStack, testbed: Testbed, troubles: dict[str, str], trouble: str
) -> None:
    dag = f"trouble_{trouble}"

    def failed(run: str) -> str:
        wait_for(
            lambda: airflow.api.run(dag, run)["state"] == "failed" or None, 180, lambda: airflow.api.failures(dag, run)
        )
        return str(airflow.api.log(dag, run, "job"))

    if trouble == "full_disk":
        testbed.exec("hpc", "sh", "-c", "dd if=/dev/zero of=/scratch/big bs=1M 2>/dev/null || true")
        try:
            log = failed(airflow.api.trigger(dag, {"moods": ["good"], "record": "/tmp/trouble"}))
        finally:
            testbed.exec("hpc", "rm", "-f", "/scratch/big")
    else:
        log = failed(troubles[trouble])
    assert SAID[trouble] in log, log[-3000:]
    assert "Traceback" not in log, log[-5000:]
    assert "->" in log, f"no hint what to do: {log[-3000:]}"


@pytest.mark.slow
def test_a_site_that_does_not_answer_is_waited_for_and_not_with_retries(
    airflow: AirflowStack, troubles: dict[str, str]
) -> None:
    dag, run = "trouble_silent", troubles["silent"]

    def log() -> str:
        return str(airflow.api.log(dag, run, "job"))

    wait_for(lambda: "The task waits since" in log() or None, 180, log)
    assert airflow.api.states(dag, run)["job"] == "deferred"
    assert re.search(
        r"no connection to nobody@127\.0\.0\.1:9: Connection refused\n"
        r"  -> is it running, and reachable from here\?\n"
        r"  The task waits since [\d-]+ [\d:]+ UTC, until [\d-]+ [\d:]+ UTC at most, without using retries, and goes"
        r" on by itself when there is an answer\. Jobs that were submitted go on meanwhile",
        log(),
    ), log()
    airflow.api.mark(dag, run, "job", "failed")
    wait_for(lambda: airflow.api.run(dag, run)["state"] == "failed" or None, 120, log)
