# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Who may use the cores of a plain host, and who waits: launchers on this machine, really."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from airflow_hybrid import shell_text
from airflow_hybrid.model import Resources
from airflow_hybrid.schedulers import process
from airflow_hybrid.schedulers.base import Submission
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches import runner
from airflow_hybrid.sites.batches.queue import JobQueue
from tests.unit.sites.shell_hosts import EVERY_SHELL, ShellHost, batch, sh


class InShell(ProcessScheduler):
    """Its runner runs in a shell of the test's choice."""

    def __init__(self, shell: str) -> None:
        self.shell = sh(shell)

    def scripts(self, submission: Submission) -> dict[str, str]:
        return {name: text.replace("/bin/sh ", f"{self.shell} ") for name, text in super().scripts(submission).items()}


class Machine:
    """This machine as one of a few cores, with nobody else on it: its own folder for locks."""

    def __init__(self, folder: Path, cores: int) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.mine = folder / "mine"
        (self.bin / "nproc").write_text(f"#!/bin/sh\necho {cores}\n")
        (self.bin / "nproc").chmod(0o755)
        self.queues: list[tuple[JobQueue, str]] = []

    def queue(self, deployment: str, cores: int | None = None, shell: str = "dash") -> JobQueue:
        host = ShellHost("dash", {"PATH": f"{self.bin}:{os.environ['PATH']}"})
        host.deployment, host.cores = deployment, cores
        return JobQueue(host, InShell(shell), pack_s=0.01, grace_s=1.0)

    async def begin(
        self, queue: JobQueue, name: str, cores: float, tool: float | tuple[str, ...]
    ) -> asyncio.Future[None]:
        """Submit one job, a command or seconds to sleep; the future ends with it."""
        command = tool if isinstance(tool, tuple) else ("sleep", str(tool))
        folder = f"{self.folder}/{name}"
        made = batch(f"{folder}/a1", 1, lambda i: command, resources=Resources(cores=cores))
        self.queues.append((queue, folder))
        await queue.submit(made)
        return asyncio.ensure_future(self._end(queue, made.directory))

    async def _end(self, queue: JobQueue, directory: str) -> None:
        await queue.wait(directory)

    async def began(self, name: str) -> None:
        while not Path(self.folder, name, "a1", "c", "0").exists():
            await asyncio.sleep(0.05)

    async def waits(self) -> None:
        """Until somebody waits for cores."""
        while not [path for path in self.mine.glob("slots/w.*") if path.stat().st_size]:
            await asyncio.sleep(0.05)

    def has_begun(self, name: str) -> bool:
        return Path(self.folder, name, "a1", "c", "0").exists()

    async def end(self) -> None:
        for queue, folder in self.queues:
            await queue.cancel(folder)


@pytest.fixture
async def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    load = shell_text.load

    def load_with_folder(package: str, name: str) -> str:
        return re.sub(r"/[^\s]*/airflow_hybrid-\$\(id -u\)", f"{tmp_path}/mine", load(package, name))

    monkeypatch.setattr(shell_text, "load", load_with_folder)
    monkeypatch.setattr(runner, "clean_restart", lambda: "set +Ceuf\n")  # it would go on in /bin/sh
    made = Machine(tmp_path, cores=2)
    yield made
    await made.end()


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_a_job_that_does_not_fit_now_does_not_hold_up_those_that_do(machine: Machine, shell: str) -> None:
    queue = machine.queue("site", shell=shell)
    await machine.begin(queue, "long", 1, 600)
    await machine.began("long")
    await machine.begin(queue, "large", 2, 0)
    await machine.waits()
    small = await machine.begin(queue, "small", 1, 0)
    await asyncio.wait_for(small, 180)
    assert not machine.has_begun("large")
    assert Path(machine.folder, "small", "a1", "log").read_text() == ""


async def test_the_cores_of_a_deployment_are_of_its_own_jobs(machine: Machine) -> None:
    one, other = machine.queue("one", cores=1), machine.queue("other")
    await machine.begin(other, "long", 1, 600)
    await machine.began("long")
    await machine.begin(one, "first", 1, 600)
    await asyncio.wait_for(machine.began("first"), 180)
    await machine.begin(one, "second", 0.5, 0)
    await machine.waits()
    await asyncio.sleep(0.5)
    assert not machine.has_begun("second")


