# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""`airflow dags test` runs a trigger by itself, without a task instance, and resumes the task with its event."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_hybrid import HybridDag
from airflow_hybrid.cwl.fragments.fragment_run import InstanceResult
from airflow_hybrid.engine import FragmentOutcome
from airflow_hybrid.engine.reporting.recording import Recorder
from airflow_hybrid.operators.hybrid import HybridOperator
from airflow_hybrid.triggers.hybrid import HybridTrigger

RECORDED = Path(__file__).parents[1] / "engine" / "recorded" / "trigger.json"


class Execution:
    """An execution that has ended."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.batches = SimpleNamespace(recorder=Recorder())
        self.context = SimpleNamespace(spec=SimpleNamespace(step_path="/align"))

    async def run(self) -> FragmentOutcome:
        return FragmentOutcome([InstanceResult({"done": "x"}, self.status)], [], 1)


def step(tmp_path: Path) -> HybridOperator:
    (tmp_path / "main.cwl").write_text(
        "{cwlVersion: v1.2, class: Workflow, inputs: [], outputs: [], steps: [{id: align, in: [], out: [],"
        " run: {class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: []}}]}"
    )
    task = HybridDag(tmp_path / "main.cwl").get_task("align")
    assert isinstance(task, HybridOperator)
    return task


@pytest.mark.parametrize("status", ["success", "skipped"])
async def test_the_task_publishes_what_its_trigger_hands_back(
    tmp_path: Path, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HybridTrigger, "_execution", lambda self: Execution(status))
    trigger = HybridTrigger(**{**json.loads(RECORDED.read_text())["kwargs"], "jobs": None})
    trigger.task_instance = None
    (event,) = [event async for event in trigger.run()]
    pushed: dict[str, Any] = {}
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))}
    event_of_airflow = json.loads(json.dumps(event.payload))
    if status == "success":
        step(tmp_path).resumed(context, event_of_airflow)
    else:
        with pytest.raises(AirflowSkipException):
            step(tmp_path).resumed(context, event_of_airflow)
    assert pushed == {"lineage": [], "return_value": {"done": "x"}}
