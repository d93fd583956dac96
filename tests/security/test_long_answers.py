# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A site that answers without end fills no memory: its command is ended, by name."""

from __future__ import annotations

import asyncio

import pytest

from airflow_hybrid.errors import AnswerTooLongError
from airflow_hybrid.hooks.base import ANSWER_BYTES, answer_limit, answers_up_to
from airflow_hybrid.hooks.joining import run_joined
from airflow_hybrid.hooks.local import LocalHost

HINT = "\n  -> such an answer is not of the site's usual programs: see what the command is there"


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
            return len((await run_joined(host, "test", text, stdin=b"", timeout_s=60, label="test")).stdout)

    assert await asyncio.gather(joined(300), joined(300)) == [300, 300]
    with pytest.raises(AnswerTooLongError):
        await asyncio.gather(joined(5000), joined(5000))
