# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A task whose time is over ends, wherever its process happens to be."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout

from airflow_hybrid.errors import CancelledError
from airflow_hybrid.operators.base import HybridTask
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.waiting import TimeIsOverError, give_up, time_is_over, wait_for
from tests.raising import raising


class Busy(HybridTask):
    """A task that runs short commands for ever, as one does that polls its jobs."""

    def run_task(self, context: Any) -> Any:
        async def work() -> None:
            while True:
                await LocalHost().run(":")

        return self.run_async(work())


def test_a_time_limit_ends_a_task_at_any_moment(capfd: pytest.CaptureFixture[str]) -> None:
    moments = random.Random(4711)
    for number in range(50):
        limit_s = moments.uniform(0.02, 0.2)  # one that is over before the task begins is Airflow's to tell
        task = Busy(task_id=f"t{number}", execution_timeout=timedelta(seconds=limit_s))
        with pytest.raises(AirflowTaskTimeout), timeout(limit_s):  # type: ignore[no-untyped-call]  # Airflow's
            task.execute({})
    assert capfd.readouterr().out.count("s is over: what it did is given up\n  -> for more time") == 50


def test_what_is_said_of_a_time_limit() -> None:
    assert time_is_over(90.0, "its jobs are cancelled") == (
        "the task's execution_timeout of 90 s is over: its jobs are cancelled\n"
        "  -> for more time, set `dag: {default_args: {execution_timeout: <seconds>}}` in the hybrid file"
    )


def test_a_time_limit_holds_where_the_exception_of_the_timer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_hybrid.operators.base.TIMER_GRACE_S", 0.1)
    task = Busy(task_id="t", execution_timeout=timedelta(seconds=0.2))
    began = time.monotonic()
    with pytest.raises(AirflowTaskTimeout):
        task.execute({})  # nobody has set a timer
    assert time.monotonic() - began > 0.2


def test_work_that_is_given_up_is_cancelled_and_ends_before_the_error_goes_on() -> None:
    seen = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            seen.append("ended")
            raise

    with pytest.raises(TimeIsOverError):
        wait_for(work(), 0.1)
    assert seen == ["ended"]


def test_who_waits_is_told_that_somebody_else_has_given_the_work_up() -> None:
    async def work() -> None:
        asyncio.get_running_loop().call_later(0.1, asyncio.get_running_loop().run_in_executor, None, give_up, 0.0)
        await asyncio.sleep(60)

    with pytest.raises(CancelledError) as caught:
        wait_for(work())
    assert str(caught.value) == "the task was killed before it had ended"


def test_an_error_of_the_work_itself_is_handed_on() -> None:
    async def work() -> None:
        raise TimeoutError("a connection's")

    with raising(TimeoutError, "a connection's"):
        wait_for(work(), 60)


KILLED = """
import asyncio, sys
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CommsDecoder
from airflow_hybrid.operators.base import HybridTask
import signal

class Killed(HybridTask):
    def run_task(self, context):
        async def work():
            print("runs", flush=True)
            await asyncio.sleep(60)
        self.run_async(work())

    def end_work(self):
        print("jobs ended", flush=True)

task = Killed(task_id="t")
task_runner.SUPERVISOR_COMMS = CommsDecoder.__new__(CommsDecoder) if sys.argv[1] == "supervised" else object()
signal.signal(signal.SIGTERM, lambda number, frame: task.on_kill())  # what Airflow's task runner does
try:
    task.execute({"ti": type("Ti", (), {"try_number": 1, "max_tries": 0})})
except BaseException as error:
    print("verdict", type(error).__name__, flush=True)
"""


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        ("supervised", -signal.SIGTERM, ["jobs ended"]),
        ("in the process of another", 0, ["jobs ended", "verdict CancelledError"]),
    ],
)
def test_a_killed_task_ends_its_jobs_and_gives_no_verdict(
    where: str, code: int, said: list[str], tmp_path: Path
) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    while process.stdout.readline() != "runs\n":
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate()
    assert process.returncode == code
    assert [line for line in rest.splitlines() if "[error" not in line] == said
