# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A container as a location: commands and bytes go through the host that its engine is on."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import AsyncIterator, Sequence

from airflow_hybrid.hooks.base import DEFAULT_TIMEOUT_S, ByteStream, CommandResult, Host

ARGUMENT_LIMIT = 60_000
"""characters of shell text that are given as an argument (Linux: 128 KiB for one)"""


class ContainerHost(Host):
    """One running container.

    :param inner: the location of the engine.
    :param engine: its program: ``docker``, ``podman``.
    :param container: the container's id.
    :param location: a name that stays the same when the container is made anew (``worker-1``).
    """

    def __init__(
        self, deployment: str, location: str, inner: Host, engine: str, container: str, cores: int | None = None
    ) -> None:
        self.deployment = deployment
        self.location = location
        self.inner = inner
        self.container = container
        self.cores = cores
        self.poll_s = max(inner.poll_s, 0.3)
        self._exec = [engine, "exec", "-i", container, "/bin/sh", "-c"]

    @property
    def title(self) -> str:
        return f"{self.deployment} ({self.location}, container {self.container[:12]} at {self.inner.title})"

    @property
    def key(self) -> str:
        return f"{self.deployment} ({self.location}, container {self.container} at {self.inner.key})"

    async def run(
        self,
        command: str,
        *,
        stdin: bytes | AsyncIterator[bytes] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        label: str | None = None,
    ) -> CommandResult:
        text = await self._text(command)
        result = await self.inner.run(text, stdin=stdin, timeout_s=timeout_s, label=label or _first_line(command))
        return CommandResult(self.title, result.command, result.exit_code, result.stdout, result.stderr)

    @contextlib.asynccontextmanager
    async def stream(self, command: str, *, label: str | None = None) -> AsyncIterator[ByteStream]:
        text = await self._text(command)
        async with self.inner.stream(text, label=label or _first_line(command)) as stream:
            yield stream

    def pipe_argv(self, command: str) -> Sequence[str] | None:
        return self.inner.pipe_argv(shlex.join([*self._exec, command])) if len(command) <= ARGUMENT_LIMIT else None

    async def _text(self, command: str) -> str:
        """Shell text for the engine's location that runs ``command`` in the container."""
        if len(command) <= ARGUMENT_LIMIT:
            return shlex.join([*self._exec, command])
        put = 'umask 77; f=$(mktemp) && cat >"$f" && printf %s "$f"'
        text = shlex.join([*self._exec, put])
        stored = await self.inner.run(text, stdin=command.encode(errors="surrogateescape"), label="send a command")
        path = stored.check("a command could not be sent into the container").out
        return shlex.join([*self._exec, f'f={shlex.quote(path)}; s=$(cat "$f"; echo .); rm -f "$f"; eval "${{s%.}}"'])


def _first_line(command: str) -> str:
    line = command.strip().split("\n", 1)[0]
    return line if len(line) <= 80 else f"{line[:77]}..."
