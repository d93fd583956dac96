# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL as DAGs: whatever the shape of the workflow, the outputs are those of cwltool."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.system.cwl import cwltool, essence
from tests.system.dag_runs import run_dags

DOCUMENTS = Path(__file__).parents[1] / "documents"
SEMANTICS = DOCUMENTS / "semantics.cwl"


def two_sites(folder: Path) -> dict[str, Any]:
    """Everything at ``left``, but some steps at ``right``: files have to travel."""
    return {
        "deployments": {
            name: {"type": "local", "config": {}, "workdir": str(folder / name)} for name in ("left", "right")
        },
        "bindings": {
            "/": "left",
            "/spread/each": "right",
            "/spread/deeper/with": "right",
            "/unfolder": "right",
            "/picked": "right",
            "/both": "right",
        },
    }


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("semantics")
    sites = two_sites(folder)
    batch = {"/scattered": {"target": "local", "scatter": "batch"}, "/spread": {"target": "local", "fuse": True}}
    return run_dags(
        folder / "airflow",
        [
            {"document": str(SEMANTICS), "options": sites},
            {"document": str(SEMANTICS), "options": {"bindings": batch}},
            {"document": str(DOCUMENTS / "echo.cwl"), "conf": {"message": "a tool is a workflow of one step"}},
            {"document": str(DOCUMENTS / "three.cwl")},
            {"document": str(DOCUMENTS / "echo.cwl"), "conf": {"mesage": "typo"}},
            {"document": str(DOCUMENTS / "echo.cwl")},
            {"document": str(SEMANTICS), "options": {**sites, "fuse": "chains"}},
        ],
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = cwltool(SEMANTICS, {}, tmp_path_factory.mktemp("cwltool") / "run", os.environ["PATH"])
    return found


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    return {
        name: (essence(ours.get(name)), essence(theirs[name]))
        for name in theirs
        if essence(ours.get(name)) != essence(theirs[name])
    }


def test_outputs_on_two_sites_are_those_of_cwltool(runs: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    assert runs[0]["state"] == "success", runs[0]["log"][-8000:]
    assert differences(runs[0]["outputs"], expected) == {}


def test_fused_and_batched_steps_give_the_same_outputs(runs: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    assert runs[1]["state"] == "success", runs[1]["log"][-8000:]
    assert differences(runs[1]["outputs"], expected) == {}
    assert "scattered" in runs[1]["tasks"] and "plan_scattered" not in runs[1]["tasks"]
    assert "spread[0]" in runs[1]["tasks"] and "spread.first[0]" not in runs[1]["tasks"]


def test_chains_of_steps_that_share_tasks_give_the_same_outputs(
    runs: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    assert runs[6]["state"] == "success", runs[6]["log"][-8000:]
    assert differences(runs[6]["outputs"], expected) == {}
    assert len(runs[6]["tasks"]) < len(runs[0]["tasks"])


def test_scattered_steps_are_mapped_and_sub_workflows_are_groups(runs: list[dict[str, Any]]) -> None:
    tasks = runs[0]["tasks"]
    assert {f"scattered[{i}]" for i in range(3)} <= set(tasks)
    assert {f"spread.deeper.join[{i}]" for i in range(6)} <= set(tasks)
    assert "plain.deeper.join" in tasks


def test_conditional_steps_are_skipped_and_what_follows_runs(runs: list[dict[str, Any]]) -> None:
    tasks = runs[0]["tasks"]
    assert tasks["never"] == "skipped" and tasks["picked"] == "success"
    assert tasks["skipped.first"] == "skipped"
    assert tasks["sometimes[1]"] == "skipped" and tasks["sometimes[0]"] == "success"


def test_a_tool_alone_is_a_dag(runs: list[dict[str, Any]]) -> None:
    assert runs[2]["state"] == "success", runs[2]["log"][-5000:]
    location = runs[2]["outputs"]["out"]["location"].removeprefix("file://").replace("%3A", ":").replace("%2B", "+")
    assert Path(location).read_text() == "a tool is a workflow of one step\n"
    assert runs[3]["outputs"] == {"number": 3}


def test_bad_inputs_fail_the_first_task_and_nothing_runs(runs: list[dict[str, Any]]) -> None:
    for run, message in ((runs[4], "did you mean 'message'?"), (runs[5], "input 'message'")):
        assert run["state"] == "failed"
        assert run["tasks"] == {"inputs": "failed", "echo": "upstream_failed", "outputs": "upstream_failed"}
        assert message in run["log"]
