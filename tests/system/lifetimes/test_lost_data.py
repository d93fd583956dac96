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
pytestmark = [pytest.mark.slow, pytest.mark.faults]


class Purged:
    """Runs in which everything is removed that two steps have made, before the next one uses it."""

    def __init__(self, airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed) -> None:
        self.airflow, self.dags, self.deployments, self.testbed = airflow, dags, deployments, testbed

    def run(self, name: str, **options: Any) -> Counter[str]:
        """How often each job ran; the outputs are complete.

        :param options: of the workflow.
        """
        binding = {"step": "/", "target": {"deployment": "hpc", "service": "main"}, "max_mapped": 2}
        workflow = {"type": "cwl", "config": {"file": "lost.cwl"}, "bindings": [binding], **options}
        hybrid = {"version": "v1.0", "workflows": {name: workflow}, "deployments": self.deployments}
        dag = self.dags.add(name, hybrid)
        self.airflow.api.unpause(dag)
        self.testbed.run("hpc", f"rm -f {RECORD}")
        folder = shlex.quote(f"{self.deployments['login']['workdir']}/{dag}")
        damage = f"cd {folder} && rm -r -- */first */second"
        run = self.airflow.api.trigger(dag, {"words": WORDS, "record": RECORD, "damage": damage})
        self.airflow.api.succeed(dag, run, 600)
        outputs = self.airflow.api.xcom(dag, run, OUTPUTS_TASK)
        assert [file["basename"] for file in outputs["used"]] == [f"used_{word}.txt" for word in WORDS]
        assert {file["size"] for file in outputs["used"]} == {len("a\n") * (1 + len(WORDS))}
        return Counter(self.testbed.run("hpc", f"cat {RECORD}").splitlines())


@pytest.fixture(scope="module")
def purged(airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed) -> Purged:
    return Purged(airflow, dags, deployments, testbed)


def test_several_tasks_that_miss_the_same_files_have_each_job_run_again_once(purged: Purged) -> None:
    # both chunks of `use` need all files of `second`
    assert purged.run("lost") == {
        **{f"{step} {word}": 2 for step in ("first", "second") for word in WORDS},
        **{f"use {word}": 1 for word in WORDS},
    }


def test_with_a_checkpoint_at_another_site_no_job_runs_again(purged: Purged) -> None:
    ran = purged.run("lost_kept", checkpoint="cloud", recovery={"replay": "off"})
    assert ran == {f"{step} {word}": 1 for step in ("first", "second", "use") for word in WORDS}
