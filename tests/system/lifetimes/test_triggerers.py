# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Two triggerers: what one of them followed is followed by the other, and nothing is submitted or collected twice."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed

# a triggerer counts as dead after 15 seconds (30 by default): about a minute each
pytestmark = [pytest.mark.slow, pytest.mark.faults]

FIRST, SECOND = "triggerer", "triggerer-2"
FOLLOWED = "/job: its jobs are followed by another triggerer"
WORDS = [f"w{i}" for i in range(6)]


class Triggerers:
    """The triggerers of an Airflow: the one that it has, and a second one.

    :ivar jobs: the name of each process -> the id by which Airflow knows it.
    """

    def __init__(self, airflow: AirflowStack) -> None:
        self.airflow = airflow
        self.jobs = {FIRST: self._newest()}
        command = [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"]
        airflow.processes.start(SECOND, command, env=airflow.env, cwd=airflow.home)
        self.jobs[SECOND] = self._newer_than(self.jobs[FIRST], SECOND)
        self._stopped: list[psutil.Process] = []

    def _newest(self) -> int:
        """The id of the triggerer that was started last; those that were killed are still listed, as running."""
        rows = self.airflow.api.call("GET", "/jobs", params={"job_type": "TriggererJob", "limit": 100})
        return max(int(row["id"]) for row in rows["jobs"])

    def _newer_than(self, job: int, name: str) -> int:
        """The id of a triggerer that has just been started."""

        def newer() -> int | None:
            newest = self._newest()
            return newest if newest > job else None

        return wait_for(newer, 240, lambda: self.airflow.processes.tail(name))

    def followers(self, dag: str, run: str) -> dict[int, int]:
        """Deferred tasks of a run (map index) -> the id of the triggerer that follows each."""
        tasks = [task for task in self.airflow.api.tasks(dag, run) if task["state"] == "deferred"]
        return {task["map_index"]: task["triggerer_job"]["id"] for task in tasks if task["triggerer_job"]}

    def stand_still(self, name: str, *, family: bool) -> None:
        """SIGSTOP: to the processes that run triggers, too, or only to the one that speaks with Airflow."""
        root = psutil.Process(self.airflow.processes.pid(name))
        self._stopped = [root, *(root.children(recursive=True) if family else ())]
        for process in self._stopped:
            process.suspend()

    def go_on(self) -> None:
        """Undo :meth:`stand_still`."""
        stopped, self._stopped = self._stopped, []
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def both(self) -> None:
        """Both run, as at the beginning of each test."""
        self.go_on()
        for name in (FIRST, SECOND):
            if not self.airflow.processes.running(name):
                newest = self._newest()
                self.airflow.restart(name, wait=False)
                self.jobs[name] = self._newer_than(newest, name)

    def end(self) -> None:
        """One triggerer is left, as for other tests."""
        self.both()
        self.airflow.kill(SECOND)


@pytest.fixture(scope="module")
def two_triggerers(airflow: AirflowStack) -> Iterator[Triggerers]:
    made = Triggerers(airflow)
    yield made
    made.end()


@pytest.fixture
def triggerers(two_triggerers: Triggerers) -> Iterator[Triggerers]:
    two_triggerers.both()
    yield two_triggerers
    two_triggerers.go_on()


class HeldJobs:
    """A run of jobs at a site that end when they are told to; one task for two jobs, and no task is tried again."""

    def __init__(self, triggerers: Triggerers, testbed: Testbed, dag: str, site: str) -> None:
        self.triggerers, self.api = triggerers, triggerers.airflow.api
        self.testbed, self.site, self.dag = testbed, site, dag
        self.record = f"{testbed.sites[site].home}/{dag}"
        self.api.unpause(dag)
        self.run = self.api.trigger(dag, {"words": WORDS, "record": self.record})

    def wait_until_some_run(self) -> None:
        """Wait until jobs run, and all tasks are deferred; a host runs as many jobs as it has cores."""

        def run() -> bool:
            return len(self.ran()) >= 2 and len(self.triggerers.followers(self.dag, self.run)) == len(WORDS) // 2

        wait_for(run, 240, self.failures)

    def ran(self) -> list[str]:
        return self.testbed.run(self.site, f"cat {self.record} 2>/dev/null || true").split()

    def failures(self) -> str:
        return self.api.failures(self.dag, self.run)

    def who_follows(self) -> str:
        """The name of a triggerer that follows some of the tasks."""
        follower = next(iter(self.triggerers.followers(self.dag, self.run).values()))
        return next(name for name, job in self.triggerers.jobs.items() if job == follower)

    def wait_for_other_than(self, name: str) -> None:
        """Wait until the other triggerer follows all tasks."""
        other = {job for each, job in self.triggerers.jobs.items() if each != name}

        def followed() -> bool:
            followers = self.triggerers.followers(self.dag, self.run)
            return len(followers) == len(WORDS) // 2 and set(followers.values()) == other

        wait_for(followed, 240, self.failures)

    def let_go(self) -> None:
        """The jobs may end."""
        self.testbed.run(self.site, f"touch {self.record}.go")

    def end_well(self) -> None:
        """Let the jobs end: each has run once, in one try, and each output was collected once."""
        self.let_go()
        self.api.succeed(self.dag, self.run)
        assert Counter(self.ran()) == Counter(WORDS)
        tasks = [task for task in self.api.tasks(self.dag, self.run) if task["task_id"] == "job"]
        assert {task["map_index"]: task["try_number"] for task in tasks} == {0: 1, 1: 1, 2: 1}
        collected = [
            entry["destination"]
            for index in range(len(tasks))
            for entry in self.api.xcom(self.dag, self.run, "job", "lineage", index)
            if entry["route"] == "produced"
        ]
        assert len(collected) == len(set(collected)) == len(WORDS)
        said = self.api.xcom(self.dag, self.run, OUTPUTS_TASK)["said"]
        assert [file["size"] for file in said] == [len(word) + 1 for word in WORDS]


@pytest.fixture(params=["hpc", "cloud"])
def held(
    triggerers: Triggerers, dags: Dags, deployments: dict[str, Any], testbed: Testbed, request: pytest.FixtureRequest
) -> Iterator[HeldJobs]:
    site: str = request.param
    name = f"held_{secrets.token_hex(4)}"
    target = {"deployment": site, **({"service": "main"} if site == "hpc" else {})}
    bindings = [{"step": "/job", "target": target, "max_mapped": len(WORDS) // 2}]
    workflow = {"type": "cwl", "config": {"file": "scatter_held.cwl"}, "bindings": bindings}
    dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": deployments})
    made = HeldJobs(triggerers, testbed, name, site)
    try:
        made.wait_until_some_run()
        yield made
    finally:
        made.let_go()


def test_the_other_triggerer_follows_what_a_killed_one_followed(airflow: AirflowStack, held: HeldJobs) -> None:
    killed = held.who_follows()
    airflow.kill(killed)
    held.wait_for_other_than(killed)
    held.end_well()


@pytest.mark.parametrize("family", [True, False], ids=["with-its-triggers", "only-the-supervisor"])
def test_a_triggerer_that_stood_still_cancels_nothing_when_it_goes_on(
    triggerers: Triggerers, held: HeldJobs, family: bool
) -> None:
    still = held.who_follows()
    tasks = [index for index, job in triggerers.followers(held.dag, held.run).items() if job == triggerers.jobs[still]]
    triggerers.stand_still(still, family=family)
    held.wait_for_other_than(still)
    triggerers.go_on()

    def logs() -> list[str]:
        return [held.api.log(held.dag, held.run, "job", index) for index in tasks]

    def has_decided(log: str) -> bool:
        return FOLLOWED in log or "were cancelled" in log or "could not be cancelled" in log

    wait_for(lambda: all(map(has_decided, logs())), 240, lambda: "\n".join(logs()))
    held.end_well()
    assert [log for log in logs() if FOLLOWED not in log] == []