async def test_the_cores_of_the_host_are_of_all_jobs(machine: Machine) -> None:
    for name in ("one", "two"):
        await machine.begin(machine.queue(name), name, 1, 600)
        await machine.began(name)
    await machine.begin(machine.queue("three"), "three", 1, 0)
    await machine.waits()
    await asyncio.sleep(0.5)
    assert not machine.has_begun("three")


async def test_a_large_job_that_has_waited_for_long_is_not_overtaken(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENCE_S", 1)
    queue = machine.queue("site")
    await machine.begin(queue, "long", 1, 20)
    await machine.began("long")
    large = await machine.begin(queue, "large", 2, 1)
    await machine.waits()
    await asyncio.sleep(4)
    small = await machine.begin(queue, "small", 1, 0)
    await asyncio.wait_for(asyncio.gather(large, small), 90)
    claims = [Path(machine.folder, name, "a1", "c", "0").stat().st_mtime for name in ("long", "large", "small")]
    assert claims == sorted(claims)


async def test_who_waits_for_its_own_deployment_keeps_no_room_of_the_host(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENCE_S", 1)
    one = machine.queue("one", cores=1)
    await machine.begin(one, "first", 1, 600)
    await machine.began("first")
    await machine.begin(one, "second", 1, 0)
    await machine.waits()
    await asyncio.sleep(1.5)
    await asyncio.wait_for(await machine.begin(machine.queue("other"), "small", 1, 0), 180)
    assert not machine.has_begun("second")


# ksh93 has no process of its own for a subshell: the tool's is not known before it has begun
@pytest.mark.parametrize("shell", [shell for shell in EVERY_SHELL if shell != "ksh93"])
@pytest.mark.parametrize("tool", [("sleep", "15"), ("setsid", "sleep", "15")], ids=["plain", "own session"])
async def test_a_tool_that_outlives_its_worker_keeps_its_cores(
    machine: Machine, shell: str, tool: tuple[str, ...]
) -> None:
    queue = machine.queue("site", shell=shell)
    await machine.begin(queue, "orphan", 2, tool)
    await machine.began("orphan")
    await asyncio.sleep(0.5)
    (worker,) = (int(path.name) for path in machine.mine.glob("slots/[0-9]*"))
    launcher = os.getsid(worker)
    for pid in (worker, launcher):
        os.kill(pid, signal.SIGKILL)
    await machine.begin(queue, "next", 1, 0)
    await machine.waits()
    await asyncio.sleep(0.5)
    assert not machine.has_begun("next")
    await asyncio.wait_for(machine.began("next"), 60)
    assert Path(machine.folder, "next", "a1", "log").read_text() == ""


async def test_what_a_tool_left_in_the_background_keeps_no_core_of_a_killed_worker(machine: Machine) -> None:
    queue = machine.queue("site")
    await machine.begin(queue, "leaves", 2, ("sh", "-c", "sleep 600 & exec sleep 600"))
    await machine.began("leaves")
    await asyncio.sleep(0.5)
    (worker,) = (psutil.Process(int(path.name)) for path in machine.mine.glob("slots/[0-9]*"))
    (tool,) = worker.children()
    (left,) = tool.children()
    worker.kill()
    tool.kill()
    await asyncio.wait_for(await machine.begin(queue, "next", 2, 0), 180)
    assert left.is_running()


async def test_a_worker_that_lost_its_launcher_does_not_hold_the_cores_of_one_that_is_gone(machine: Machine) -> None:
    queue = machine.queue("site")
    await machine.begin(queue, "long", 1, 600)
    await machine.began("long")
    (holder,) = machine.mine.glob("slots/[0-9]*")
    machine.queues.append((queue, f"{machine.folder}/pair"))
    await queue.submit(batch(f"{machine.folder}/pair/a1", 2, lambda i: ("sleep", "600")))
    await machine.waits()
    (worker,) = (psutil.Process(int(path.name)) for path in set(machine.mine.glob("slots/[0-9]*")) - {holder})
    ended = [psutil.Process(os.getsid(worker.pid)), worker, *worker.children()]
    for one in ended:
        one.kill()
    claims = Path(machine.folder, "pair/a1/c")
    while len(list(claims.iterdir())) < 2:
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_files_that_nobody_can_read_hold_no_cores(machine: Machine, shell: str) -> None:
    slots = machine.mine / "slots"
    slots.mkdir(mode=0o700, parents=True)
    machine.mine.chmod(0o700)
    for name in (str(os.getpid()), "w.site"):
        (slots / name).write_text("1 2000 3 x y\nsite\n")
    await asyncio.wait_for(await machine.begin(machine.queue("site", shell=shell), "next", 2, 0), 180)
