# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The trigger of a task that waits for a login in a worker: it looks at files."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from airflow_hybrid.sites.logins import state_of
from airflow_hybrid.triggers import logins
from airflow_hybrid.triggers.logins import LoginTrigger


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A key that is there, and the socket of a login that nobody has opened."""
    monkeypatch.setattr(logins, "LOOK_S", 0.01)
    monkeypatch.setattr(logins, "RESUME_AFTER_S", 0.0)
    monkeypatch.setattr(logins, "QUIET_S", 0.05)
    key = tmp_path / "key"
    key.write_text("old")
    return [key, tmp_path / "socket"]


async def _ends(trigger: LoginTrigger) -> None:
    name, arguments = trigger.serialize()
    assert name == f"{LoginTrigger.__module__}.{LoginTrigger.__name__}"
    assert [event.payload async for event in LoginTrigger(**arguments).run()] == [None]


def _trigger(files: list[Path], *, machine: str = "", pause_s: float = 3600.0) -> LoginTrigger:
    return LoginTrigger(state_of(map(str, files)), machine or socket.gethostname(), pause_s)


@pytest.mark.parametrize("machine", ["", "another"])
@pytest.mark.parametrize("number", [0, 1])
async def test_it_ends_when_a_file_is_made_or_changed(files: list[Path], machine: str, number: int) -> None:
    waiting = asyncio.ensure_future(_ends(_trigger(files, machine=machine)))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    files[number].write_text("new, and longer")
    await asyncio.wait_for(waiting, 120)


async def test_it_waits_until_a_file_is_written_to_its_end(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "QUIET_S", 1.0)
    waiting = asyncio.ensure_future(_ends(_trigger(files)))
    for number in range(30):
        files[0].write_text("new" * number)
        await asyncio.sleep(0.1)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 120)


async def test_what_has_changed_since_the_worker_looked_counts_on_its_machine(files: list[Path]) -> None:
    trigger = _trigger(files)
    files[1].write_text("")
    await asyncio.wait_for(_ends(trigger), 120)


async def test_the_files_of_another_machine_are_not_those_of_the_worker(files: list[Path]) -> None:
    trigger = _trigger(files, machine="another")
    files[1].write_text("")
    waiting = asyncio.ensure_future(_ends(trigger))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    waiting.cancel()


async def test_the_worker_looks_by_itself_after_a_pause(files: list[Path]) -> None:
    await asyncio.wait_for(_ends(_trigger(files, pause_s=0.1)), 120)
