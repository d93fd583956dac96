# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The interface of a host: something that runs commands and holds files.

A :class:`Host` is one *location*: commands go in as shell text, bytes go in and out as streams. It does not know which
scheduler runs the jobs there (:mod:`airflow_hybrid.schedulers`), so Slurm over SSH needs no class.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from airflow_hybrid import settings
from airflow_hybrid.errors import AnswerTooLongError, CommandEnd, CommandError
from airflow_hybrid.printable import readable
from airflow_hybrid.sites.hosts.processes import ChildProcess
from airflow_hybrid.sites.patience import outages

CHUNK_BYTES = 1 << 20
ANSWER_BYTES = 4 << 20
"""how much a command may print on stdout, and on stderr, unless another limit is set: :func:`answers_up_to`"""
MOST_ANSWER_BYTES = 512 << 20
"""the highest limit for any command"""
JOB_BYTES = 2 << 10
"""limit of an answer per job that is asked about: ids, states, nodes and reasons, of several restarts"""
PATH_BYTES = 8 << 10
"""limit of an answer per path that is asked about: the longest path, and an error message that names it"""
TASK_BYTES = 16 << 20
"""limit of an answer about everything that a task has begun: some 100,000 jobs"""
FOLDER_BYTES = 64 << 20
"""limit of an answer that lists folders: names, sizes and checksums of some 300,000 files"""
PROGRAM_BYTES = 32 << 20
"""limit of an answer with the progress output of another program, such as the build of an image"""
STREAM_ERRORS_BYTES = 1 << 20
"""how much is kept of the stderr of a command whose stdout or stdin is a stream: the end of it"""
Stdin = bytes | AsyncIterator[bytes] | None
"""stdin of a command: the parts of an iterator are written one after the other; None is an empty stdin"""
_LIMIT: ContextVar[int] = ContextVar("airflow_hybrid_answer_bytes", default=ANSWER_BYTES)


