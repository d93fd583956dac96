# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Host access: what every place that can run a command and hold files must be able to do.

A :class:`Host` is one *location*: commands go in as shell text, bytes go in and out as streams. Which scheduler
runs the jobs there is somebody else's business (:mod:`airflow_hybrid.schedulers`), so Slurm over SSH needs no class.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from airflow_hybrid.errors import AnswerTooLongError, CommandEnd, CommandError
from airflow_hybrid.printable import readable

DEFAULT_TIMEOUT_S = 120.0
CHUNK_BYTES = 1 << 20
ANSWER_BYTES = 4 << 20
"""the most that a command may print, on stdout and on stderr, where nobody says another limit: :func:`answer_bytes`"""
MOST_ANSWER_BYTES = 512 << 20
"""the most that any command may print, whatever was asked"""
JOB_BYTES = 2 << 10
"""of an answer, for each job that is asked about: ids, states, nodes and reasons, of some restarts"""
PATH_BYTES = 8 << 10
"""of an answer, for each path that is asked about: the longest path, and a complaint that names it"""
TASK_BYTES = 16 << 20
"""of an answer that tells of all that a task has begun, however much: some 100,000 jobs"""
FOLDER_BYTES = 64 << 20
"""of an answer that lists folders, however much is in them: names, sizes and checksums of some 300,000 files"""
PROGRAM_BYTES = 32 << 20
"""of an answer that holds the progress of somebody else's program, such as the build of an image"""
STREAM_ERRORS_BYTES = 1 << 20
"""of the stderr of a command whose stdout or stdin is a stream: its end is kept"""
Stdin = bytes | AsyncIterator[bytes] | None
"""of a command; an iterator's parts are written one after the other, and None is an empty stdin"""
_LIMIT: ContextVar[int] = ContextVar("airflow_hybrid_answer_bytes", default=ANSWER_BYTES)


@dataclass(frozen=True)
class Command:
    """A command that a location is to run.

    :ivar text: POSIX shell text.
    :ivar timeout_s: how long it may take; who calls :meth:`Host.run` need not keep to it, for that does.
    :ivar label: what messages call it.
    """

    text: str
    stdin: Stdin
    timeout_s: float
    label: str

    async def run_at(self, host: Host) -> CommandResult:
        """See :meth:`Host.run`."""
        return await host.run(self.text, stdin=self.stdin, timeout_s=self.timeout_s, label=self.label)


@dataclass(frozen=True)
class CommandResult:
    """What a command at a location left: exit code (128 + n after signal n), stdout and stderr as bytes."""

    location: str
    command: str
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode(errors="surrogateescape")

    @property
    def err(self) -> str:
        return readable(self.stderr)

    @property
    def end(self) -> CommandEnd:
        """For a :class:`CommandError`."""
        return CommandEnd(self.location, self.command, self.exit_code, self.err)

    def check(self, message: str, *, hint: str | None = None) -> CommandResult:
        """Return self if the exit code is 0.

        :raises CommandError: with the command's first line, exit code and the end of its stderr.
        """
        if self.exit_code == 0:
            return self
        raise CommandError(message, self.end, hint=hint)


class ByteStream(Protocol):
    """One end of a running command: read its stdout, or write its stdin."""

    async def read(self, size: int = CHUNK_BYTES) -> bytes:
        """Up to ``size`` bytes; ``b""`` at the end."""

    async def write(self, data: bytes) -> None:
        """Write all of ``data``; returns when the peer keeps pace (back pressure)."""

    async def close(self) -> CommandResult:
        """Close stdin, wait for the command, and give its exit code and stderr (stdout is empty)."""


