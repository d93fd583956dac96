# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Alerts about jobs that wait in a queue, as Airflow's triggerer calls them when a deadline is over."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetTaskStates, GetXCom, TaskStatesResult, XComResult
from airflow.serialization.serialized_objects import DagSerialization
from airflow.triggers.callback import CallbackTrigger

from airflow_hybrid import HybridDag
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model.records import BatchProgress, JobsReport
from airflow_hybrid.notifications.queued import queue_alerts

SENT: list[str] = []
HOUR = timedelta(hours=1)


class Chat(BaseNotifier):
    """A notifier with templates, as those of the providers are."""

    template_fields: Sequence[str] = ("text",)

    def __init__(self, room: str, text: str = "{{ hybrid_queue }}", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.room, self.text = room, text

    async def async_notify(self, context: Any) -> None:
        SENT.append(f"{self.room}: {self.text}")


async def tell(context: Any) -> None:
    SENT.append(context["hybrid_queue"].title)


def batch(step: str, waited_s: float, pending: int = 3) -> BatchProgress:
    since = time.time() - waited_s
    return BatchProgress(
        step, "cluster/gpu", 12, 9 - pending, 3, pending, ("Priority\x1b[2J",), "", ("1",), "/d", since
    )


class Api:
    """What Airflow's supervisor answers in a triggerer."""

    def __init__(self, reports: dict[tuple[str, int], JobsReport]) -> None:
        self.reports = reports

    async def asend(self, msg: Any) -> Any:
        if isinstance(msg, GetTaskStates):
            names = {task if index < 0 else f"{task}_{index}": "deferred" for task, index in self.reports}
            return TaskStatesResult(task_states={"run": {**names, "ended": "success"}})
        assert isinstance(msg, GetXCom) and msg.task_id != "ended"
        report = self.reports.get((msg.task_id, -1 if msg.map_index is None else msg.map_index))
        return XComResult(key="jobs", value=None if report is None else report.to_json())


async def events(callback: AsyncCallback, *batches: BatchProgress) -> list[Any]:
    """What a deadline's trigger says, when the batches are as given: nothing has changed since they were submitted."""
    report = JobsReport((), tuple(batches), min(batch.since for batch in batches))
    task_runner.SUPERVISOR_COMMS = Api({("train", 0): report, ("step_2", -1): JobsReport()})  # type: ignore[assignment]
    (alert, *_) = queue_alerts(HOUR, callback)
    kwargs = json.loads(json.dumps(alert.callback.kwargs))
    kwargs["context"] = {"dag_run": {"dag_id": "claire", "dag_run_id": "run"}, "deadline": {}}
    return [event.payload async for event in CallbackTrigger(alert.callback.path, kwargs).run()]


@pytest.fixture(autouse=True)
def nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    SENT.clear()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", None, raising=False)


async def test_a_notifier_is_told_what_waits() -> None:
    said = await events(AsyncCallback(Chat, {"room": "ops"}), batch("/train", 5400.0), batch("/score", 60.0))
    text = (
        "claire: 3 jobs wait in a queue (run run)\n"
        "  /train at cluster/gpu: 3 of 12 pending (Priority\\x1b[2J), for 1:30:00"
    )
    (sent,) = SENT
    assert sent == f"ops: {text}"
    assert said[-1] == {"state": "success", "body": text}


@pytest.mark.parametrize(("waited_s", "pending"), [(3000.0, 3), (7600.0, 3), (5400.0, 0)])
async def test_a_batch_is_told_of_once(waited_s: float, pending: int) -> None:
    said = await events(AsyncCallback(tell), batch("/train", waited_s, pending))
    assert SENT == [] and said[-1] == {"state": "success", "body": None}


async def test_a_function_is_told() -> None:
    await events(AsyncCallback(tell), batch("/train", 3601.0, 1))
    assert SENT == ["claire: 1 job waits in a queue"]


def test_a_dag_has_them_as_deadlines(tmp_path: Path) -> None:
    (tmp_path / "main.cwl").write_text(
        "{cwlVersion: v1.2, class: CommandLineTool, baseCommand: x, inputs: [], outputs: []}"
    )
    alerts = queue_alerts(HOUR, AsyncCallback(Chat, {"room": "ops"}), up_to=timedelta(hours=4))
    dag = HybridDag(tmp_path / "main.cwl", deadline=alerts)
    assert [alert.interval for alert in alerts] == [HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]
    assert len(DagSerialization.to_dict(dag)["dag"]["deadline"]) == 4


@pytest.mark.parametrize("longer_than", [timedelta(days=2), timedelta(seconds=1), timedelta(0)])
def test_a_number_of_looks_that_makes_no_sense_is_refused(longer_than: timedelta) -> None:
    with pytest.raises(ConfigError, match="alerts about queues"):
        queue_alerts(longer_than, AsyncCallback(tell))
