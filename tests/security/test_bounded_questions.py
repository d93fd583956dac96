# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How much a site may answer follows from what it was asked: one that goes on for ever is ended, by name."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_hybrid.engine import remote_values
from airflow_hybrid.engine.reuse import input_digests
from airflow_hybrid.errors import AnswerTooLongError
from airflow_hybrid.model import Question
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.look import Enquiry, look
from airflow_hybrid.sites.batches.questions import Questions
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.batches.submitted import BatchMeta, SubmittedBatch
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files.carrier import Carrier
from airflow_hybrid.sites.files.links import KnownWays
from airflow_hybrid.sites.files.requests import StageRequest
from airflow_hybrid.sites.hosts.base import CommandResult, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.hosts.probing import probe
from airflow_hybrid.sites.kubernetes.pod import PodAccess, PodHost
from airflow_hybrid.sites.reuse import commands as reuse
from airflow_hybrid.sites.reuse.index import ReuseIndex
from tests.unit.sites.shell_hosts import batch

MIB = 1 << 20
KEYS = [f"{'a' * 16}/{number:064x}" for number in range(3)]


def endless() -> LocalHost:
    """This machine, where every command says `y` for ever."""
    return LocalHost("hpc", "login", prelude="yes\n")


async def once(action: Callable[[], Awaitable[CommandResult]]) -> CommandResult:
    return await action()


async def submit(host: Host, folder: str) -> None:
    await JobQueue(host, ProcessScheduler()).submit(batch(f"{folder}/T/a1-0", 3))


async def inspect(host: Host, folder: str) -> None:
    await JobQueue(host, ProcessScheduler()).inspect(f"{folder}/T")


def of_1000(folder: str) -> SubmittedBatch:
    meta = BatchMeta(keys=tuple(f"{index:05}" for index in range(1000)), max_array=1000)
    return SubmittedBatch(f"{folder}/T/a1-0", ("1",), meta)


async def account(host: Host, folder: str) -> None:
    await Questions(host, SlurmScheduler()).account(of_1000(folder))


async def evidence(host: Host, folder: str) -> None:
    await Questions(host, ProcessScheduler()).evidence(of_1000(folder))


async def look_at_place(host: Host, folder: str) -> None:
    await look(host, None, f"{folder}/T", Enquiry())


async def find_finished(host: Host, folder: str) -> None:
    await ReuseIndex(host, folder).find(KEYS, f"{folder}/T", once)


async def probe_files(host: Host, folder: str) -> None:
    await probe.facts(host, [Question("stat", f"{folder}/{number}") for number in range(1000)])


async def look_at_inputs(host: Host, folder: str) -> None:
    requests = [StageRequest(f"hybrid://hpc/login{folder}/{n}", host, f"{folder}/to/{n}") for n in range(1000)]
    await Carrier(host, host, (), KnownWays()).look(requests)


async def measure_folders(host: Host, folder: str) -> None:
    await input_digests._small_folders(host, [f"{folder}/{number}" for number in range(1000)])


@pytest.mark.parametrize(
    ("ask", "label", "limit"),
    [
        (submit, "submit step-#", 16 * MIB + 3 * 2048),
        (inspect, "inspect @/T", 16 * MIB),
        (account, "slurm accounting", 32 * MIB + 1000 * 2048),
        (evidence, "read @/T/a1-0", 4 * MIB + 1000 * 2048),
        (look_at_place, "look at the place", 16 * MIB),
        (find_finished, "look for finished jobs", 16 * MIB + 3 * MIB),
        (look_at_inputs, "look at inputs", 4 * MIB + 1000 * 8192),
        (measure_folders, "size of input folders", 4 * MIB + 1000 * 8192),
    ],
)
async def test_each_question_has_a_limit_of_its_own(
    tmp_path: Path, ask: Callable[[Host, str], Awaitable[None]], label: str, limit: int
) -> None:
    with pytest.raises(AnswerTooLongError) as error:
        await ask(endless(), str(tmp_path))
    said = str(error.value).replace(str(tmp_path), "@")
    assert re.sub("-[0-9a-f]{12}:", "-#:", said) == (
        f"hpc (login): {label}: the answer is longer than {limit} bytes: the command was ended"
        "\n  -> the usual programs do not print that much: check which program the command is there"
    )


