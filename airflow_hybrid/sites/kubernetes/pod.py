# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A container of a pod as a location: commands and bytes go through exec streams.

The exec protocol (v4.channel.k8s.io) cannot close a command's stdin, and a URL's length is limited. So the command is
always the same few lines of shell, which read *frames* from stdin (a line with a length, then that many bytes): the
first is the shell text to run, the others are its stdin, and one of length 0 ends it. The container needs sh and dd.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_hybrid import shell_text
from airflow_hybrid.errors import HostUnreachableError, LocationGoneError, SiteError
from airflow_hybrid.model.clean_shell import CLEAN_SHELL
from airflow_hybrid.schedulers.kubernetes import answers
from airflow_hybrid.sites.hosts.base import (
    CHUNK_BYTES,
    STREAM_ERRORS_BYTES,
    ByteStream,
    Command,
    CommandResult,
    Host,
    Stdin,
    answer_limit,
    first_line,
    read_all,
    too_long,
)
from airflow_hybrid.sites.kubernetes.cluster import ApiError, Cluster

if TYPE_CHECKING:
    import aiohttp

FRAME_BYTES = 256 << 10
_STDIN, _STDOUT, _STDERR, _STATUS = range(4)


@dataclass(frozen=True)
class PodAccess:
    """How a container of a pod is reached. The pod may change (a claim's pod is recreated after an eviction).

    :ivar pod: returns the pod's name; called with True if the last one was not usable: then it raises why, or creates a
        new one.
    :ivar container: name of the container; None: the pod has only one.
    :ivar alive: shell text that our commands run first, or ``""``.
    """

    cluster: Cluster
    pod: Callable[[bool], Awaitable[str]]
    container: str | None = None
    alive: str = ""


class PodHost(Host):
    """One container of a pod."""

    poll_s = 1.0

    def __init__(self, deployment: str, location: str, access: PodAccess, cores: int | None = None) -> None:
        self.deployment = deployment
        self.location = location
        self.access = access
        self.cluster = access.cluster
        self.cores = cores

    @property
    def title(self) -> str:
        return f"{self.deployment} ({self.location})"

    @property
    def key(self) -> str:
        return f"{self.title} {self.cluster.settings!r}"

    async def _run(self, command: Command) -> CommandResult:
        async with self.stream(command.text, label=command.label) as stream:
            assert isinstance(stream, PodStream)
            stream.most_errors = answer_limit()
            feeding = asyncio.ensure_future(_feed(stream, command.stdin))
            try:
                answer = await read_all(stream.read, f"{self.title}: {command.label}")
            finally:
                feeding.cancel()
                outcome = (await asyncio.gather(feeding, return_exceptions=True))[0]
            # the caller's own iterator failed: the result of half an input is worthless
            if isinstance(outcome, Exception) and not isinstance(outcome, BrokenPipeError):
                raise outcome
            result = await stream.close()
            return CommandResult(self.title, command.label, result.exit_code, answer, result.stderr)

    @contextlib.asynccontextmanager
    async def stream(self, command: str, *, label: str | None = None) -> AsyncIterator[ByteStream]:
        shown = label or first_line(command)
        async with contextlib.AsyncExitStack() as stack:
            socket = await self._open(stack, shown)
            stream = PodStream(self, socket, shown)
            with contextlib.suppress(BrokenPipeError):  # reading or closing the stream raises the reason
                await stream.write(command.encode(errors="surrogateescape") or b":")
            yield stream

    async def _open(self, stack: contextlib.AsyncExitStack, shown: str) -> aiohttp.ClientWebSocketResponse:
        argv = [*CLEAN_SHELL, "-c", self.access.alive + shell_text.load(__package__, "frames.sh")]
        for again in (False, True):
            pod = await self.access.pod(again)
            try:
                return await stack.enter_async_context(self.cluster.exec(pod, self.access.container, argv))
            except ApiError as error:
                if again:
                    error.where = f"{self.title}: {shown}"
                    await self._raise_if_gone(pod, error)
                    raise
        raise AssertionError  # pragma: no cover

    async def _raise_if_gone(self, pod: str, error: ApiError) -> None:
        """:raises LocationGoneError: the pod no longer exists, or has ended. (A storage's pod is recreated.)"""
        if self.access.alive:
            return
        try:
            status = await self.cluster.call("CoreV1Api", "read_namespaced_pod_status", pod, self.cluster.namespace)
        except ApiError as problem:
            if problem.status != 404:
                return
            ending = "is gone (scaled away, or deleted)"
        else:
            phase = (status.get("status") or {}).get("phase")
            if phase not in ("Failed", "Succeeded"):
                return
            ending = f"has ended ({answers.of_pod(status).reason or phase})"
        raise LocationGoneError(
            f"the pod {pod} {ending}, with all jobs and files that were in it",
            where=error.where,
            hint="a retry of the task runs its jobs in other pods; if their inputs were here, clear the steps that"
            " made them",
        ) from None


