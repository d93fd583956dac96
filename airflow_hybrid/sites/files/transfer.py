# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Transfers bytes from a command at one location to a command at another, without using this machine's disk."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from airflow_hybrid import settings
from airflow_hybrid.errors import HostUnreachableError
from airflow_hybrid.printable import readable
from airflow_hybrid.sites.files.scripts import parse_receive
from airflow_hybrid.sites.hosts.base import CommandResult, Host, read_all, read_end
from airflow_hybrid.sites.hosts.local import LocalHost, clean_environment
from airflow_hybrid.sites.hosts.processes import DEVNULL, ChildProcess, start_process
from airflow_hybrid.sites.hosts.ssh.shell import MARKER, argument_line, piped

_FULL_KIB = 1024
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large")


@dataclass(frozen=True)
class Ended:
    """How both ends of a transfer ended. ``answer`` is the receiver's output."""

    sender_code: int
    sender_error: str
    receiver_code: int
    receiver_error: str
    answer: str

    @property
    def disk_full(self) -> bool:
        """Whether the receiver's disk or quota is full."""
        received = parse_receive(self.answer)
        nothing_left = bool(received.exit_code) and received.free_kib is not None and received.free_kib < _FULL_KIB
        return nothing_left or bool(_DISK_FULL.search(self.receiver_error))

    @property
    def words(self) -> str:
        """The error output of both programs, for a message."""
        texts = [t.strip()[-600:] for t in (self.sender_error, self.receiver_error) if t.strip()]
        return "; ".join(texts) or f"sender ended with {self.sender_code}, receiver with {self.receiver_code}"


async def relay(source: Host, send: str, destination: Host, receive: str, *, bulk: bool) -> Ended:
    """``send`` at the source | ``receive`` at the destination, through this machine.

    :param bulk: let OpenSSH transfer the bytes if it can log in to both sides (they then bypass Python).
    :raises HostUnreachableError: the connection to one end was lost.
    """
    if bulk:
        left, right = source.pipe_argv(send), destination.pipe_argv(receive)
        if left is not None and right is not None:
            await source.take_turn()
            await destination.take_turn()
            return await _pipe(left, right, f"{source.title} -> {destination.title}")
    return await _stream(source, send, destination, receive)


async def _stream(source: Host, send: str, destination: Host, receive: str) -> Ended:
    sent: list[CommandResult] = []

    async with source.stream(send, label="send of files") as stream:

        async def data() -> AsyncIterator[bytes]:
            while block := await stream.read():
                yield block
            sent.append(await stream.close())

        got = await destination.run(
            receive, stdin=data(), timeout_s=settings.current().transfer_timeout, label="receipt of files"
        )
    # if the receiver stops early (full disk), the sender has no exit code of its own
    code, error = (sent[0].exit_code, sent[0].err) if sent else (141, "")
    return Ended(code, error, got.exit_code, got.err, got.out)


async def _pipe(left: Sequence[str], right: Sequence[str], way: str) -> Ended:
    """``left | right``, as two programs of this machine.

    :param way: from where to where, for messages.
    """
    processes: list[ChildProcess] = []
    try:
        await _start_pipe(left, right, processes)
        sender, receiver = processes
        assert sender.stderr is not None and receiver.stdout is not None and receiver.stderr is not None
        sender_error, answer, receiver_error, *_ = await asyncio.gather(
            read_end(sender.stderr.read),
            read_all(receiver.stdout.read, "receipt of files"),
            read_end(receiver.stderr.read),
            sender.wait(),
            receiver.wait(),
        )
    except BaseException:
        for process in processes:
            process.kill()
        await asyncio.gather(*(process.wait() for process in processes), return_exceptions=True)
        raise
    codes = [process.returncode or 0 for process in processes]
    errors = [_without_marker(text) for text in (sender_error, receiver_error)]
    for code, error in zip(codes, errors, strict=True):
        if code == 255 and not answer:  # ssh(1): 255 if an error of ssh itself occurred
            words = error.strip()[-600:].removeprefix("ssh: ") or "ssh said nothing"
            raise HostUnreachableError(
                f"files could not be copied: {words}", where=way, hint="is the host running, and reachable from here?"
            )
    return Ended(codes[0], errors[0], codes[1], errors[1], answer.decode(errors="surrogateescape"))


