# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands that come at the same time are one at the location, and each gets what it would have got alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_hybrid.errors import CommandError, HostUnreachableError
from airflow_hybrid.sites.hosts.base import Command, CommandResult
from airflow_hybrid.sites.hosts.joining import run_joined
from tests.unit.sites.shell_hosts import EVERY_SHELL, ShellHost


class Counted(ShellHost):
    """A location that is told apart from this machine; ``ran``: labels of its commands."""

    joins = True

    def __init__(self, shell: str) -> None:
        super().__init__(shell)
        self.ran: list[str] = []

    async def run(self, command: str, **more: Any) -> CommandResult:
        self.ran.append(str(more.get("label")))
        return await super().run(command, **more)


@pytest.fixture(params=EVERY_SHELL)
def host(request: pytest.FixtureRequest) -> Counted:
    return Counted(request.param)


async def one(host: Counted, command: str, stdin: bytes = b"", label: str = "x") -> CommandResult:
    return await run_joined(host, "kind", Command(command, stdin, 20, label))


async def test_each_has_its_own_stdin_stdout_stderr_and_exit_code(host: Counted) -> None:
    odd = bytes(range(256)) * 300
    results = await asyncio.gather(
        one(host, "cat", odd),
        one(host, "echo out; echo 'it''s' an error >&2; exit 7", b"not read at all" * 9000),
        one(host, "head -c 3; trap 'echo bye' EXIT; case x in x) : ;; esac # don't", b"abcdef"),
        one(host, "printf 'no line end'; cd /; exec sh -c 'kill -9 $$'", label="ends itself"),
        one(host, "cat; pwd", b"last"),
    )
    assert host.ran[0] == "x and 4 more" and len(host.ran) == 1
    assert results[0].stdout == odd and results[0].exit_code == 0
    assert (results[1].stdout, results[1].stderr, results[1].exit_code) == (b"out\n", b"its an error\n", 7)
    assert [results[i].stderr for i in (0, 2, 4)] == [b""] * 3
    assert results[2].stdout == b"abcbye\n"
    assert (results[3].out, results[3].exit_code) == ("no line end", 137)
    assert results[4].stdout.startswith(b"last/")


async def test_what_goes_on_in_the_background_is_not_waited_for(host: Counted) -> None:
    started = asyncio.get_running_loop().time()
    results = await asyncio.gather(one(host, "sleep 30 >/dev/null 2>&1 </dev/null & echo $!"), one(host, "echo second"))
    assert asyncio.get_running_loop().time() - started < 25
    await host.run(f"kill {results[0].out.strip()}")
    assert results[1].out == "second\n"


async def test_stderr_that_ends_anyhow_is_each_ones_own(host: Counted) -> None:
    results = await asyncio.gather(one(host, "printf '\\n a' >&2"), one(host, "printf 'b\\n\\n' >&2; echo out"))
    assert [result.stderr for result in results] == [b"\n a", b"b\n\n"]
    assert results[1].stdout == b"out\n"


async def test_a_location_out_of_reach_is_so_for_all() -> None:
    class Gone(Counted):
        async def run(self, command: str, **more: Any) -> CommandResult:
            raise HostUnreachableError("does not answer")

    results = await asyncio.gather(*(one(Gone("dash"), "echo") for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [HostUnreachableError] * 3


async def test_an_answer_that_was_cut_is_nobodys() -> None:
    class Cut(Counted):
        async def run(self, command: str, **more: Any) -> CommandResult:
            result = await super().run(command, **more)
            return CommandResult("", "", 0, result.stdout[:-3], b"")

    host = Cut("dash")
    results = await asyncio.gather(one(host, "echo a"), one(host, "echo b"), return_exceptions=True)
    assert [type(result) for result in results] == [CommandError] * 2


async def test_one_that_is_given_up_does_not_take_the_others_along(host: Counted) -> None:
    given_up = asyncio.ensure_future(one(host, "echo a"))
    kept = asyncio.ensure_future(one(host, "echo b"))
    await asyncio.sleep(0)
    given_up.cancel()
    assert (await kept).out == "b\n"
    with pytest.raises(asyncio.CancelledError):
        await given_up


async def test_a_long_one_does_not_hold_up_the_others(host: Counted) -> None:
    long = asyncio.ensure_future(one(host, "sleep 5; echo long"))
    await asyncio.sleep(0.2)
    assert (await one(host, "echo short")).out == "short\n"
    assert not long.done()
    assert (await long).out == "long\n"


async def test_this_machine_joins_nothing() -> None:
    host = Counted("dash")
    host.joins = False
    await asyncio.gather(one(host, "echo a"), one(host, "echo b"))
    assert len(host.ran) == 2
