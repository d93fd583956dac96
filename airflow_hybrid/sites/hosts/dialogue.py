# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A host whose commands may ask this process questions: for schedulers that the host itself cannot reach.

A batch is submitted by one command at the location, under a lock there, so that anybody can repeat it after any
failure. If the scheduler is an API that only this process may use, that command asks for it: ``ah_ask`` prints a
question on stdout and reads the answer from stdin while it holds the lock. If this process or the connection dies, the
command reads an end of file, treats the answer as *unknown*, and ends.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from airflow_hybrid import shell_text
from airflow_hybrid.errors import HybridError
from airflow_hybrid.sites.hosts.base import (
    ByteStream,
    Command,
    CommandResult,
    Host,
    answer_limit,
    too_long,
)

log = logging.getLogger(__name__)

_ASKS = re.compile(r"(?<![\w$/])ah_ask (?!=)")
"""in a command that asks questions; any other command keeps its stdin"""
Answer = Callable[[Sequence[str]], Awaitable[tuple[int, str]]]
"""words of a question -> exit code (0: done, 1: refused, 2: unknown) and text. A retryable error counts as *unknown*;
any other error ends the command and is raised."""


class DialogueHost(Host):
    """Wraps another host; commands that use the functions ``ah_ask`` and ``ah_data`` get them."""

    def __init__(self, wrapped: Host, answer: Answer) -> None:
        self.wrapped = wrapped
        self.deployment, self.location = wrapped.deployment, wrapped.location
        self.cores, self.poll_s = wrapped.cores, wrapped.poll_s
        self._answer = answer

    @property
    def title(self) -> str:
        return self.wrapped.title

    @property
    def key(self) -> str:
        return self.wrapped.key

    @property
    def account(self) -> str:
        return self.wrapped.account

    async def _wait_for_turn(self) -> None:
        await self.wrapped.take_turn()

    async def _run(self, command: Command) -> CommandResult:
        text, stdin = command.text, command.stdin
        if _ASKS.search(text) and (stdin is None or isinstance(stdin, bytes)):
            return await self._converse(text, stdin or b"", command.label)
        return await self.wrapped.run(text, stdin=stdin, timeout_s=command.timeout_s, label=command.label)

    async def _converse(self, command: str, stdin: bytes, shown: str) -> CommandResult:
        nonce = secrets.token_hex(8)
        mark = f"\n#ask-{nonce} ".encode()
        text = shell_text.filled(__package__, "dialogue.sh", {"TOKEN": nonce}) + command
        async with self.wrapped.stream(text, label=shown) as stream:
            output = b""
            while part := await stream.read():
                output += part
                if len(output) > answer_limit():
                    raise too_long(answer_limit(), f"{self.title}: {shown}")
                before, has_question, after_mark = output.partition(mark)
                while has_question and b"\n" in after_mark:
                    question, _, after = after_mark.partition(b"\n")
                    with contextlib.suppress(BrokenPipeError):  # its end says why
                        await self._reply(stream, question.decode(errors="replace").split(), stdin)
                    output = before + after
                    before, has_question, after_mark = output.partition(mark)
            result = await stream.close()
            return CommandResult(self.title, shown, result.exit_code, output, result.stderr)

    async def _reply(self, stream: ByteStream, question: list[str], stdin: bytes) -> None:
        if question == ["data"]:
            code, text = 0, stdin
        else:
            try:
                code, reply = await self._answer(question)
            except HybridError as error:
                if not error.retryable:  # the command reads an end of file, and ends
                    raise
                code, reply = 2, error.message
            text = reply.encode(errors="surrogateescape").replace(b"\0", b"")
        await stream.write(b"%d %d\n" % (code, len(text)) + text)

    def stream(self, command: str, *, label: str | None = None) -> AbstractAsyncContextManager[ByteStream]:
        return self.wrapped.stream(command, label=label)

    def pipe_argv(self, command: str) -> Sequence[str] | None:
        return self.wrapped.pipe_argv(command)

    async def close(self) -> None:
        await self.wrapped.close()
