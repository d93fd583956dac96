# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How tasks end: the exception that callbacks and retry policies get, and which ends a worker reports."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Asset

from airflow_hybrid.errors import CommandEnd, CommandError, HybridError, JobFailedError
from airflow_hybrid.operators.base import HybridTask
from airflow_hybrid.operators.ending import ends_in_worker
from airflow_hybrid.triggers import hybrid
from airflow_hybrid.triggers.ends import EndState, TaskEnd


class Failing(HybridTask):
    """A task that fails with an error of ours."""

    def __init__(self, *, error: HybridError, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def run_task(self, context: Any) -> Any:
        raise self.error


def ended(error: HybridError, try_number: int = 1, max_tries: int = 1) -> BaseException:
    """The exception with which a task ends that fails with ``error``."""
    ti = SimpleNamespace(try_number=try_number, max_tries=max_tries)
    try:
        Failing(task_id="t", error=error).execute(cast(Any, {"ti": ti}))
    except BaseException as caught:
        return caught
    raise AssertionError("the task did not fail")


MESSAGE = "cluster: the job failed\n  -> ask for more memory"


@pytest.mark.parametrize(("retryable", "try_number"), [(True, 1), (False, 1), (True, 2), (False, 2)])
def test_a_callback_gets_the_error_itself_with_its_message(retryable: bool, try_number: int) -> None:
    error = JobFailedError("the job failed", retryable=retryable, where="cluster", hint="ask for more memory")
    caught = ended(error, try_number)
    assert isinstance(caught, JobFailedError) and isinstance(caught, SystemExit)
    assert (str(caught), type(caught).__name__) == (MESSAGE, "JobFailedError")
    assert (caught.message, caught.where, caught.hint) == ("the job failed", "cluster", "ask for more memory")


def test_an_error_keeps_what_its_class_adds() -> None:
    caught = ended(CommandError("squeue failed", CommandEnd("cluster", "squeue", 3, "no route")))
    assert isinstance(caught, CommandError) and isinstance(caught, SystemExit)
    assert (caught.exit_code, caught.stderr, caught.code) == (3, "no route", 1)


def called(context: Any) -> None:
    """A callback."""


@pytest.mark.filterwarnings("ignore:Setting email.* on a task is deprecated")
@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        ({}, ()),
        ({"email": "a@example.org", "email_on_failure": False, "email_on_retry": False}, ()),
        ({"email": "a@example.org", "email_on_failure": False}, (EndState.FAILED,)),
        ({"on_retry_callback": called}, (EndState.FAILED,)),
        ({"on_failure_callback": [called, called]}, (EndState.FAILED,)),
        ({"on_success_callback": called}, (EndState.SUCCESS,)),
        ({"outlets": [Asset("file:///a")]}, (EndState.SUCCESS,)),
        ({"on_skipped_callback": called}, (EndState.SKIPPED,)),
        ({"on_execute_callback": called}, ()),
    ],
)
def test_a_step_returns_to_a_worker_where_somebody_is_to_hear_of_its_end(
    arguments: dict[str, Any], ends: tuple[EndState, ...]
) -> None:
    assert ends_in_worker(HybridTask(task_id="t", **arguments)) == ends


def test_a_step_returns_only_after_its_first_worker_has_long_exited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow takes a worker's exit that it sees too late for the end of the task."""
    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def end(_: Any) -> TaskEnd:
        return TaskEnd(EndState.SUCCESS)

    monkeypatch.setattr(hybrid.HybridTrigger, "_end", end)
    monkeypatch.setattr(asyncio, "sleep", sleep)

    def events(**arguments: Any) -> list[Any]:
        trigger = hybrid.HybridTrigger({}, **arguments)
        instance: Any = SimpleNamespace(task_id="t")
        trigger.task_instance = instance  # as the triggerer does

        async def run() -> list[Any]:
            return [event async for event in trigger.run()]

        return asyncio.run(run())

    (event,) = events(ends_in_worker=["success"], resume_after_s=1000.0)
    assert TaskEnd.from_json(event.payload) == TaskEnd(EndState.SUCCESS)
    assert [round(pause, -2) for pause in pauses] == [1000.0]
    (event,) = events(ends_in_worker=["failed"])
    assert type(event).__name__ == "TaskSuccessEvent" and len(pauses) == 1
