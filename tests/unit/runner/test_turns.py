# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Triggers and tasks of a runner take turns in one thread, and share cwltool's thread."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_hybrid.engine.common import cwl_thread_is_idle, in_cwl_thread
from airflow_hybrid.operators.base import in_worker
from airflow_hybrid.runner import dag_run
from airflow_hybrid.runner.dag_run import _Run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run whose triggers have a loop."""

    def supervisor(**_: Any) -> Any:
        return SimpleNamespace()

    monkeypatch.setattr(dag_run, "InProcessTestSupervisor", supervisor)
    monkeypatch.setattr(supervisor, "_api_client", lambda: None, raising=False)
    monkeypatch.setattr(dag_run, "_TriggerComms", lambda supervisor: None)
    made: Any = object.__new__(_Run)
    made._loop = asyncio.new_event_loop()
    yield made
    made._loop.close()


def test_a_task_begins_when_no_trigger_waits_for_an_answer_in_the_cwl_thread(run: Any) -> None:
    loop, answers = run._loop, []

    async def answer() -> str:
        await asyncio.sleep(0.05)
        return "the file's text"

    def asks() -> None:  # as an expression does that reads a file of a site
        answers.append(asyncio.run_coroutine_threadsafe(answer(), loop).result(60))

    async def trigger() -> None:
        await in_cwl_thread(asks)
        await in_cwl_thread(asks)

    waiting = loop.create_task(trigger())
    run._turn(run._step_once())
    assert cwl_thread_is_idle()
    # a task: it needs the same thread
    assert in_worker(in_cwl_thread(lambda: "planned"), 60) == "planned"
    loop.run_until_complete(waiting)
    assert answers == ["the file's text"] * 2


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that a shell has started in the background ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_the_thread_works_ends_the_turn(run: Any) -> None:
    release = threading.Event()

    async def trigger() -> None:
        await in_cwl_thread(release.wait, 60)

    waiting = run._loop.create_task(trigger())
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run._turn(run._step_once())
    finally:
        release.set()
    run._loop.run_until_complete(waiting)