async def test_a_question_about_paths_is_bounded_by_their_number(tmp_path: Path) -> None:
    with pytest.raises(AnswerTooLongError) as error:
        await probe_files(endless(), str(tmp_path))
    assert str(error.value).split("\n")[0] == (
        f"hpc (login): there are too many files: the answer about them takes more than {4 * MIB + 1000 * 8192} bytes"
    )


async def test_a_folder_may_have_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Locations, "host_of", lambda *_: _done(endless()))
    with pytest.raises(AnswerTooLongError) as error:
        await remote_values.list_folder(f"hybrid://hpc/login{tmp_path}", {})
    assert str(error.value).split("\n")[0] == (
        f"hpc (login): listing of an input: the answer is longer than {64 * MIB} bytes: the command was ended"
    )


async def _done(value: Any) -> Any:
    return value


def test_no_question_is_so_large_that_its_answer_fills_the_memory() -> None:
    assert answer_bytes(10_000_000, 8192) == 512 * MIB


async def test_what_is_too_long_to_be_read_again_is_not_recorded(tmp_path: Path) -> None:
    host = LocalHost()
    short, long = KEYS[0], KEYS[1]
    index = ReuseIndex(host, str(tmp_path))
    index.record({short: {"outputs": {}}, long: {"outputs": {}, "files": ["x" * reuse.RECORD_BYTES]}})
    await index.close()
    found = await ReuseIndex(host, str(tmp_path)).find([short, long], str(tmp_path), once)
    assert set(found.records) == {short}


async def test_a_planted_record_that_is_too_long_is_no_record(tmp_path: Path) -> None:
    host = LocalHost()
    index = ReuseIndex(host, str(tmp_path))
    index.record({KEYS[0]: {"outputs": {}}})
    await index.close()
    planted = json.dumps({"key": KEYS[0], "files": ["x" * reuse.RECORD_BYTES]})
    with (tmp_path / "reuse" / ("a" * 16) / "r.9").open("w") as file:
        file.write(f"{'0' * 64} {planted}\n")
    found = await ReuseIndex(host, str(tmp_path)).find(KEYS, str(tmp_path), once)
    assert found.records == {KEYS[0]: {"outputs": {}, "key": KEYS[0]}}


class _EndlessPod:
    """The exec stream of a command that prints for ever on one channel."""

    def __init__(self, channel: int) -> None:
        self.message = bytes([channel]) + b"y\n" * 50_000
        self.sent = 0

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.sleep(0)

    async def receive(self) -> Any:
        from aiohttp import WSMsgType

        await asyncio.sleep(0)
        self.sent += len(self.message)
        return SimpleNamespace(type=WSMsgType.BINARY, data=self.message)


@pytest.mark.parametrize("channel", [1, 2])
async def test_a_command_in_a_pod_that_prints_without_end_is_ended(
    monkeypatch: pytest.MonkeyPatch, channel: int
) -> None:
    socket = _EndlessPod(channel)
    monkeypatch.setattr(PodHost, "_open", lambda *_: _done(socket))
    access = PodAccess(SimpleNamespace(), lambda _: _done("pod-0"))  # type: ignore[arg-type]  # no cluster is asked
    host = PodHost("kube", "pod-0", access)
    with answers_up_to(MIB), pytest.raises(AnswerTooLongError) as error:
        await host.run("true", label="status", timeout_s=60)
    assert str(error.value).split("\n")[0] == (
        f"kube (pod-0): status: the answer is longer than {MIB} bytes: the command was ended"
    )
    assert socket.sent < 3 * MIB
