# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A workflow among ordinary tasks of Airflow, and those who want to hear of its tasks' ends: all as Airflow does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid import HybridDag
from airflow_hybrid.errors import ConfigError
from tests.raising import raising
from tests.unit.dag.among_tasks import WORKFLOW

ROOT = Path(__file__).parents[3]
FAILED = "JobFailedError: the job failed"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the runs of :mod:`tests.unit.dag.among_tasks` saw, by DAG."""
    folder = tmp_path_factory.mktemp("among_tasks")
    command = [sys.executable, "-m", "tests.unit.dag.among_tasks", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    yield json.loads((folder / "seen.json").read_text())


@pytest.mark.slow
def test_an_input_may_be_what_another_task_returns(seen: dict[str, Any]) -> None:
    run = seen["values"]
    assert set(run["states"].values()) == {"success", "skipped"}
    assert run["states"]["extra"] == "skipped" and run["told"] == ["AB\nAB\n"]
    assert run["params"] == {
        "times": "Left empty: what task `give` returns.",
        "file": "Left empty: what task `find` returns.",
    }


@pytest.mark.slow
def test_what_a_run_is_given_goes_before_the_values_of_tasks(seen: dict[str, Any]) -> None:
    assert seen["given"]["outputs"] == {"text": "AB\n"}


@pytest.mark.slow
def test_a_branch_before_the_workflow_skips_all_of_it_and_what_follows(seen: dict[str, Any]) -> None:
    states = seen["before"]["states"]
    assert {name for name, state in states.items() if state == "success"} == {"branch", "other"}
    assert {name for name, state in states.items() if state == "skipped"} == {
        "inputs", "repeat", "extra", "shout", "outputs", "after",
    }  # fmt: skip


@pytest.mark.slow
def test_a_branch_within_the_workflow_skips_what_needs_the_step(seen: dict[str, Any]) -> None:
    states = seen["within"]["states"]
    assert {name for name, state in states.items() if state == "success"} == {"branch", "other", "inputs"}
    assert {name for name, state in states.items() if state == "skipped"} == {
        "repeat", "extra", "shout", "outputs", "after",
    }  # fmt: skip


@pytest.mark.slow
def test_callbacks_of_steps_that_a_trigger_runs_are_called(seen: dict[str, Any]) -> None:
    assert seen["called"]["calls"] == [
        ["on_success_callback", "inputs", ""],
        ["on_success_callback", "repeat", ""],
        ["on_skipped_callback", "extra", ""],
        ["on_success_callback", "shout", ""],
        ["on_success_callback", "outputs", ""],
    ]


@pytest.mark.slow
def test_a_failure_is_told_with_its_own_error_at_each_try(seen: dict[str, Any]) -> None:
    assert seen["called_failed"]["calls"] == [
        ["on_success_callback", "inputs", ""],
        ["heard success", "inputs", ""],
        ["on_retry_callback", "repeat", FAILED],
        ["heard failure", "repeat", FAILED],
        ["on_failure_callback", "repeat", FAILED],
        ["heard failure", "repeat", FAILED],
        ["mail to a@example.org", "the job failed", ""],
    ]


@pytest.mark.slow
def test_nobody_is_asked_to_call_callbacks_of_a_task_that_ended(seen: dict[str, Any]) -> None:
    assert {name: run["requests"] for name, run in seen.items()} == dict.fromkeys(seen, 0)
    assert seen["quiet_failed"]["states"]["repeat"] == "failed"


def test_the_value_of_a_task_for_no_input_is_an_error_of_the_dag(tmp_path: Path) -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator

    (tmp_path / "t.cwl").write_text("{cwlVersion: v1.2, class: CommandLineTool, inputs: {a: int}, outputs: {}}")
    message = (
        f"{tmp_path}/d.py: `inputs` has the value of task `count` for 'b', which is not an input\n"
        "  -> the inputs of this workflow are: a"
    )
    with raising(ConfigError, message):
        HybridDag(
            str(tmp_path / "t.cwl"), inputs={"b": EmptyOperator(task_id="count").output}, fileloc=f"{tmp_path}/d.py"
        )


def test_the_schedule_of_a_dag_may_rely_on_the_values_of_tasks(tmp_path: Path) -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator

    (tmp_path / "t.cwl").write_text("{cwlVersion: v1.2, class: CommandLineTool, inputs: {a: int}, outputs: {}}")
    task = EmptyOperator(task_id="count")
    dag = HybridDag(str(tmp_path / "t.cwl"), inputs={"a": task}, fileloc=f"{tmp_path}/d.py", schedule="@daily")
    assert dag.get_task("inputs").upstream_task_ids == {"count"} and task.dag is dag


def test_the_scheduler_itself_skips_steps_that_run_whatever_their_inputs_are(tmp_path: Path) -> None:
    (tmp_path / "w.cwl").write_text(WORKFLOW)
    dag = HybridDag(str(tmp_path / "w.cwl"), fileloc=f"{tmp_path}/d.py")
    rules = {task.task_id: (set(task.upstream_task_ids), task.trigger_rule.value) for task in dag.tasks}
    assert rules == {
        "inputs": (set(), "all_success"),
        "repeat": ({"inputs"}, "all_success"),
        "extra": ({"repeat"}, "all_success"),
        "shout": ({"extra"}, "none_failed"),  # `extra` may be skipped by its `when`
        "outputs": ({"shout"}, "all_success"),
    }
