# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Components of Airflow die while jobs run: the run completes, and each job ran exactly once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed

JOBS = 24


def record_dag(dags: Dags, deployments: dict[str, Any], site: str) -> str:
    """A DAG of jobs at ``site`` that append to a file there whenever they run."""
    target = {"deployment": site, **({"service": "main"} if site == "hpc" else {})}
    workflow = {
        "type": "cwl",
        "config": {"file": "scatter_record.cwl"},
        "bindings": [{"step": "/job", "target": target, "max_mapped": 4}],
        "dag": {"default_args": {"retries": 2, "retry_delay": 1}},
    }
    return dags.add(
        f"record_{site}", {"version": "v1.0", "workflows": {f"record_{site}": workflow}, "deployments": deployments}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("site", "record", "family"),
    [
        pytest.param("hpc", "/home/hpcuser/record", True, id="slurm-with-its-children"),
        pytest.param("cloud", "/home/clouduser/record", False, id="ssh-only-the-supervisor"),
    ],
)
def test_kill_of_the_triggerer_loses_and_doubles_no_job(
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
