# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A trigger that Airflow cancels: its jobs are cancelled, unless somebody else follows them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult

from airflow_hybrid.triggers.hybrid import HybridTrigger

RECORDED = Path(__file__).parents[1] / "engine" / "recorded" / "trigger.json"
FOLLOWED = "/align: its jobs are followed by another triggerer, or were ended by a later try"
UNKNOWN = (
    "/align: Airflow did not say whether the task is still deferred, so its jobs are not cancelled: another"
    " triggerer may follow them. If none does, cancel them at their site"
)


class Triggerer:
    """What a triggerer answers to its triggers: the state of one task instance.

    :param map_index: of the task instance; -1: it is not mapped.
    """

    def __init__(self, state: str | None, map_index: int = -1) -> None:
        self.state = state
        self.ti = SimpleNamespace(dag_id="d", task_id="align", run_id="r", map_index=map_index)

    async def asend(self, message: GetTaskStates) -> TaskStatesResult:
        assert (message.dag_id, message.task_ids, message.run_ids) == ("d", ["align"], ["r"])
        assert message.map_index == self.ti.map_index
        name = "align" if self.ti.map_index < 0 else f"align_{self.ti.map_index}"
        return TaskStatesResult(task_states={"r": {name: self.state}})


class Cancelled(HybridTrigger):
    """Notes that its jobs were cancelled, and what it tells."""

    was = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.told: list[str] = []

    @property
    def log(self) -> Any:
        def tell(text: str, *values: object) -> None:
            self.told.append(text % values)

        return SimpleNamespace(info=tell, exception=tell)

    async def _cancel(self, execution: Any) -> None:
        self.was = True


@pytest.fixture
def trigger() -> Cancelled:
    return Cancelled(**json.loads(RECORDED.read_text())["kwargs"])


@pytest.mark.parametrize("map_index", [-1, 3])
@pytest.mark.parametrize(
    ("state", "cancelled"),
    [
        pytest.param("deferred", False, id="another-triggerer-follows"),
        pytest.param("failed", True, id="marked-failed"),
        pytest.param("success", True, id="marked-success"),
        pytest.param("scheduled", True, id="cleared"),
        pytest.param(None, True, id="just-cleared"),
    ],
)
async def test_only_jobs_that_nobody_follows_are_cancelled(
    trigger: Cancelled,
    state: str | None,
    cancelled: bool,
    map_index: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    triggerer = Triggerer(state, map_index)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", triggerer, raising=False)
    trigger.task_instance = triggerer.ti  # type: ignore[assignment]
    await trigger.on_kill()
    assert trigger.was is cancelled
    assert trigger.told == ([] if cancelled else [FOLLOWED])


async def test_jobs_are_not_cancelled_where_airflow_does_not_say_who_follows_them(
    trigger: Cancelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(message: object) -> None:
        raise RuntimeError("the database is down")

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(asend=fail), raising=False)
    trigger.task_instance = Triggerer(None).ti  # type: ignore[assignment]
    await trigger.on_kill()
    assert not trigger.was
    assert trigger.told == [UNKNOWN]


async def test_a_runner_without_other_triggerers_cancels(trigger: Cancelled, monkeypatch: pytest.MonkeyPatch) -> None:
    triggerer = Triggerer("deferred")
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", triggerer, raising=False)
    trigger.task_instance = triggerer.ti  # type: ignore[assignment]
    trigger.others_may_follow = False
    await trigger.on_kill()
    assert trigger.was
