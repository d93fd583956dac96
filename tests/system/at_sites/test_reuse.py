# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""WorkReuse at real sites: a run that asks for it runs no job that has been run, at the price of a few commands."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed

JOBS = 24
CHUNKS = 4


@pytest.mark.parametrize(
    ("site", "service", "home"),
    [("hpc", "main", "/home/hpcuser"), ("cloud", None, "/home/clouduser")],
    ids=["slurm", "ssh"],
)
def test_what_was_run_is_not_run_again_where_that_is_asked_for(
    airflow: AirflowStack,
    dags: Dags,
    deployments: dict[str, Any],
    testbed: Testbed,
    site: str,
    service: str | None,
    home: str,
) -> None:
    name, record = f"reuse_{site}", f"{home}/reuse_record"
    target = {"deployment": site, **({"service": service} if service else {})}
    workflow = {
        "type": "cwl",
        "config": {"file": "scatter_counted.cwl"},
        "bindings": [{"step": "/job", "target": target, "max_mapped": CHUNKS}],
    }
    dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": deployments})
    airflow.api.unpause(name)
    testbed.run(site, f"rm -f {record}")
    conf = {"words": [f"w{i}" for i in range(JOBS)], "record": record}

    def ran() -> int:
        return len(testbed.run(site, f"cat {record} 2>/dev/null || true").split())

    def run(**more: Any) -> tuple[str, list[Any]]:
        run_id = airflow.api.trigger(name, {**conf, **more})
        airflow.api.succeed(name, run_id)
        said = airflow.api.xcom(name, run_id, OUTPUTS_TASK)["said"]
        return run_id, [(file["checksum"], file["size"]) for file in said]

    first, outputs = run(reuse=True)
    assert ran() == JOBS

    moment = testbed.sshd_log_bytes(site)
    second, again = run(reuse=True)
    login = testbed.login_since(site, moment)
    assert ran() == JOBS and again == outputs
    assert "jobs are the same as finished ones: their outputs are reused" in airflow.api.log(name, second, "job", 0)
    entries = airflow.api.xcom(name, second, "job", "lineage", 0)
    assert {entry["route"] for entry in entries} == {"reused"} and len(entries) == JOBS // CHUNKS
    print(f"{login.commands} commands for {CHUNKS} chunks of which all was there")
    assert login.commands <= 4 * CHUNKS + 3

    # one job is new: it is the only one that runs
    run(words=[*conf["words"][:-1], "new"], reuse=True)
    assert ran() == JOBS + 1

    run()
    assert ran() == 2 * JOBS + 1

    airflow.api.clear(name, first, [["job", 0]])
    airflow.api.succeed(name, first)
    assert ran() == 2 * JOBS + 1 + JOBS // CHUNKS
