# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A site that answers without end fills no memory: its command is ended, by name."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from airflow_hybrid.errors import AnswerTooLongError
from airflow_hybrid.sites.hosts.base import ANSWER_BYTES, STREAM_ERRORS_BYTES, Command, answer_limit, answers_up_to
from airflow_hybrid.sites.hosts.dialogue import DialogueHost
from airflow_hybrid.sites.hosts.joining import run_joined
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.hosts.probing import probe
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings
from tests import needs

HINT = "\n  -> the usual programs do not print that much: check which program the command is there"


@pytest.mark.parametrize("command", ["cat /dev/zero", "cat /dev/zero >&2", "yes"])
async def test_a_command_that_prints_without_end_is_ended(command: str) -> None:
    with answers_up_to(1 << 20), pytest.raises(AnswerTooLongError) as error:
        await LocalHost().run(f"{command}; echo $? >&2", label="status", timeout_s=60)
    assert str(error.value) == (
        "local (localhost): status: the answer is longer than 1048576 bytes: the command was ended" + HINT
    )
    assert not error.value.retryable


async def test_the_limit_is_that_of_the_question_and_no_other() -> None:
    host = LocalHost()

    async def length(limit: int) -> int:
        with answers_up_to(limit):
            return len((await host.run("head -c 3000 /dev/zero")).stdout)

    assert await length(3000) == 3000
    results = await asyncio.gather(length(2999), length(3001), return_exceptions=True)
    assert [type(result) for result in results] == [AnswerTooLongError, int]
    assert answer_limit() == ANSWER_BYTES


async def test_joined_commands_have_the_sum_of_their_limits() -> None:
    host = LocalHost()
    host.joins = True

    async def joined(size: int) -> int:
        with answers_up_to(1000):
            text = f"head -c {size} /dev/zero"
            return len((await run_joined(host, "test", Command(text, None, 60, "test"))).stdout)

    assert list(await asyncio.gather(joined(300), joined(300))) == [300, 300]
    with pytest.raises(AnswerTooLongError):
        await asyncio.gather(joined(5000), joined(5000))


async def test_the_stderr_of_a_stream_is_read_to_its_end_and_kept_in_part() -> None:
    text = "head -c 30000000 /dev/zero | tr '\\0' x >&2; echo the end >&2"
    async with LocalHost().stream(text) as stream:
        assert await stream.read() == b""
        result = await stream.close()
    assert len(result.stderr) == STREAM_ERRORS_BYTES and result.stderr.endswith(b"xxthe end\n")


async def test_a_command_that_asks_back_prints_no_more_than_another() -> None:
    async def answer(question: Sequence[str]) -> tuple[int, str]:
        return 0, " ".join(question)

    host = DialogueHost(LocalHost(), answer)
    with answers_up_to(1 << 20), pytest.raises(AnswerTooLongError) as error:
        await host.run("yes; ah_ask x", label="submit", timeout_s=60)
    assert str(error.value) == (
        "local (localhost): submit: the answer is longer than 1048576 bytes: the command was ended" + HINT
    )


async def test_too_many_files_are_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    for number in range(300):
        (tmp_path / f"out/{number}").touch()
    host = LocalHost()
    assert len((await probe.facts(host, trees=[f"{tmp_path}/out"])).files) == 301
    monkeypatch.setattr(probe, "FOLDER_BYTES", 10_000)
    with pytest.raises(AnswerTooLongError) as error:
        await probe.facts(host, trees=[f"{tmp_path}/out"])
    assert str(error.value) == (
        "local (localhost): there are too many files: the answer about them takes more than 10000 bytes"
        "\n  -> let the job pack them (tar), and write what is not an output to its temporary folder (TMPDIR)"
    )
    assert not error.value.retryable


@pytest.fixture
def ssh_host(tmp_path: Path) -> Iterator[SshSettings]:
    """This machine by OpenSSH, as the user who runs the tests."""
    sshd = needs.program("sshd")
    os.makedirs("/run/sshd", exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"ListenAddress=127.0.0.1:{port}", f"HostKey={tmp_path}/host", f"AuthorizedKeysFile={tmp_path}/user.pub",
               "StrictModes=no", "PidFile=none", "UsePAM=no", "PermitRootLogin=yes"]  # fmt: skip
    server = subprocess.Popen(
        [sshd, "-D", "-e", "-f", "/dev/null", *(word for option in options for word in ("-o", option))],
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not _answers(port):
            assert time.monotonic() < deadline and server.poll() is None
            time.sleep(0.05)
        key = (tmp_path / "host.pub").read_text().strip()
        yield SshSettings("127.0.0.1", port, getpass.getuser(), key_files=(str(tmp_path / "user"),), host_key=key)
    finally:
        server.terminate()
        server.wait(20)


def _answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("command", ["cat /dev/zero", "cat /dev/zero >&2", "yes"])
async def test_a_command_over_ssh_that_prints_without_end_is_ended(ssh_host: SshSettings, command: str) -> None:
    host = SshHost("hpc", "node", ssh_host)
    try:
        with answers_up_to(1 << 20), pytest.raises(AnswerTooLongError) as error:
            await host.run(command, label="status", timeout_s=30)
        assert str(error.value) == (
            f"{host.title}: status: the answer is longer than 1048576 bytes: the command was ended" + HINT
        )
        again = await host.run("echo fine", timeout_s=30)
        assert (again.exit_code, again.out) == (0, "fine\n")
    finally:
        await host.close()