class Host(abc.ABC):
    """One location of a deployment.

    :ivar deployment: name of the deployment whose files these are; ``location``: name of this instance of it.
        Both appear in file URIs (:class:`airflow_hybrid.model.FileRef`).
    :ivar poll_s: the shortest sensible time between two questions how its jobs are.
    :ivar joins: whether commands that come at the same time had better be one (each costs a login node something).
    :ivar cores: how many jobs of one core this location runs at a time when no scheduler does it (None: ask it).
    """

    deployment: str
    location: str
    cores: int | None = None
    poll_s: float = 0.3
    joins: bool = False

    @property
    def title(self) -> str:
        """For messages: ``hpc (hpcuser@10.77.0.11)``."""
        return f"{self.deployment} ({self.location})"

    @property
    def key(self) -> str:
        """Tells it from every other location that the process knows, and stays the same; a title may learn a name."""
        return self.title

    @property
    def address(self) -> str:
        """What the other locations of the deployment call it."""
        return self.location

    async def run(
        self,
        command: str,
        *,
        stdin: Stdin = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        label: str | None = None,
    ) -> CommandResult:
        """Run shell text (POSIX ``sh``) at the location and wait for it.

        The text is executed by ``/bin/sh`` whatever the user's login shell is, and what the login shell's start-up
        files print does not reach stdout. A non-zero exit code is returned, not raised.

        :param stdin: bytes, or an async iterator of bytes; none means an empty stdin.
        :param label: a short name of the command for messages (the text itself may be long).
        :raises AnswerTooLongError: it printed more than :func:`answer_limit`; it was ended.
        :raises HostUnreachableError: connection refused, lost, or no answer.
        :raises HostKeyError, AuthenticationError: see :mod:`airflow_hybrid.errors`.
        :raises CommandError: it did not end within ``timeout_s`` (exit_code None); what it did is unknown.
        """
        asked = Command(command, stdin, timeout_s, label or first_line(command))
        try:
            return await asyncio.wait_for(self._run(asked), timeout_s)
        except asyncio.TimeoutError:
            end = CommandEnd(self.title, asked.label, exit_code=None)
            raise CommandError(f"no answer within {timeout_s:g} s", end) from None

    @abc.abstractmethod
    async def _run(self, command: Command) -> CommandResult:
        """As :meth:`run`, which cancels this when the time is over: nothing that was started may go on then."""

    @abc.abstractmethod
    def stream(self, command: str, *, label: str | None = None) -> AbstractAsyncContextManager[ByteStream]:
        """Run shell text with its stdin and stdout as a :class:`ByteStream`. Leaving early ends the command."""

    def pipe_argv(self, command: str) -> Sequence[str] | None:
        """An argument vector for this machine that runs ``command`` there with stdio attached, or None.

        For bulk bytes, which then do not pass through Python (``ssh host 'tar -x'``).
        """
        return None

    async def close(self) -> None:  # noqa: B027 - most hosts hold nothing
        """Release connections. The host may be used again afterwards."""


async def feed(process: asyncio.subprocess.Process, stdin: Stdin) -> None:
    """Write ``stdin`` to a local process; a process that does not read it all is not an error here."""
    assert process.stdin is not None
    try:
        if isinstance(stdin, bytes):
            process.stdin.write(stdin)
            await process.stdin.drain()
        elif stdin is not None:
            async for data in stdin:
                process.stdin.write(data)
                await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the exit code and stderr say why it stopped reading
    finally:
        process.stdin.close()


@contextmanager
def answers_up_to(limit_bytes: int) -> Iterator[None]:
    """In this block, a command whose answer is longer is ended, with :class:`AnswerTooLongError`."""
    before = _LIMIT.set(limit_bytes)
    try:
        yield
    finally:
        _LIMIT.reset(before)


def answer_bytes(count: int, each: int, beside: int = ANSWER_BYTES) -> int:
    """The longest answer to a question about ``count`` things.

    :param each: bytes for one of them.
    :param beside: bytes for what else may be said, such as a banner, or complaints.
    """
    return min(MOST_ANSWER_BYTES, beside + count * each)


def answer_limit() -> int:
    """Bytes that a command may print here and now."""
    return _LIMIT.get()


async def whole(read: Callable[[int], Awaitable[bytes]], where: str) -> bytes:
    """All that a command prints.

    :param read: gives up to so many bytes; ``b""`` at the end.
    :param where: location and command, for the error.
    :raises AnswerTooLongError: it is more than :func:`answer_limit`; what was read is dropped.
    """
    limit, parts, size = answer_limit(), [], 0
    while data := await read(CHUNK_BYTES):
        size += len(data)
        if size > limit:
            raise too_long(limit, where)
        parts.append(data)
    return b"".join(parts)


async def end_of(read: Callable[[int], Awaitable[bytes]]) -> bytes:
    """The last bytes that a command prints, at most :data:`STREAM_ERRORS_BYTES`; all is read, so that it can go on."""
    kept = b""
    while data := await read(CHUNK_BYTES):
        kept = (kept + data)[-STREAM_ERRORS_BYTES:]
    return kept


def too_long(limit: int, where: str) -> AnswerTooLongError:
    """The error for a command that has printed more bytes than it may."""
    return AnswerTooLongError(
        f"the answer is longer than {limit} bytes: the command was ended",
        where=where,
        hint="such an answer is not of the site's usual programs: see what the command is there",
    )


def first_line(command: str) -> str:
    """What names a command in messages that has no label."""
    line = command.strip().split("\n", 1)[0]
    return line if len(line) <= 120 else line[:117] + "..."