async def _start_pipe(left: Sequence[str], right: Sequence[str], started: list[ChildProcess]) -> None:
    """:param started: gets each process as soon as it exists, so that it can be ended if the other one cannot start."""
    environment = clean_environment()
    if "SSH_AUTH_SOCK" in os.environ:
        environment["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
    out, into = os.pipe()
    try:
        sender = await start_process(left, stdin=DEVNULL, stdout=into, env=environment)
        started.append(sender)
        receiver = await start_process(right, stdin=out, env=environment)
        started.append(receiver)
    finally:
        os.close(out)
        os.close(into)


def _without_marker(text: bytes | None) -> str:
    return readable(text or b"").replace(f"{MARKER}\n", "")


# --- from one location to another, by the ssh that is installed there ------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How one location reaches another by ssh: ``argv`` as it would be typed there."""

    argv: tuple[str, ...]

    @classmethod
    def to(cls, address: str, identity: str | None = None) -> Way:
        """:param address: an alias of the location's own ssh config, or ``[user@]host[:port]``."""
        user, at, host = address.rpartition("@")
        name, colon, port = host.rpartition(":")
        argv = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=8",
                "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "-o", "ForwardAgent=no"]  # fmt: skip
        if colon and port.isdigit() and ":" not in name:
            argv += ["-p", port]
            host = name
        if identity:
            argv += ["-i", identity, "-o", "IdentitiesOnly=yes"]
        return cls((*argv, "--", f"{user}{at}{host}"))


async def push(source: Host, send: str, way: Way, receive: str) -> Ended | None:
    """The source sends directly to the destination; None if the scripts are too long for a command line."""
    line = argument_line(receive)
    if line is None:
        return None
    far = f"{shlex.join(way.argv)} {shlex.quote(line)}"
    both = f"{{ ({send}) </dev/null 4>&-;echo $?>&3;}}|{{ {far} >&4 3>&-;echo $?>&3;}}"
    result = await source.run(
        f"exec 4>&1;c=$( {{ {both};}} 3>&1);echo;echo way $c",
        timeout_s=settings.current().transfer_timeout,
        label=f"send of files by {way.argv[-1]}",
    )
    answer = result.out.partition(f"{MARKER}\n")[2]
    error = _without_marker(result.stderr)
    sender, receiver = _codes_of_way(result.out)
    return Ended(sender, error, receiver, error, answer)


def _codes_of_way(output: str) -> tuple[int, int]:
    """The exit codes of the sender and of ssh, which :func:`push` prints last; 255 if one is missing."""
    words = output.rpartition("way ")[2].split()
    if not all(word.isdigit() for word in words):
        return 255, 255
    sender, receiver = [*map(int, words), 255, 255][:2]
    return sender, receiver


async def pull(way: Way, send: str, destination: Host, receive: str) -> Ended | None:
    """The destination fetches directly from the source; None if the script is too long for a command line."""
    far = piped(way.argv, send)
    if far is None:
        return None
    result = await destination.run(
        f"({far})</dev/null|({receive}\n)",
        timeout_s=settings.current().transfer_timeout,
        label=f"receipt of files by {way.argv[-1]}",
    )
    error = _without_marker(result.stderr)
    return Ended(0, error, result.exit_code, error, result.out)


async def trial(source: Host, way: Way, destination: Host, folder: str, note: str) -> str:
    """Test a link: read a note over it, leave an answer, and compare both.

    :returns: ``""`` if ``way`` leads from the source to the destination's own files, otherwise what went wrong.
    """
    path = f"{folder}/.note-{note}"
    quoted = shlex.quote(path)
    written = await destination.run(
        f"(umask 077;mkdir -p -- {shlex.quote(folder)})&&echo {note}>{quoted}", label="note for a link"
    )
    if written.exit_code != 0:
        return f"no note can be written in {folder} at {destination.title}: {written.err.strip()[-300:]}"
    try:
        line = argument_line(f"cat {quoted}&&cat>{quoted}.back")
        await destination.take_turn()
        result = await source.run(
            f"echo {note} back|{shlex.join(way.argv)} {shlex.quote(line or '')}", timeout_s=30, label="try of a link"
        )
        complaint = _without_marker(result.stderr).strip()[-300:]
        if result.out.partition(f"{MARKER}\n")[2].strip() != note:
            return complaint or f"`{shlex.join(way.argv[-1:])}` does not lead to {destination.title}"
        back = await destination.run(f"cat {quoted}.back", label="answer over a link")
        return "" if back.out.strip() == f"{note} back" else complaint or "what was sent over it did not arrive"
    finally:
        await destination.run(f"rm -f -- {quoted} {quoted}.back", label="note for a link")


def is_local(host: Host) -> bool:
    """Whether the host is the machine that this process runs on."""
    return isinstance(host, LocalHost)