@dataclass(frozen=True)
class Command:
    """A command for a location.

    :ivar text: POSIX shell text.
    :ivar timeout_s: how long it may take; :meth:`Host.run` enforces it.
    :ivar label: its name in messages.
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
    """The result of a command at a location: exit code (128 + n after signal n), stdout and stderr as bytes."""

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
        """Write all of ``data``; waits for a slow peer (back pressure)."""

    async def close(self) -> CommandResult:
        """Close stdin, wait for the command, and return its exit code and stderr (stdout is empty)."""


_NONE: list[str] = []
_TURNS: ContextVar[list[str]] = ContextVar("airflow_hybrid_turns", default=_NONE)
"""accounts for which a turn was taken that no command of a host inside has used yet"""


class Host(abc.ABC):
    """One location of a deployment.

    :ivar deployment: name of the deployment whose files these are; ``location``: name of this instance of it.
        Both appear in file URIs (:class:`airflow_hybrid.model.FileRef`).
    :ivar poll_s: the shortest sensible time between two polls of its jobs.
    :ivar joins: whether commands that come at the same time should be joined into one, to spare a login node.
    :ivar is_login: whether commands run as the account that Airflow logs in to.
    :ivar cores: how many single-core jobs this location runs at a time if it has no scheduler (None: ask it).
    """

    deployment: str
    location: str
    cores: int | None = None
    poll_s: float = 0.3
    joins: bool = False
    is_login: bool = False

    @property
    def title(self) -> str:
        """For messages: ``hpc (hpcuser@10.77.0.11)``."""
        return f"{self.deployment} ({self.location})"

    @property
    def key(self) -> str:
        """Unique among the locations of the process, and constant; a title may change once a name is known.

        What is shared in a process is shared by hosts with the same key: two accounts of a location have two keys.
        """
        return self.title

    async def entries(self, folder: str) -> int | None:
        """How many entries a folder has, where that takes no command; None: unknown.

        It is no answer to rely on: it only says whether it is worth asking.
        """
        return None

    @property
    def public_address(self) -> str | None:
        """Its address for locations of other deployments, as ``[user@]host[:port]`` for ssh, if they may know it."""
        return None

    @property
    def address(self) -> str:
        """Its name for the other locations of the deployment."""
        return self.location

    async def run(
        self,
        command: str,
        *,
        stdin: Stdin = None,
        timeout_s: float | None = None,
        label: str | None = None,
    ) -> CommandResult:
        """Run shell text (POSIX ``sh``) at the location and wait for it.

        ``/bin/sh`` runs the text, whatever the user's login shell is. What the login shell's start-up files print does
        not reach stdout. A non-zero exit code is returned, not raised.

        :param stdin: bytes, or an async iterator of bytes; None: an empty stdin.
        :param timeout_s: None: the setting ``command_timeout``.
        :param label: a short name for the command in messages (the text may be long).
        :raises AnswerTooLongError: it printed more than :func:`answer_limit`, and was ended.
        :raises HostUnreachableError: connection refused, lost, or no answer.
        :raises HostKeyError, AuthenticationError: see :mod:`airflow_hybrid.errors`.
        :raises CommandError: it did not end within ``timeout_s`` (exit_code None); what it did is unknown.
        """
        if timeout_s is None:
            timeout_s = settings.current().command_timeout
        to_run = Command(command, stdin, timeout_s, label or first_line(command))
        await self.take_turn()
        turns = _TURNS.set([self.account] if settings.current().ssh_commands_per_minute else _NONE)
        try:
            result = await asyncio.wait_for(self._run(to_run), timeout_s)
        except asyncio.TimeoutError:
            end = CommandEnd(self.title, to_run.label, exit_code=None)
            raise CommandError(f"no answer within {timeout_s:g} s", end) from None
        finally:
            _TURNS.reset(turns)
        outages.answered(self.key)
        return result

    @property
    def account(self) -> str:
        """The account at a machine that its commands run as: what a site counts them for."""
        return self.key

    async def take_turn(self) -> None:
        """Wait until another command may be started there. Those who wait hold nothing that others need.

        A host inside of another one takes the turn before its time limit begins; the command there has it then.
        """
        taken = _TURNS.get()
        if taken and self.account in taken:
            taken.remove(self.account)
            return
        await self._wait_for_turn()

    async def _wait_for_turn(self) -> None:  # noqa: B027 - most hosts may be asked as often as one likes
        """Wait until the limit of the account allows another command."""

    @abc.abstractmethod
    async def _run(self, command: Command) -> CommandResult:
        """Like :meth:`run`, which cancels this when the time is up: then nothing may keep running."""

    @abc.abstractmethod
    def stream(self, command: str, *, label: str | None = None) -> AbstractAsyncContextManager[ByteStream]:
        """Run shell text with its stdin and stdout as a :class:`ByteStream`. Leaving early ends the command."""

    def pipe_argv(self, command: str) -> Sequence[str] | None:
        """An argument vector for this machine that runs ``command`` there with stdio attached, or None.

        For bulk data, which then bypasses Python (``ssh host 'tar -x'``).
        """
        return None

    async def close(self) -> None:  # noqa: B027 - most hosts hold nothing
        """Release connections. The host may be used again afterwards."""


async def feed(process: ChildProcess | asyncio.subprocess.Process, stdin: Stdin) -> None:
    """Write ``stdin`` to a local process; it is no error if the process does not read all of it."""
    assert process.stdin is not None
    try:
        if isinstance(stdin, bytes):
            process.stdin.write(stdin)
            await process.stdin.drain()
        elif stdin is not None:
            async for chunk in stdin:
                process.stdin.write(chunk)
                await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the exit code and stderr say why it stopped reading
    finally:
        process.stdin.close()


@contextmanager
def answers_up_to(limit_bytes: int) -> Iterator[None]:
    """In this block, a command with a longer answer is ended, with :class:`AnswerTooLongError`."""
    before = _LIMIT.set(limit_bytes)
    try:
        yield
    finally:
        _LIMIT.reset(before)


def answer_bytes(count: int, each: int, beside: int = ANSWER_BYTES) -> int:
    """Limit for the answer to a question about ``count`` things.

    :param each: bytes for one of them.
    :param beside: bytes for everything else, such as a banner or error messages.
    """
    return min(MOST_ANSWER_BYTES, beside + count * each)


def answer_limit() -> int:
    """How many bytes a command may print in the current block."""
    return _LIMIT.get()


async def read_all(read: Callable[[int], Awaitable[bytes]], where: str) -> bytes:
    """Everything that a command prints.

    :param read: returns up to that many bytes; ``b""`` at the end.
    :param where: location and command, for the error.
    :raises AnswerTooLongError: it is more than :func:`answer_limit`; what was read is dropped.
    """
    limit, parts, size = answer_limit(), [], 0
    while chunk := await read(CHUNK_BYTES):
        size += len(chunk)
        if size > limit:
            raise too_long(limit, where)
        parts.append(chunk)
    return b"".join(parts)


async def read_end(read: Callable[[int], Awaitable[bytes]]) -> bytes:
    """The last bytes that a command prints, at most :data:`STREAM_ERRORS_BYTES`; all is read, so it never blocks."""
    last_bytes = b""
    while chunk := await read(CHUNK_BYTES):
        last_bytes = (last_bytes + chunk)[-STREAM_ERRORS_BYTES:]
    return last_bytes


def too_long(limit: int, where: str) -> AnswerTooLongError:
    """The error for a command that printed too many bytes."""
    return AnswerTooLongError(
        f"the answer is longer than {limit} bytes: the command was ended",
        where=where,
        hint="the usual programs do not print that much: check which program the command is there",
    )


def first_line(command: str) -> str:
    """The name in messages of a command without a label."""
    line = command.strip().split("\n", 1)[0]
    return line if len(line) <= 120 else line[:117] + "..."
