# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One poll serves many tasks; what it tells each of them must reach that task's log and no other's."""

from __future__ import annotations

import asyncio
import contextvars
import re
from pathlib import Path

import pytest

from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches.poller import Poller, Progress
from airflow_hybrid.sites.hosts.base import CommandResult
from airflow_hybrid.sites.hosts.local import LocalHost

TASK: contextvars.ContextVar[str] = contextvars.ContextVar("task")


class AllEnded(LocalHost):
    """A host where every watched batch of five jobs has ended."""

    async def run(self, command: str, **_: object) -> CommandResult:
        watched = len(re.findall(r"/batch\d", command))
        return CommandResult("here", command, 0, b"\n#n 5\n" * watched, b"")


async def test_progress_is_told_in_the_context_of_who_waits() -> None:
    poller = Poller(AllEnded(), ProcessScheduler())
    told: dict[str, str] = {}

    async def task(number: int) -> None:
        TASK.set(f"task {number}")
        directory = f"/batch{number}"

        def tell(progress: Progress) -> None:
            told.setdefault(directory, TASK.get())

        await poller.watch(directory, (), 5, tell)

    await asyncio.gather(*(task(number) for number in range(3)))
    assert told == {f"/batch{number}": f"task {number}" for number in range(3)}


def test_progress_reads_as_a_sentence() -> None:
    assert str(Progress(7, 7)) == "7 of 7 jobs ended"
    assert str(Progress(7, 1, 2, 4, ("Priority",))) == "1 of 7 jobs ended, 2 running, 4 pending (Priority)"
    assert "the others is unknown: no answer" in str(Progress(7, 1, unknown="no answer"))


class SeldomAsked(LocalHost):
    """A host that is asked about its jobs once in ten minutes."""

    poll_s = 600.0


async def test_the_end_of_a_young_batch_is_seen_at_once_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_hybrid.sites.batches.poller.YOUNG_S", 600.0)
    (tmp_path / "ec").mkdir()
    (tmp_path / "c").mkdir()
    (tmp_path / "manifest").write_text("a\nb\n")
    poller = Poller(SeldomAsked(), ProcessScheduler())
    waiting = asyncio.ensure_future(poller.watch(str(tmp_path), (), 2, None))
    for job in ("0", "1"):
        (tmp_path / "ec" / job).write_text("0 1\n")
        await asyncio.sleep(0.1)
    evidence = await asyncio.wait_for(waiting, 120)
    assert evidence is not None and "ec/1:0 1" in evidence.splitlines()
    assert poller.commands == 1
