# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""WorkReuse at real sites: a run that asks for it runs no job that has been run, at the price of a few commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_api import AirflowApi
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed

JOBS = 24
WORDS = [f"w{i}" for i in range(JOBS)]
CHUNKS = 4


@dataclass(frozen=True)
class Site:
    name: str
    service: str | None
    home: str

    @property
    def target(self) -> dict[str, str]:
        """In the hybrid file."""
        return {"deployment": self.name, **({"service": self.service} if self.service else {})}


SITES = {"slurm": Site("hpc", "main", "/home/hpcuser"), "ssh": Site("cloud", None, "/home/clouduser")}


@dataclass(frozen=True)
class CountedJobs:
    """A workflow whose jobs keep a record at their site."""

    api: AirflowApi
    testbed: Testbed
    dag: str
    site: str
    record: str

    def ran(self) -> int:
        """How many jobs have run, in all runs together."""
        return len(self.testbed.run(self.site, f"cat {self.record} 2>/dev/null || true").split())

    def run(self, **conf: Any) -> tuple[str, list[Any]]:
        """Run the workflow: the run, and what its outputs are."""
        run = self.api.trigger(self.dag, {"words": WORDS, "record": self.record, **conf})
        self.api.succeed(self.dag, run)
        said = self.api.xcom(self.dag, run, OUTPUTS_TASK)["said"]
        return run, [(file["checksum"], file["size"]) for file in said]


# one of them in `make test`: what differs is the queue only
@pytest.fixture(params=["slurm", pytest.param("ssh", marks=pytest.mark.long)])
def jobs(
    request: pytest.FixtureRequest, airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed
) -> CountedJobs:
    site = SITES[request.param]
    name, record = f"reuse_{site.name}", f"{site.home}/reuse_record"
    workflow = {
        "type": "cwl",
        "config": {"file": "scatter_counted.cwl"},
        "bindings": [{"step": "/job", "target": site.target, "max_mapped": CHUNKS}],
    }
    dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": deployments})
    airflow.api.unpause(name)
    testbed.run(site.name, f"rm -f {record}")
    return CountedJobs(airflow.api, testbed, name, site.name, record)


def test_what_was_run_is_not_run_again_where_that_is_asked_for(jobs: CountedJobs, testbed: Testbed) -> None:
    first, outputs = jobs.run(reuse=True)
    assert jobs.ran() == JOBS

    moment = testbed.sshd_log_bytes(jobs.site)
    second, again = jobs.run(reuse=True)
    login = testbed.login_since(jobs.site, moment)
    assert jobs.ran() == JOBS and again == outputs
    assert "jobs are the same as finished jobs: their outputs are reused" in jobs.api.log(jobs.dag, second, "job", 0)
    entries = jobs.api.xcom(jobs.dag, second, "job", "lineage", 0)
    assert {entry["route"] for entry in entries} == {"reused"} and len(entries) == JOBS // CHUNKS
    print(f"{login.commands} commands for {CHUNKS} chunks of which all was there")
    assert login.commands <= 4 * CHUNKS + 3

    # one job is new: it is the only one that runs
    jobs.run(words=[*WORDS[:-1], "new"], reuse=True)
    assert jobs.ran() == JOBS + 1

    jobs.run()
    assert jobs.ran() == 2 * JOBS + 1

    jobs.api.clear(jobs.dag, first, [["job", 0]])
    jobs.api.succeed(jobs.dag, first)
    assert jobs.ran() == 2 * JOBS + 1 + JOBS // CHUNKS
