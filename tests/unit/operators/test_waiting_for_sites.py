# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A task in a worker whose site does not answer gives its slot back, and comes again in the same try."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException

from airflow_hybrid.errors import HostUnreachableError, SiteError, UnknownHostError
from airflow_hybrid.operators.base import HybridTask
from airflow_hybrid.operators.identity import UNREACHABLE


class Silent(HybridTask):
    error: SiteError = HostUnreachableError("no connection to u@hpc:22: Connection refused")

    def run_task(self, context: Any) -> Any:
        raise self.error


class Store(dict[str, Any]):
    """The task's state store."""

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        del self[key]


def run(store: Mapping[str, Any], published: list[Any], **attributes: Any) -> None:
    task = Silent(task_id="t")
    for name, value in attributes.items():
        setattr(task, name, value)
    ti: Any = type(
        "Ti", (), {"try_number": 1, "max_tries": 0, "xcom_push": lambda self, **xcom: published.append(xcom)}
    )
    task.execute({"ti": ti(), "task_state_store": store})  # type: ignore[typeddict-item]


def test_it_comes_again_within_a_minute_and_says_what_it_waits_for() -> None:
    store, published = Store(), list[Any]()
    with pytest.raises(AirflowRescheduleException) as caught:
        run(store, published)
    assert 20 < caught.value.reschedule_date.timestamp() - time.time() <= 60
    assert [xcom["value"]["message"] for xcom in published] == ["no connection to u@hpc:22: Connection refused"]
    began = store[UNREACHABLE][0]
    with pytest.raises(AirflowRescheduleException):
        run(store, published)
    assert store[UNREACHABLE][0] == began


def test_after_max_unreachable_it_fails_for_good(caplog: pytest.LogCaptureFixture) -> None:
    store, published = Store(), list[Any]()
    store[UNREACHABLE] = [time.time() - 21601, time.time() - 30]
    with pytest.raises(SiteError):
        run(store, published)
    message = re.sub(r"since [\d-]+ [\d:]+ UTC", "since T", published[-1]["value"]["message"])
    assert message == "no connection to u@hpc:22: Connection refused (since T: `max_unreachable` is over)"


@pytest.mark.parametrize(
    "attributes",
    [{"waits": False}, {"error": UnknownHostError("no such name")}, {"error": SiteError("the disk is full")}],
)
def test_what_is_no_outage_fails(attributes: dict[str, Any]) -> None:
    store = Store()
    with pytest.raises((SystemExit, SiteError)):
        run(store, [], **attributes)
    assert UNREACHABLE not in store
