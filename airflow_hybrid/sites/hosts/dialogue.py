# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A host whose commands may ask back: for schedulers that are reached from here and not from the host.

A batch is submitted by one command at the location, under a lock there, so that it can be repeated by anybody after
any loss. Where the scheduler is an API that only this process may speak to, that command asks for it: ``ah_ask`` prints
a question on stdout and reads the answer from stdin, while the lock is held. If this process or the connection dies,
the command reads an end of file, takes it for *unknown*, and ends.
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
"""in a command that asks back; any other has its own stdin"""
Answer = Callable[[Sequence[str]], Awaitable[tuple[int, str]]]
"""words of a question -> exit code (0: done, 1: refused, 2: not known) and text. What it raises and may be tried
again is *not known*, too; any other error ends the command and comes through."""


class DialogueHost(Host):
    """Another host, whose commands get the functions ``ah_ask`` and ``ah_data`` where they use them."""

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

    async def _run(self, command: Command) -> CommandResult:
        text, data = command.text, command.stdin
        if _ASKS.search(text) and (data is None or isinstance(data, bytes)):
            return await self._converse(text, data or b"", command.label)
        return await self.wrapped.run(text, stdin=data, timeout_s=command.timeout_s, label=command.label)

    async def _converse(self, command: str, data: bytes, shown: str) -> CommandResult:
        token = secrets.token_hex(8)
        mark = f"\n#ask-{token} ".encode()
        text = shell_text.filled(__package__, "dialogue.sh", {"TOKEN": token}) + command
        async with self.wrapped.stream(text, label=shown) as stream:
            seen = b""
            while part := await stream.read():
                seen += part
                if len(seen) > answer_limit():
                    raise too_long(answer_limit(), f"{self.title}: {shown}")
                before, found, rest = seen.partition(mark)
                while found and b"\n" in rest:
                    question, _, after = rest.partition(b"\n")
                    with contextlib.suppress(BrokenPipeError):  # its end says why
                        await self._reply(stream, question.decode(errors="replace").split(), data)
                    seen = before + after
                    before, found, rest = seen.partition(mark)
            result = await stream.close()
            return CommandResult(self.title, shown, result.exit_code, seen, result.stderr)

    async def _reply(self, stream: ByteStream, question: list[str], data: bytes) -> None:
        if question == ["data"]:
            code, text = 0, data
        else:
            try:
                code, said = await self._answer(question)
            except HybridError as error:
                if not error.retryable:  # the command reads an end of file, and ends
                    raise
                code, said = 2, error.message
            text = said.encode(errors="surrogateescape").replace(b"\0", b"")
        await stream.write(b"%d %d\n" % (code, len(text)) + text)

    def stream(self, command: str, *, label: str | None = None) -> AbstractAsyncContextManager[ByteStream]:
        return self.wrapped.stream(command, label=label)

    def pipe_argv(self, command: str) -> Sequence[str] | None:
        return self.wrapped.pipe_argv(command)

    async def close(self) -> None:
        await self.wrapped.close()
