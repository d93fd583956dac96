# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Processes of this machine, and what is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.errors import CommandError
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.hosts.processes import DEVNULL, start_process
from tests.raising import raising

LONG_S = 120
"""what a test waits for; nothing takes so long"""


@pytest.fixture(params=["pidfd", "thread"])
def watched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which the loop hears that a process has ended."""
    if request.param == "thread":
        monkeypatch.delattr(os, "pidfd_open", raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """All processes that are started, in their order."""
    all_of_them: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            all_of_them.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    return all_of_them


def pipes() -> set[str]:
    """The pipes and the watched processes that this process has open."""
    targets = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            targets.add(os.readlink(f"/proc/self/fd/{name}"))
    return {target for target in targets if target.startswith(("pipe:", "anon_inode:[pidfd]"))}


async def until_gone(pid: int) -> None:
    async def gone() -> None:
        while os.path.exists(f"/proc/{pid}"):
            await asyncio.sleep(0.05)

    await asyncio.wait_for(gone(), LONG_S)


@pytest.mark.usefixtures("watched")
async def test_bytes_go_in_and_out_and_the_exit_code_comes_back() -> None:
    process = await start_process(["/bin/sh", "-c", "cat; echo problem >&2; exit 7"])
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(b"x" * 3_000_000)
    process.stdin.close()
    out, err, code = await asyncio.gather(process.stdout.read(), process.stderr.read(), process.wait())
    assert (len(out), err, code, process.returncode) == (3_000_000, b"problem\n", 7, 7)


@pytest.mark.usefixtures("watched")
async def test_a_signal_is_a_negative_exit_code() -> None:
    process = await start_process(["/bin/sh", "-c", "kill -TERM $$"], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    assert await process.wait() == -signal.SIGTERM


@pytest.mark.usefixtures("watched")
async def test_an_exit_code_that_somebody_else_took_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(pid: int, options: int) -> tuple[int, int]:
        real(pid, options)
        raise ChildProcessError

    real = os.waitpid
    monkeypatch.setattr(os, "waitpid", taken)
    process = await start_process(["true"], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    assert await process.wait() == 255


async def test_a_program_that_is_missing_is_told() -> None:
    with raising(FileNotFoundError, "[Errno 2] No such file or directory: '/no/such/program'"):
        await start_process(["/no/such/program"])


@pytest.mark.usefixtures("watched")
async def test_many_processes_leave_no_descriptor_and_no_zombie(started: list[subprocess.Popen[bytes]]) -> None:
    before = pipes()
    host = LocalHost()
    results = await asyncio.gather(*(host.run(f"cat; exit {n}", stdin=b"%d" % n) for n in range(30)))
    assert [(result.exit_code, result.stdout) for result in results] == [(n, b"%d" % n) for n in range(30)]
    for process in started:
        await until_gone(process.pid)
    await asyncio.sleep(0)
    assert pipes() - before == set()


async def test_the_loop_starts_no_process_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting one waits for it: all triggers of a triggerer would wait, too."""
    threads: list[threading.Thread] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            threads.append(threading.current_thread())
            super().__init__(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    await LocalHost().run("true")
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_a_command_that_is_cancelled_ends_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = f"sleep 600 & echo $! >{pids}.new; echo $$ >>{pids}.new; mv {pids}.new {pids}; wait"
    running = asyncio.ensure_future(LocalHost().run(command, timeout_s=600))
    while not pids.exists():
        await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for pid in pids.read_text().split():
        await until_gone(int(pid))


async def test_a_command_that_is_cancelled_while_it_starts_does_not_run_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun, go_on, started = threading.Event(), threading.Event(), list[subprocess.Popen[bytes]]()

    class Slow(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            begun.set()
            go_on.wait(LONG_S)
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Slow)
    running = asyncio.ensure_future(LocalHost().run("sleep 600", timeout_s=600))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert started[0].returncode == -signal.SIGKILL


async def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(CommandError):
        await LocalHost().run(f"echo $$ >{pid}; exec sleep 600", timeout_s=3)
    if pid.exists():  # it had begun
        await until_gone(int(pid.read_text()))


def test_a_loop_that_ends_leaves_no_process_that_it_was_starting(started: list[subprocess.Popen[bytes]]) -> None:
    async def leave() -> None:
        running = asyncio.ensure_future(LocalHost().run("exec sleep 600", timeout_s=600))
        while not started:
            await asyncio.sleep(0)
        assert not running.done()

    asyncio.run(leave())
    assert [process.wait(LONG_S) for process in started] == [-signal.SIGKILL]
