# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Limits per minute hold for all processes of a machine, whatever they do at once."""

from __future__ import annotations

import asyncio
import multiprocessing
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.sites.hosts.base import Command, CommandResult
from airflow_hybrid.sites.hosts.dialogue import DialogueHost
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.patience import pace


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__LOGIN_DIR", str(tmp_path / "logins"))
    return tmp_path / "logins"


def most_in_a_window(times: list[float], window_s: float) -> int:
    return max(sum(begin <= time < begin + window_s for time in times) for begin in times)


@given(
    per_minute=st.integers(1, 5),
    asked=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 7)), min_size=1, max_size=30),
)
def test_no_window_has_more_turns_and_none_waits_longer_than_it_must(
    per_minute: int, asked: list[tuple[float, int]]
) -> None:
    now = 1_000_000.0
    times: list[float] = []
    turns: list[float] = []
    for pause_s, count in asked:
        now += pause_s
        before = len([time for time in times if time > now - pace.WINDOW_S])
        times, last = pace.booked(times, per_minute, count, now)
        turns += times[-count:]
        assert last >= now
        if before + count <= per_minute and all(time <= now for time in times):
            assert last == now
    assert most_in_a_window(turns, pace.WINDOW_S - 1) <= per_minute


def test_a_clock_that_was_set_back_stops_nobody() -> None:
    assert pace.booked([9_000_000.0] * 3, 3, 1, 1_000_000.0) == ([1_000_000.0], 1_000_000.0)


@pytest.mark.parametrize("damaged", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_damaged_file_stops_nobody(damaged: float) -> None:
    now = 1_000_000.0
    for times in ([damaged, now], [now, damaged], [now - 1, damaged, now]):
        kept, at = pace.booked(times, 2, 1, now)
        assert now <= at <= now + pace.WINDOW_S and all(time <= now + pace.WINDOW_S for time in kept)


async def test_turns_of_those_who_were_stopped_are_for_others() -> None:
    await pace.turn("x", 1, "ssh_commands_per_minute")
    waiting = [asyncio.ensure_future(pace.turn("x", 1, "ssh_commands_per_minute")) for _ in range(5)]
    path = await asyncio.to_thread(pace._path, "x")
    while len(Path(path).read_bytes()) < 6 * 8:
        await asyncio.sleep(0.01)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    turns = pace._booked(path, 1, 1)
    assert turns is not None and turns[0] - time.time() <= pace.WINDOW_S


def _take(window_s: float, count: int, limit: int, times: multiprocessing.Queue[float]) -> None:
    pace.WINDOW_S = window_s

    async def one() -> None:
        await pace.turn("commands", limit, "some_setting")
        times.put(time.time())

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(count)))

    asyncio.run(all_of_them())


def test_processes_share_a_limit(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    taken: multiprocessing.Queue[float] = context.Queue()
    processes = [context.Process(target=_take, args=(2.0, 4, 5, taken)) for _ in range(3)]
    for process in processes:
        process.start()
    times = [taken.get(timeout=60) for _ in range(12)]
    for process in processes:
        process.join()
    assert max(times) - min(times) >= 3  # 5, 5 and 2
    assert most_in_a_window(times, 1.0) <= 5  # on a busy machine some are late
    (machine,) = folder.iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (machine, machine / "pace")] == [0o700, 0o700]


async def test_without_a_limit_there_is_no_file(folder: Path) -> None:
    await pace.turn("commands", 0, "some_setting")
    assert not folder.exists()


async def test_a_folder_that_others_may_enter_is_refused(folder: Path) -> None:
    await pace.turn("commands", 5, "some_setting")
    (shared,) = folder.glob("*/pace")
    shared.chmod(0o755)
    with pytest.raises(ConfigError) as caught:
        await pace.turn("commands", 5, "some_setting")
    assert str(caught.value) == (
        f"the folder {shared} is open to other users, or theirs\n"
        "  -> it must belong to the user of Airflow, with mode 0700: see `login_dir` in docs/reference/configuration.md"
    )


class Counted(LocalHost):
    """Counts turns and commands; a turn takes longer than a command may."""

    def __init__(self) -> None:
        super().__init__("here", "localhost")
        self.turns = self.commands = 0

    async def _wait_for_turn(self) -> None:
        await asyncio.sleep(2.5)
        self.turns += 1

    async def _run(self, command: Command) -> CommandResult:
        self.commands += 1
        return await super()._run(command)


async def test_waiting_for_a_turn_is_no_part_of_a_commands_time_also_inside_of_another_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__SSH_COMMANDS_PER_MINUTE", "100")
    host = Counted()
    inside = DialogueHost(host, lambda question: pytest.fail("nothing is asked"))
    for where in (host, inside):
        assert (await where.run("echo yes", timeout_s=2.2)).out == "yes\n"
    assert (host.turns, host.commands) == (2, 2)
