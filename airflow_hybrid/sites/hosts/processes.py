# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Processes of this machine, without holding up the event loop.

``asyncio.create_subprocess_exec`` starts a process in the loop's thread. On a busy machine that waits until the new
process has run its first instructions and, up to Python 3.11, until a thread that waits for its end has started: all
tasks of a triggerer are late meanwhile. Here a thread starts processes, and the kernel tells the loop that one has
ended (pidfd, Linux 5.3; elsewhere a thread waits for it).

Python keeps its global lock from vfork(2) to the new process's exec, so the loop may wait for that, too: at most 0.1 s
was seen (300 MB, 8 busy processes on 2 cores). With fork(2) it was 0.4 s, because the page tables are copied.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from airflow_hybrid.sites.hosts.per_loop import PerLoop

PIPE = subprocess.PIPE
DEVNULL = subprocess.DEVNULL
READ_AHEAD_BYTES = 1 << 20
"""how much output of a process is kept for a reader that is slower"""
UNKNOWN_EXIT_CODE = 255
"""as asyncio has it: somebody else has waited for the process, so its exit code is lost"""
_STARTERS = 2
"""threads of an event loop that start processes"""
_Starting = asyncio.Future[subprocess.Popen[bytes]]
_POOLS: PerLoop[str, ThreadPoolExecutor] = PerLoop()
_STARTING: PerLoop[_Starting, _Starting] = PerLoop()
"""processes that are being started"""


async def processes_started() -> None:
    """Wait until every process that the running event loop is starting has started, which takes milliseconds.

    A loop that ends before that ends them where it may: those of another user only that user may end.
    """
    while starting := list(_STARTING.here()):
        await asyncio.wait(starting)


class ChildProcess:
    """A process that was started by :func:`start_process`.

    :ivar stdin: where a pipe was asked for; so are ``stdout`` and ``stderr``.
    :ivar returncode: None while it runs; -n if signal n ended it.
    """

    stdin: asyncio.StreamWriter | None = None
    stdout: asyncio.StreamReader | None = None
    stderr: asyncio.StreamReader | None = None

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._ended = asyncio.Event()
        self._writing: asyncio.WriteTransport | None = None
        self._reading: list[asyncio.ReadTransport] = []
        self._watch()

    @property
    def returncode(self) -> int | None:
        return self._popen.returncode

    async def wait(self) -> int:
        """Wait until it has ended; its :attr:`returncode`."""
        await self._ended.wait()
        code: int = self._popen.returncode
        return code

    async def connect(self) -> None:
        """Connect its pipes with the running event loop."""
        if self._popen.stdin is not None:
            self.stdin = await self._writer(self._popen.stdin)
        if self._popen.stdout is not None:
            self.stdout = await self._reader(self._popen.stdout)
        if self._popen.stderr is not None:
            self.stderr = await self._reader(self._popen.stderr)

    def kill(self) -> None:
        """End it and all of its process group.

        :raises PermissionError: it is another user's.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the pipes, whoever else holds them open."""
        if self._writing is not None and not self._writing.is_closing():
            self._writing.abort()  # nobody reads what is left
        for transport in self._reading:
            transport.close()

    async def _reader(self, pipe: IO[bytes]) -> asyncio.StreamReader:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_AHEAD_BYTES, loop=loop)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader, loop=loop), pipe)
        self._reading.append(transport)
        return reader

    async def _writer(self, pipe: IO[bytes]) -> asyncio.StreamWriter:
        loop = asyncio.get_running_loop()
        nothing_to_read = asyncio.StreamReader(loop=loop)
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(nothing_to_read, loop=loop), pipe
        )
        self._writing = transport
        return asyncio.StreamWriter(transport, protocol, None, loop)

    # --- its end -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, an old kernel, or a container that forbids it
            threading.Thread(target=self._wait_in_thread, args=(loop,), name=f"wait-{self.pid}", daemon=True).start()
            return
        loop.add_reader(pidfd, self._readable, loop, pidfd)

    def _readable(self, loop: asyncio.AbstractEventLoop, pidfd: int) -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        self._reap()
        self._ended.set()

    def _wait_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        self._reap()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._ended.set)

    def _reap(self) -> None:
        """Not by ``Popen.wait``, which takes a lost exit code for 0."""
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            self._popen.returncode = UNKNOWN_EXIT_CODE
            return
        self._popen.returncode = os.waitstatus_to_exitcode(status)


async def start_process(
    argv: Sequence[str],
    *,
    stdin: int = PIPE,
    stdout: int = PIPE,
    stderr: int = PIPE,
    **options: Any,
) -> ChildProcess:
    """Start a process in a session of its own.

    :param argv: the program and its arguments.
    :param stdin: ``PIPE``, ``DEVNULL`` or a descriptor; so are ``stdout`` and ``stderr``.
    :param options: of :class:`subprocess.Popen`: ``env``, ``cwd``, ``pass_fds``, ``user``, ``group``, ``extra_groups``.
    :raises OSError: the program cannot be started.
    """
    pool = _POOLS.get("", lambda: ThreadPoolExecutor(_STARTERS, thread_name_prefix="start-process"))

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=0, start_new_session=True, **options
        )

    starting = asyncio.get_running_loop().run_in_executor(pool, start)
    _STARTING.here()[starting] = starting
    starting.add_done_callback(_STARTING.here().pop)
    try:
        popen = await asyncio.shield(starting)
    except asyncio.CancelledError:  # nobody would end the process
        process = ChildProcess(await starting)
        _give_up(process)
        raise
    process = ChildProcess(popen)
    try:
        await process.connect()
    except BaseException:
        _give_up(process)
        raise
    return process


def _give_up(process: ChildProcess) -> None:
    """End a process that nobody will know. One of another user may refuse: closed pipes are all that it learns then."""
    with contextlib.suppress(PermissionError):
        process.kill()
    process.close()
