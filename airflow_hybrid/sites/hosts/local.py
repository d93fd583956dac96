# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""This machine as a location."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Sequence

from airflow_hybrid.model import LOCAL_DEPLOYMENT, LOCAL_LOCATION
from airflow_hybrid.model.clean_shell import CLIENT_LIBRARIES
from airflow_hybrid.sites.hosts.base import (
    CHUNK_BYTES,
    ByteStream,
    Command,
    CommandResult,
    Host,
    Stdin,
    feed,
    first_line,
    read_all,
    read_end,
)
from airflow_hybrid.sites.hosts.processes import ChildProcess, start_process

ARGUMENT_LIMIT = 60_000
"""most characters of shell text that are passed as an argument"""
END_S = 5.0
"""how long a command that was killed may take to end"""
_KEEP = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SHELL")


def clean_environment(more: Sequence[str] = ()) -> dict[str, str]:
    """The environment for commands on this machine, without Airflow's settings and secrets.

    :param more: names of further variables, which a queue system's programs need.
    """
    environment = {key: os.environ[key] for key in (*_KEEP, *more) if key in os.environ}
    if more:
        # what only those programs need is removed again before a job starts
        environment[CLIENT_LIBRARIES] = environment.get("LD_LIBRARY_PATH") or "none"
    return environment


class LocalHost(Host):
    """Commands of this machine's user, in a clean environment and a process group of their own.

    Two local deployments with separate work directories are two sites: their files are kept apart.

    :param prelude: shell text before every command (:mod:`airflow_hybrid.sites.hosts.environment`).
    :param variables: names of further variables of this process that commands see.
    """

    poll_s = 0.05

    def __init__(
        self,
        deployment: str = LOCAL_DEPLOYMENT,
        location: str = LOCAL_LOCATION,
        cores: int | None = None,
        *,
        prelude: str = "",
        variables: Sequence[str] = (),
    ) -> None:
        self.deployment = deployment
        self.location = location
        self.cores = cores
        self.prelude = prelude
        self.variables = tuple(variables)

    def with_variables(self, names: Sequence[str], prelude: str = "") -> LocalHost:
        """This machine, with these variables of Airflow's environment for a queue system's programs."""
        return LocalHost(self.deployment, self.location, self.cores, prelude=self.prelude + prelude, variables=names)

    async def entries(self, folder: str) -> int | None:
        try:
            return len(await asyncio.to_thread(os.listdir, folder))
        except OSError:
            return None

    async def _start(self, command: str) -> ChildProcess:
        starting = asyncio.ensure_future(self._begin(command))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:  # nobody would end the process
            await self._end(await starting)
            raise

    async def _begin(self, command: str) -> ChildProcess:
        command = self.prelude + command
        if len(command) <= ARGUMENT_LIMIT:
            return await self._spawn(command)
        # too long for an argument (Linux: 128 KiB): read from a file without a name
        with tempfile.TemporaryFile() as script:
            script.write(os.fsencode(command))
            script.flush()
            script.seek(0)
            return await self._spawn(f'eval "$(cat /dev/fd/{script.fileno()})"', (script.fileno(),))

    async def _spawn(self, command: str, pass_fds: Sequence[int] = ()) -> ChildProcess:
        argv = ["/bin/sh", "-c", command]
        return await start_process(argv, env=clean_environment(self.variables), pass_fds=tuple(pass_fds))

    async def _run(self, command: Command) -> CommandResult:
        process = await self._start(command.text)
        try:
            stdout, stderr, code = await _converse(process, command.stdin, f"{self.title}: {command.label}")
        except BaseException:
            await self._end(process)
            raise
        return CommandResult(self.title, command.label, _exit_code(code), stdout, stderr)

    @contextlib.asynccontextmanager
    async def stream(self, command: str, *, label: str | None = None) -> AsyncIterator[ByteStream]:
        process = await self._start(command)
        try:
            yield _LocalStream(self.title, label or first_line(command), process)
        finally:
            if process.returncode is None:
                await self._end(process)
            process.close()

    async def _end(self, process: ChildProcess) -> None:
        await self._kill(process)
        with contextlib.suppress(asyncio.TimeoutError):  # one that hangs in the kernel is not waited for
            await asyncio.wait_for(process.wait(), END_S)
        process.close()

    async def _kill(self, process: ChildProcess) -> None:
        """End a process and all of its group."""
        process.kill()

    def pipe_argv(self, command: str) -> Sequence[str] | None:
        command = self.prelude + command
        return ["/bin/sh", "-c", command] if len(command) <= ARGUMENT_LIMIT else None


class _LocalStream:
    def __init__(self, title: str, label: str, process: ChildProcess) -> None:
        assert process.stdin and process.stdout and process.stderr
        self._title, self._label, self._process = title, label, process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._stderr = asyncio.ensure_future(read_end(process.stderr.read))

    async def read(self, size: int = CHUNK_BYTES) -> bytes:
        return await self._stdout.read(size)

    async def write(self, data: bytes) -> None:
        self._stdin.write(data)
        await self._stdin.drain()

    async def close(self) -> CommandResult:
        self._stdin.close()
        stderr = await self._stderr
        code = await self._process.wait()
        return CommandResult(self._title, self._label, _exit_code(code), b"", stderr)


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code


async def _converse(process: ChildProcess, stdin: Stdin, where: str) -> tuple[bytes, bytes, int]:
    assert process.stdout is not None and process.stderr is not None
    stdout, stderr, _, code = await asyncio.gather(
        read_all(process.stdout.read, where), read_all(process.stderr.read, where), feed(process, stdin), process.wait()
    )
    return stdout, stderr, code
