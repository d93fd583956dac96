# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Processes that tests and the demo start leave nothing behind, and nothing else is ever ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.system.processes import Processes, marked, stop_recorded

# a child in a session of its own that its parent has left, as a detached job would be
DAEMON = "import subprocess, sys, time; subprocess.Popen(['sleep', '600'], start_new_session=True); "
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    made.stop(timeout_s=0.1)


def start(processes: Processes, name: str, code: str) -> None:
    processes.start(name, [sys.executable, "-c", code], env=dict(os.environ), cwd=processes.state)


def wait_for_log(processes: Processes, name: str) -> None:
    while not processes.tail(name):
        assert processes.running(name)
        time.sleep(0.02)


def alive(processes: Processes) -> list[str]:
    return [p.name() for p in marked(processes.mark) if p.status() != psutil.STATUS_ZOMBIE]


def test_stop_ends_what_a_child_left_behind(processes: Processes) -> None:
    start(processes, "a", DAEMON + "print('up', flush=True)")
    wait_for_log(processes, "a")
    assert "sleep" in alive(processes)
    processes.stop()
    assert alive(processes) == []
    assert not processes.record.exists()


def test_stop_does_not_wait_for_ever(processes: Processes) -> None:
    start(processes, "a", STUBBORN)
    wait_for_log(processes, "a")
    processes.stop(timeout_s=0.2)
    assert alive(processes) == []


def test_a_killed_child_can_be_started_again(processes: Processes) -> None:
    start(processes, "a", DAEMON + "time.sleep(600)")
    first = processes.pid("a")
    with pytest.raises(RuntimeError, match="a still runs"):
        processes.restart("a")
    processes.kill("a")
    assert not processes.running("a")
    processes.restart("a")
    assert processes.running("a") and processes.pid("a") != first


def test_a_record_is_enough_to_end_them_later(processes: Processes) -> None:
    start(processes, "a", DAEMON + "print('up', flush=True); time.sleep(600)")
    wait_for_log(processes, "a")
    assert stop_recorded(processes.record) == ["a"]
    assert alive(processes) == []
    assert stop_recorded(processes.record) == []


def test_a_pid_that_is_somebody_elses_now_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as other:
        record = tmp_path / "pids.json"
        row = {"pid": other.pid, "started_s": psutil.Process(other.pid).create_time() - 100}
        record.write_text(json.dumps({"mark": "none", "processes": {"a": row}}))
        assert stop_recorded(record) == []
        assert other.poll() is None
        other.kill()
