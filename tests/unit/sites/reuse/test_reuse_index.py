# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The index of finished jobs: many batches cost a location few commands, and see each other's records."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.errors import HostUnreachableError
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.hosts.base import CommandResult, Host
from airflow_hybrid.sites.reuse import index as module
from airflow_hybrid.sites.reuse.commands import store_command, store_input
from airflow_hybrid.sites.reuse.index import ReuseIndex, reuse_index

TOOL, OTHER = "a" * 16, "b" * 16


def keys(tool: str, *numbers: int) -> list[str]:
    return [f"{tool}/{number:016x}{'0' * 48}" for number in numbers]


async def once(action: Callable[[], Awaitable[CommandResult]]) -> CommandResult:
    return await action()


class Counted:
    """A location on this machine; ``labels``: of the commands that were run."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.labels: list[str] = []
        self.silent = False
        run = host.run

        async def counted(command: str, **more: Any) -> CommandResult:
            self.labels.append(more.get("label", ""))
            if self.silent:
                raise HostUnreachableError("does not answer", where=host.title)
            return await run(command, **more)

        monkeypatch.setattr(host, "run", counted)


def on_a_location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Callable[..., Awaitable[None]]) -> None:
    async def run() -> None:
        deployments = parse_deployments({"site": {"type": "local", "config": {}, "workdir": str(tmp_path)}})
        (host,) = await open_connector(deployments, "site").hosts()
        try:
            await body(host, Counted(host, monkeypatch))
        finally:
            await close_all()

    asyncio.run(run())


def test_chunks_that_were_never_run_ask_once_together_and_are_written_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(host: Host, counted: Counted) -> None:
        index = reuse_index(host, str(tmp_path))
        chunks = [keys(TOOL, *range(i, i + 3)) for i in range(0, 48, 3)]
        found = await asyncio.gather(*(index.find(chunk, "task", once) for chunk in chunks))
        assert not any(lookup.records for lookup in found)
        for chunk in chunks:
            index.record({key: {"outputs": {}} for key in chunk})
        await index.close()
        assert counted.labels == ["look for finished jobs", "record of finished jobs"]
        there = await index.find(chunks[0], "task", once)
        assert sorted(there.records) == sorted(chunks[0])

    on_a_location(tmp_path, monkeypatch, body)


def test_what_was_just_recorded_is_found_and_another_tool_is_not_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(host: Host, counted: Counted) -> None:
        index = reuse_index(host, str(tmp_path))
        (key,), (other,) = keys(TOOL, 1), keys(OTHER, 1)
        assert not (await index.find([key], "task", once)).records
        index.record({key: {"outputs": {"out": 1}}})
        assert not (await index.find([other], "task", once)).records
        assert counted.labels.count("record of finished jobs") == 0
        assert (await index.find([key], "task", once)).records[key]["outputs"] == {"out": 1}

    on_a_location(tmp_path, monkeypatch, body)


def test_what_another_process_has_written_is_found_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(host: Host, counted: Counted) -> None:
        ours, theirs = ReuseIndex(host, str(tmp_path)), ReuseIndex(host, str(tmp_path))
        (key,) = keys(TOOL, 1)
        assert not (await ours.find([key], "task", once)).records
        theirs.record({key: {"outputs": {}}})
        await theirs.close()
        assert not (await ours.find([key], "task", once)).records, "what was heard is believed for a while"
        monkeypatch.setattr(module, "REMEMBER_S", -1.0)
        assert key in (await ours.find([key], "task", once)).records

    on_a_location(tmp_path, monkeypatch, body)


def test_where_there_are_too_many_records_to_list_every_batch_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_hybrid.sites.reuse.commands.MOST_NAMES", 2)

    async def body(host: Host, counted: Counted) -> None:
        index = reuse_index(host, str(tmp_path))
        index.record({key: {"outputs": {}} for key in keys(TOOL, 1, 2, 3)})
        await index.close()
        assert len((await index.find(keys(TOOL, 3, 4), "task", once)).records) == 1
        assert len((await index.find(keys(TOOL, 1, 5), "task", once)).records) == 1

    on_a_location(tmp_path, monkeypatch, body)


def test_a_location_that_takes_no_records_is_warned_of_and_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(host: Host, counted: Counted) -> None:
        index = reuse_index(host, str(tmp_path))
        counted.silent = True
        index.record({key: {"outputs": {}} for key in keys(TOOL, 1)})
        await index.close()
        counted.silent = False
        assert not (await index.find(keys(TOOL, 1), "task", once)).records

    on_a_location(tmp_path, monkeypatch, body)
    assert "does not answer" in caplog.text


def test_many_small_files_of_records_become_one_and_the_newest_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_hybrid.sites.reuse.commands.MOST_FILES", 3)
    monkeypatch.setattr("airflow_hybrid.sites.reuse.commands.MOST_RECORDS", 6)

    async def body(host: Host, counted: Counted) -> None:
        index = reuse_index(host, str(tmp_path))
        for number in range(8):
            index.record({key: {"outputs": {}, "number": number} for key in keys(TOOL, 0, number + 1)})
            await index.close()
        found = (await ReuseIndex(host, str(tmp_path)).find(keys(TOOL, *range(9)), "task", once)).records
        (first,) = keys(TOOL, 0)
        assert found[first]["number"] == 7
        assert len(found) >= 6
        assert set(found) > set(keys(TOOL, 0, 8, 7, 6, 5))

    on_a_location(tmp_path, monkeypatch, body)
    assert len(list((tmp_path / "reuse" / TOOL).glob("r.*"))) <= 4


def test_what_is_written_later_is_the_newest_whatever_the_clock_says(tmp_path: Path) -> None:
    # of a site whose date counts no nanoseconds; then its clock is set back
    for number, second in enumerate((100, 100, 99)):
        clock = f"date() {{ case $1 in *N) echo {second}%N ;; *) echo {second} ;; esac; }}\n"
        records = store_input({key: {"number": number} for key in keys(TOOL, 0)})
        subprocess.run(["sh", "-c", clock + store_command(str(tmp_path))], input=records, check=True)
    files = sorted((tmp_path / "reuse" / TOOL).glob("r.*"))
    assert [file.name.split(".")[1] for file in files] == ["100000000000", "100000000001", "100000000002"]
    assert [json.loads(file.read_text().partition(" ")[2])["number"] for file in files] == [0, 1, 2]
