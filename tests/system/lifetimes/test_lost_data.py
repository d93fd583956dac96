# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A scratch file system is purged between two steps of a run on a cluster: the run completes without a person."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

import pytest

from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.testbed.fixture import Testbed

RECORD = "/home/hpcuser/record_lost"
WORDS = ["a", "b", "c", "d"]


@pytest.mark.slow
@pytest.mark.faults
def test_several_tasks_that_miss_the_same_files_have_each_job_run_again_once(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed
) -> None:
    binding = {"step": "/", "target": {"deployment": "hpc", "service": "main"}, "max_mapped": 2}
    workflow = {"type": "cwl", "config": {"file": "lost.cwl"}, "bindings": [binding]}
    dag = dags.add("lost", {"version": "v1.0", "workflows": {"lost": workflow}, "deployments": deployments})
    airflow.api.unpause(dag)
    testbed.run("hpc", f"rm -f {RECORD}")
    folder = shlex.quote(f"{deployments['login']['workdir']}/{dag}")
    damage = f"cd {folder} && rm -r -- */first */second"
    run = airflow.api.trigger(dag, {"words": WORDS, "record": RECORD, "damage": damage})
    airflow.api.succeed(dag, run, 600)
    ran = Counter(testbed.run("hpc", f"cat {RECORD}").splitlines())
    # both chunks of `use` need all files of `second`
    assert ran == {**{f"{step} {word}": 2 for step in ("first", "second") for word in WORDS},
                   **{f"use {word}": 1 for word in WORDS}}  # fmt: skip
    outputs = airflow.api.xcom(dag, run, OUTPUTS_TASK)
    assert [file["basename"] for file in outputs["used"]] == [f"used_{word}.txt" for word in WORDS]
    assert {file["size"] for file in outputs["used"]} == {len("a\n") * (1 + len(WORDS))}
