# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A running container as a location: commands and bytes go through the host of its engine."""

from __future__ import annotations

import contextlib
import secrets
import shlex
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from airflow_hybrid.errors import EndedError, HostUnreachableError, SiteError
from airflow_hybrid.model.clean_shell import CLEAN_SHELL
from airflow_hybrid.sites.hosts.base import CHUNK_BYTES, ByteStream, Command, CommandResult, Host, first_line

_ENDED = "#ah-container "
_STATES = frozenset({"created", "exited", "stopped", "dead", "removing", "stopping", "configured", "initialized"})
_HINT = "clear the deployment's setup task and the steps whose files were in it; they are run again"
ARGUMENT_LIMIT = 60_000
"""most characters of shell text that are passed as an argument (Linux: 128 KiB)"""


_STREAM = "AIRFLOW_HYBRID_STREAM"
_END = """for ah_p in $(grep -ls @TOKEN@ /proc/[0-9]*/environ); do
    ah_p=${ah_p#/proc/}
    kill -9 "${ah_p%/*}" 2>/dev/null
done
"""


@dataclass(frozen=True)
class RunningContainer:
    """How a running container is reached.

    :ivar host: the location of its engine.
    :ivar engine: the engine's program: ``docker``, ``podman``.
    :ivar id: of the container; a container that is recreated has a new one.
    """

    host: Host
    engine: str
    id: str


class ContainerHost(Host):
    """One running container.

    :param location: a name that stays the same when the container is recreated (``worker-1``).
    """

    def __init__(self, deployment: str, location: str, running: RunningContainer, cores: int | None = None) -> None:
        engine, container = running.engine, running.id
        self.deployment = deployment
        self.location = location
        self.engine_host = running.host
        self.container = container
        self.cores = cores
        self.poll_s = max(running.host.poll_s, 0.3)
        self._exec = [engine, "exec", "-i", container, *CLEAN_SHELL, "-c"]
        # a command that failed and one that could not start look the same: is the container still running?
        look = shlex.join([engine, "inspect", "--type", "container", "--format"])
        state = "'{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}'"
        self._whether_ended = (
            "; ah_c=$?; [ $ah_c = 0 ] || case $(" + f"{look} {state} {shlex.quote(container)} 2>&1) in "
            f"running* | paused*) ;; *) printf '\n{_ENDED}%s\n' "
            f'"$({look} {state} {shlex.quote(container)} 2>&1 | tail -n 1)" >&2 ;; esac; exit $ah_c'
        )

    @property
    def title(self) -> str:
        return f"{self.deployment} ({self.location}, container {self.container[:12]} at {self.engine_host.title})"

    @property
    def key(self) -> str:
        return f"{self.deployment} ({self.location}, container {self.container} at {self.engine_host.key})"

    @property
    def account(self) -> str:
        return self.engine_host.account

    async def _wait_for_turn(self) -> None:
        await self.engine_host.take_turn()

    async def _run(self, command: Command) -> CommandResult:
        text = await self._text(command.text)
        result = await self.engine_host.run(text, stdin=command.stdin, timeout_s=command.timeout_s, label=command.label)
        self._raise_if_ended(result)
        return CommandResult(self.title, result.command, result.exit_code, result.stdout, result.stderr)

    @contextlib.asynccontextmanager
    async def stream(self, command: str, *, label: str | None = None) -> AsyncIterator[ByteStream]:
        mark = f"{_STREAM}={secrets.token_hex(8)}"
        text = await self._text(f"{mark} exec /bin/sh -c {shlex.quote(command)}")
        async with self.engine_host.stream(text, label=label or first_line(command)) as stream:
            followed = _Followed(stream)
            try:
                yield followed
            finally:
                if not followed.closed:
                    # the command keeps running when the engine's client ends
                    with contextlib.suppress(SiteError):
                        await self.run(_END.replace("@TOKEN@", mark), label="end of a stream")

    def pipe_argv(self, command: str) -> Sequence[str] | None:
        return self.engine_host.pipe_argv(shlex.join([*self._exec, command])) if _is_argument(command) else None

    async def _text(self, command: str) -> str:
        """Shell text for the engine's location that runs ``command`` in the container."""
        if _is_argument(command):
            return shlex.join([*self._exec, command]) + self._whether_ended
        put = 'umask 77; f=$(mktemp) && cat >"$f" && printf %s "$f"'
        text = shlex.join([*self._exec, put])
        stored = await self.engine_host.run(
            text, stdin=command.encode(errors="surrogateescape"), label="send a command"
        )
        self._raise_if_ended(stored)
        path = stored.check("a command could not be sent into the container").out
        run = f'f={shlex.quote(path)}; s=$(cat "$f"; echo .); rm -f -- "$f"; eval "${{s%.}}"'
        return shlex.join([*self._exec, run]) + self._whether_ended

    def _raise_if_ended(self, result: CommandResult) -> None:
        """:raises EndedError: the container has ended. HostUnreachableError: its engine does not answer."""
        line = result.err.rsplit(f"\n{_ENDED}", 1)[-1].split("\n", 1)[0] if f"\n{_ENDED}" in result.err else None
        if line is None or result.exit_code == 0:
            return
        status, _, details = line.partition(" ")
        where = f"{self.title}: {result.command}"
        if status in _STATES:
            code, _, oom = details.partition(" ")
            why = "it ended"
            if oom == "true":
                why = "it ran out of memory"
            elif code == "137":
                why = "it was killed"
            raise EndedError(f"the container is no longer running: {why} (exit code {code})", where=where, hint=_HINT)
        if "no such" in line.lower():
            raise EndedError("the container no longer exists: somebody removed it", where=where, hint=_HINT)
        raise HostUnreachableError(f"the container's engine does not answer: {line}", where=where)


class _Followed:
    """A stream that knows whether it was closed."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.closed = False

    async def read(self, size: int = CHUNK_BYTES) -> bytes:
        return await self._stream.read(size)

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)

    async def close(self) -> CommandResult:
        result = await self._stream.close()
        self.closed = True
        return result


def _is_argument(command: str) -> bool:
    """Whether the engine can pass shell text on unchanged: it is not too long, and UTF-8 (the engine uses JSON)."""
    return len(command) <= ARGUMENT_LIMIT and not any("\ud800" <= character <= "\udfff" for character in command)
