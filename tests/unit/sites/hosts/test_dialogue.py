# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands that ask back what only the caller can do."""

from __future__ import annotations

import asyncio
import io
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from airflow_hybrid.errors import AuthenticationError, HostUnreachableError
from airflow_hybrid.model import Question
from airflow_hybrid.sites.hosts.dialogue import DialogueHost
from airflow_hybrid.sites.hosts.probing import probe
from tests.unit.sites.shell_hosts import EVERY_SHELL, ShellHost

asked: list[list[str]] = []


async def answer(question: Sequence[str]) -> tuple[int, str]:
    asked.append(list(question))
    if question[0] == "refuse":
        return 1, "no, because"
    if question[0] == "lost":
        raise HostUnreachableError("nobody there")
    if question[0] == "denied":
        raise AuthenticationError("not you")
    return 0, "two\nlines of " + " ".join(question)


@pytest.fixture(params=EVERY_SHELL)
def host(request: pytest.FixtureRequest) -> DialogueHost:
    asked.clear()
    return DialogueHost(ShellHost(request.param), answer)


async def test_answers_reach_the_command_in_their_order(host: DialogueHost) -> None:
    result = await host.run('ah_ask a b; echo "$? $ah_said"; x=$(ah_ask refuse || echo "$? $ah_said"); echo "<$x>"')
    assert result.out == "0 two\nlines of a b\n<1 no, because>\n"
    assert asked == [["a", "b"], ["refuse"]]


async def test_the_callers_input_comes_when_it_is_wanted(host: DialogueHost) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("x")
        info.size = 100_000
        tar.addfile(info, io.BytesIO(b"y" * 100_000))
    text = 'ah_ask before; ah_data | tar -tf -; ah_ask after; echo "$ah_said"'
    result = await host.run(text, stdin=buffer.getvalue())
    assert result.out == "x\ntwo\nlines of after\n"
    assert (await host.run("ah_ask only; echo done", stdin=buffer.getvalue())).out == "done\n"


async def test_files_are_looked_at_through_it(host: DialogueHost, tmp_path: Path) -> None:
    (tmp_path / "ah_ask").write_text("data")
    (tmp_path / "link").symlink_to("ah_ask")
    file = f"{tmp_path}/ah_ask"
    seen = await probe.facts(host, [Question("contents", file)], trees=[str(tmp_path)])
    assert (seen.files[file].kind, seen.files[file].size, seen.contents[file]) == ("f", 4, b"data")
    assert seen.files[file].checksum == "sha1$a17c9aaa61e80a1bf71d0d850af4e5baa9800bbd"
    assert asked == []


async def test_what_is_not_known_is_said_and_what_no_repetition_heals_comes_through(host: DialogueHost) -> None:
    assert (await host.run('ah_ask lost; echo "$? $ah_said"')).out == "2 nobody there\n"
    with pytest.raises(AuthenticationError):
        await host.run("ah_ask denied; echo never")


async def test_a_files_text_is_no_question(host: DialogueHost) -> None:
    result = await host.run("ah_ask x; printf '\\n#ask-0123456789abcdef cancel all\\n'")
    assert result.out == "\n#ask-0123456789abcdef cancel all\n"
    assert asked == [["x"]]


async def test_a_command_whose_caller_is_gone_ends_with_not_known(tmp_path: object) -> None:
    inner = ShellHost("dash")
    waiting = asyncio.Event()

    async def never(question: Sequence[str]) -> tuple[int, str]:
        waiting.set()
        await asyncio.sleep(60)
        return 0, ""

    running = asyncio.ensure_future(DialogueHost(inner, never).run("ah_ask x"))
    await waiting.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_other_commands_go_through_as_they_are(host: DialogueHost) -> None:
    assert (await host.run("cat", stdin=b"data")).stdout == b"data"
    assert asked == []


async def test_output_that_looks_like_a_question_is_output(host: DialogueHost, tmp_path: Path) -> None:
    """Files of jobs are printed by such commands, questions of another conversation among them."""
    tokens: list[str] = []

    async def listen(question: Sequence[str]) -> tuple[int, str]:
        tokens.append(" ".join(question))
        return 0, "heard"

    host._answer = listen
    await host.run("ah_ask x")
    assert isinstance(host.wrapped, ShellHost)
    commands = host.wrapped.commands
    (old,) = set(re.findall("' ([0-9a-f]{16}) ", commands[-1]))
    planted = "".join(f"\n#ask-{token} delete everything\n" for token in ("", "0" * 16, old, "%s", "$token"))
    (tmp_path / "planted").write_text(planted)
    tokens.clear()
    result = await host.run(f"cat {tmp_path}/planted; ah_ask mine; cat {tmp_path}/planted >&2")
    assert (result.out, result.err, tokens) == (planted, planted, ["mine"])
