# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A compose project at a location: started for a DAG run, found again by its labels, removed.

Works with the first of Docker Compose (``docker compose``, ``docker-compose``), ``podman compose`` and
``podman-compose`` that is installed. All of them label what they make with ``com.docker.compose.project`` and
``.service``, so finding and removing it needs only the engine, and no compose file.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
import shlex
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from airflow_hybrid import shell_text
from airflow_hybrid.errors import CommandError, ConfigError, DeployError
from airflow_hybrid.sites.containers.inspect import (
    LIMIT_HINT,
    PROJECT,
    InspectedContainer,
    did_not_come_up,
    is_final,
    last_words,
    look_text,
    parse_containers,
)
from airflow_hybrid.sites.hosts.base import PROGRAM_BYTES, CommandResult, Host, answers_up_to

COMMANDS = ("docker compose", "docker-compose", "podman compose", "podman-compose")
POLL_S = 1.0
STOP_S = 10
"""how long a container may take to stop; the engines' own default"""


@dataclass(frozen=True)
class Engine:
    """The programs at a location: ``compose`` (None: there is none) and the engine's own (``docker``, ``podman``)."""

    compose: str | None
    program: str

    def __str__(self) -> str:
        return f"{self.compose or 'no compose'} on {self.program}"


async def find_engine(host: Host, command: str | None = None) -> Engine:
    """The programs at a location: the first compose command whose engine answers.

    :param command: the hybrid file's choice, one of :data:`COMMANDS` (or another command line).
    :raises DeployError: there is no engine, or the chosen one is unavailable.
    """
    result = await host.run(_probe(command), timeout_s=60, label="look for a container engine")
    fields = result.out.splitlines()
    if result.exit_code == 0 and len(fields) == 2:
        return Engine(fields[0] or None, fields[1])
    raise DeployError(
        f"there is no {command or 'container engine that answers (docker, podman)'}" + last_words(result.err),
        where=host.title,
        hint="install Docker with its compose plugin, or podman and podman-compose, where the containers are to run",
        retryable=False,
    )


def _probe(command: str | None) -> str:
    """Shell text that prints the compose command and the engine, each on a line."""
    commands = [command] if command else list(COMMANDS)
    tries = "".join(f"{c} version >/dev/null 2>&1 && t {shlex.quote(c)} {_engines(c)};" for c in commands)
    last = "exit 1" if command else "t '' docker podman; exit 1"
    # the program `docker` may talk to podman; only `podman` itself can run health checks
    same = (
        '[ "$e" = docker ] && docker version 2>/dev/null | grep -qi podman && podman info >/dev/null 2>&1 && e=podman'
    )
    report = f'{{ {same}; printf "%s\\n%s\\n" "$c" "$e"; exit 0; }}'
    return f"t() {{ c=$1; shift; for e; do $e info >/dev/null && {report}; done; }};{tries}{last}"


def _engines(command: str) -> str:
    """The engines that a compose command may work with, the likeliest first."""
    name = command.rsplit("/", 1)[-1]
    if name.startswith("podman"):
        return "podman"
    if name.startswith("docker "):
        return "docker"
    return "docker podman"