class PodStream:
    """The streams of a running command; see :class:`airflow_hybrid.sites.hosts.base.ByteStream`.

    :ivar most_errors: bytes of stderr after which the command is ended; None: only the end of stderr is kept.
    """

    most_errors: int | None = None

    def __init__(self, host: PodHost, socket: aiohttp.ClientWebSocketResponse, shown: str) -> None:
        self._host, self._socket, self._shown = host, socket, shown
        self._ahead = b""
        self._stderr = b""
        self._exit_code: int | None = None
        self._ended = False

    async def read(self, size: int = CHUNK_BYTES) -> bytes:
        while not self._ahead and self._exit_code is None:
            await self._receive()
        chunk, self._ahead = self._ahead[:size], self._ahead[size:]
        return chunk

    async def write(self, data: bytes) -> None:
        """:raises BrokenPipeError: the command no longer reads; :meth:`close` says why."""
        if self._ended or self._exit_code is not None:
            raise BrokenPipeError("the command has ended")
        view = memoryview(data)
        for start in range(0, len(view), FRAME_BYTES) if self._started else (0,):
            part = view[start : start + FRAME_BYTES] if self._started else view
            await self._send(b"%d\n" % len(part))
            for at in range(0, len(part), FRAME_BYTES):
                await self._send(bytes(part[at : at + FRAME_BYTES]))
        self._started = True

    _started = False
    """the first frame is the shell text and is not divided"""

    async def _send(self, data: bytes) -> None:
        try:
            await self._socket.send_bytes(bytes([_STDIN]) + data)
        except (ConnectionError, RuntimeError) as error:
            raise BrokenPipeError(str(error)) from None

    async def end(self) -> None:
        """Close the command's stdin."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(BrokenPipeError):
                await self._send(b"0\n")

    async def close(self) -> CommandResult:
        await self.end()
        while self._exit_code is None:
            self._ahead = b""
            await self._receive()
        return CommandResult(self._host.title, self._shown, self._exit_code, b"", self._stderr)

    async def _receive(self) -> None:
        from aiohttp import WSMsgType

        message = await self._socket.receive()
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            raise HostUnreachableError(
                "the connection to the pod was lost while a command was running",
                where=f"{self._host.title}: {self._shown}",
            )
        data: bytes = message.data.encode() if message.type is WSMsgType.TEXT else message.data
        if not data:
            return
        channel, data = data[0], data[1:]
        if channel == _STDOUT:
            self._ahead += data
        elif channel == _STDERR:
            self._keep_errors(data)
        elif channel == _STATUS:
            self._exit_code = self._code(json.loads(data))

    def _keep_errors(self, data: bytes) -> None:
        if self.most_errors is None:
            self._stderr = (self._stderr + data)[-STREAM_ERRORS_BYTES:]
            return
        self._stderr += data
        if len(self._stderr) > self.most_errors:
            raise too_long(self.most_errors, f"{self._host.title}: {self._shown}")

    def _code(self, status: dict[str, Any]) -> int:
        """The exit code in the last message of an exec stream."""
        if status.get("status") == "Success":
            return 0
        for cause in (status.get("details") or {}).get("causes") or []:
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
        raise SiteError(
            f"the command could not be run in the container: {status.get('message') or status}",
            where=f"{self._host.title}: {self._shown}",
            hint="the container needs /bin/sh and dd",
        )


async def _feed(stream: PodStream, stdin: Stdin) -> None:
    """Write stdin; it is no error if the command does not read all of it: its exit code says why."""
    if isinstance(stdin, bytes) and stdin:
        await stream.write(stdin)
    elif stdin is not None and not isinstance(stdin, bytes):
        async for chunk in stdin:
            if chunk:
                await stream.write(chunk)
    await stream.end()