class ComposeProject:
    """One compose project at a location.

    :param name: of the project; it contains the DAG run's token, so that two runs have two projects.
    """

    def __init__(self, host: Host, engine: Engine, name: str) -> None:
        self.host = host
        self.engine = engine
        self.name = name

    # --- up -------------------------------------------------------------------------------------------------------

    async def check(self, files: Sequence[str], folder: str, services: Collection[str]) -> list[str]:
        """Let the tool read the files, and look for the services that steps are bound to; -> names of all services.

        :param files: paths at the location; ``folder``: the base of relative paths in them.
        :raises ConfigError: a file has an error, or a service is missing.
        """
        result = await self._compose(files, folder, "config --services", timeout_s=60)
        if result.exit_code != 0:
            raise ConfigError(
                f"{self.engine.compose} does not accept the compose file" + last_words(result.err or result.out),
                where=", ".join(files),
                hint=f"try: {self.engine.compose} -f {files[0]} config",
            )
        names = sorted(line.strip() for line in result.out.splitlines() if line.strip())
        for service in services:
            if service not in names:
                raise ConfigError(
                    f"the compose file has no service {service!r}, to which a step is bound",
                    where=", ".join(files),
                    hint=f"its services are: {', '.join(names) or 'none'}",
                )
        return names

    async def up(
        self, files: Sequence[str], folder: str, options: Sequence[str], timeout_s: float
    ) -> list[InspectedContainer]:
        """Start the project and wait until all of its containers are ready.

        :raises DeployError: with the output of the tool, of the health check or of the container that ended.
        """
        deadline = time.monotonic() + timeout_s
        command = shlex.join(["up", "-d", *options])
        up = asyncio.ensure_future(self._compose(files, folder, command, timeout_s))
        try:
            while True:
                # compose itself starts a service that waits for another one's health: look while it is working
                await asyncio.wait([up], timeout=POLL_S)
                if up.done() and up.result().exit_code != 0:
                    raise self._refused(up.result())
                containers = await self.containers(check_health=True)
                if failed := [c for c in containers if c.failed]:
                    raise await self._failed(failed)
                if up.done() and containers and all(c.ready for c in containers):
                    return containers
                if up.done() and not containers:
                    raise self._refused(up.result())
                if time.monotonic() > deadline:
                    waiting = [c for c in containers if not c.ready]
                    raise await self._failed(waiting, f"not all services were ready within {timeout_s:g} s")
                if up.done():
                    await asyncio.sleep(POLL_S)
        except CommandError as error:
            raise DeployError(f"{error.message}", where=error.where, hint=LIMIT_HINT) from None
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)

    def _refused(self, result: CommandResult) -> DeployError:
        text = result.err + result.out
        hint = "check the compose file and the images that it names"
        if "already in use" in text or "already allocated" in text or "address already in use" in text:
            hint = "leave out `container_name` and fixed host ports: each DAG run has a project of its own"
        return DeployError(
            f"{self.engine.compose} could not start the services" + last_words(text),
            where=self.host.title,
            hint=hint,
            retryable=not is_final(text),
        )

    async def _failed(self, containers: Sequence[InspectedContainer], late: str = "") -> DeployError:
        return await did_not_come_up(self.host, self.engine.program, containers, "a service did not start", late)

    # --- what is there ----------------------------------------------------------------------------------------------

    async def containers(self, *, check_health: bool = False) -> list[InspectedContainer]:
        """The project's containers, by service and number.

        :param check_health: run health checks now: podman without systemd does not run them on its own.
        """
        text = look_text(self.engine.program, self._ids(), check_health=check_health)
        result = await self._run(text, label=f"look at the containers of {self.name}")
        if result.exit_code != 0 and "no such" in result.err.lower():
            return await self.containers(check_health=check_health)  # one ended between the two commands
        result.check("the containers could not be inspected")
        return parse_containers(result.out)

    def _ids(self) -> str:
        return f"{self.engine.program} ps -aq --no-trunc --filter label={PROJECT}={self.name}"

    # --- down -------------------------------------------------------------------------------------------------------

    async def down(self) -> None:
        """Remove the project's containers, networks and volumes; it is no error if there are none.

        :raises DeployError: something is still there.
        """
        result = await self._run(self._down_text(), timeout_s=300, label=f"remove {self.name}")
        if result.exit_code != 0:
            raise DeployError(f"{self.name} could not be removed" + last_words(result.err), where=self.host.title)

    def _down_text(self) -> str:
        values = {
            "ENGINE": self.engine.program,
            "LABEL": f"label={PROJECT}={self.name}",
            "STOP_S": str(STOP_S),
            "NAME": self.name,
        }
        return shell_text.filled(__package__, "compose_down.sh", values)

    # --- commands ---------------------------------------------------------------------------------------------------

    async def _compose(self, files: Sequence[str], folder: str, command: str, timeout_s: float) -> CommandResult:
        file_options = "".join(f" -f {shlex.quote(file)}" for file in files)
        text = f"cd {shlex.quote(folder)} && {self.engine.compose} -p {self.name}{file_options} {command}"
        return await self._run(text, timeout_s=timeout_s, label=f"{self.engine.compose} {command.split()[0]}")

    async def _run(self, text: str, *, timeout_s: float = 120.0, label: str) -> CommandResult:
        with answers_up_to(PROGRAM_BYTES):
            return await self.host.run(text, timeout_s=timeout_s, label=label)


async def projects(host: Host, engine: Engine, prefix: str) -> dict[str, list[str]]:
    """Compose projects whose name starts with ``prefix``: name -> kinds of the objects of each."""
    program = engine.program
    label = '{{index .Config.Labels "' + PROJECT + '"}}'
    text = (
        f"ids=$({program} ps -aq --no-trunc --filter label={PROJECT}) || exit;"
        f'[ -z "$ids" ] || {program} inspect --type container --format {shlex.quote(label)} $ids;'
        f"for kind in network volume; do ids=$({program} $kind ls -q --filter label={PROJECT}) || exit;"
        f'[ -z "$ids" ] || {program} $kind inspect $ids; done'
    )
    with answers_up_to(PROGRAM_BYTES):
        result = await host.run(text, label="look for compose projects")
    result.check("the compose projects could not be listed")
    contents_by_name: dict[str, list[str]] = {}
    for line in result.out.splitlines():
        name = line.strip()
        if name.startswith(prefix):
            contents_by_name.setdefault(name, []).append("container")
    for name in re.findall(rf'"{re.escape(PROJECT)}":\s*"({re.escape(prefix)}[^"]*)"', result.out):
        contents_by_name.setdefault(name, []).append("network or volume")
    return contents_by_name


def project_folder(files: Sequence[str], configured: str | None) -> str:
    """The base of relative paths in compose files (by default, as in compose, the folder of the first file)."""
    return configured or posixpath.dirname(files[0])
