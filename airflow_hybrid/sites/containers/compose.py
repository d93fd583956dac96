# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A compose project at a location: brought up for a DAG run, found again by its labels, taken away.

Works with Docker Compose (``docker compose``, ``docker-compose``) and with ``podman compose``, ``podman-compose``:
whichever is there first. All of them label what they make with ``com.docker.compose.project`` and ``.service``, so
what has to be found or removed is looked for with the engine itself and needs no compose file any more.
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
    Container,
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
"""a container's time to end by itself; the engines' own default"""


@dataclass(frozen=True)
class Engine:
    """The programs at a location: ``compose`` (None: there is none) and the engine's own (``docker``, ``podman``)."""

    compose: str | None
    program: str

    def __str__(self) -> str:
        return f"{self.compose or 'no compose'} on {self.program}"


async def find_engine(host: Host, wanted: str | None = None) -> Engine:
    """Which programs are there; the first compose whose engine answers.

    :param wanted: the hybrid file's choice, one of :data:`COMMANDS` (or another command line).
    :raises DeployError: no engine, or not the wanted one.
    """
    result = await host.run(_probe(wanted), timeout_s=60, label="look for a container engine")
    fields = result.out.splitlines()
    if result.exit_code == 0 and len(fields) == 2:
        return Engine(fields[0] or None, fields[1])
    raise DeployError(
        f"there is no {wanted or 'container engine that answers (docker, podman)'}" + last_words(result.err),
        where=host.title,
        hint="install Docker with its compose plugin, or podman and podman-compose, where the containers shall run",
        retryable=False,
    )


def _probe(wanted: str | None) -> str:
    """Shell text: prints the compose command and the engine, one a line."""
    commands = [wanted] if wanted else list(COMMANDS)
    tries = "".join(f"{c} version >/dev/null 2>&1 && t {shlex.quote(c)} {_engines(c)};" for c in commands)
    last = "exit 1" if wanted else "t '' docker podman; exit 1"
    # the docker program may talk to podman; only podman's own can run health checks
    same = (
        '[ "$e" = docker ] && docker version 2>/dev/null | grep -qi podman && podman info >/dev/null 2>&1 && e=podman'
    )
    found = f'{{ {same}; printf "%s\\n%s\\n" "$c" "$e"; exit 0; }}'
    return f"t() {{ c=$1; shift; for e; do $e info >/dev/null && {found}; done; }};{tries}{last}"


def _engines(command: str) -> str:
    """The engines that a compose command may work with, the likely one first."""
    name = command.rsplit("/", 1)[-1]
    if name.startswith("podman"):
        return "podman"
    if name.startswith("docker "):
        return "docker"
    return "docker podman"


class ComposeProject:
    """One compose project at a location.

    :param name: of the project; it is made of the DAG run's token, so that two runs do not meet.
    """

    def __init__(self, host: Host, engine: Engine, name: str) -> None:
        self.host = host
        self.engine = engine
        self.name = name

    # --- up -------------------------------------------------------------------------------------------------------

    async def check(self, files: Sequence[str], folder: str, services: Collection[str]) -> list[str]:
        """Let the tool read the files, and look for the services that steps are bound to; -> names of all services.

        :param files: paths at the location; ``folder``: what relative paths in them start at.
        :raises ConfigError: an error in a file, or a service that is not there.
        """
        result = await self._compose(files, folder, "config --services", timeout_s=60)
        if result.exit_code != 0:
            raise ConfigError(
                f"{self.engine.compose} does not accept the compose file" + last_words(result.err or result.out),
                where=", ".join(files),
                hint=f"try it with: {self.engine.compose} -f {files[0]} config",
            )
        found = sorted(line.strip() for line in result.out.splitlines() if line.strip())
        for service in services:
            if service not in found:
                raise ConfigError(
                    f"the compose file has no service {service!r}, to which a step is bound",
                    where=", ".join(files),
                    hint=f"its services are: {', '.join(found) or 'none'}",
                )
        return found

    async def up(self, files: Sequence[str], folder: str, options: Sequence[str], timeout_s: float) -> list[Container]:
        """Bring the project up and wait until all of its containers are ready.

        :raises DeployError: in the words of the tool, of the health check or of the container that ended.
        """
        deadline = time.monotonic() + timeout_s
        command = shlex.join(["up", "-d", *options])
        up = asyncio.ensure_future(self._compose(files, folder, command, timeout_s))
        try:
            while True:
                # a service that waits for another's health is started by the tool itself: look while it is at work
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
        hint = "see the compose file and the images it names"
        if "already in use" in text or "already allocated" in text or "address already in use" in text:
            hint = "leave `container_name` and fixed host ports out: each DAG run has a project of its own"
        return DeployError(
            f"{self.engine.compose} could not bring the services up" + last_words(text),
            where=self.host.title,
            hint=hint,
            retryable=not is_final(text),
        )

    async def _failed(self, containers: Sequence[Container], late: str = "") -> DeployError:
        return await did_not_come_up(self.host, self.engine.program, containers, "a service did not come up", late)

    # --- what is there ----------------------------------------------------------------------------------------------

    async def containers(self, *, check_health: bool = False) -> list[Container]:
        """The project's containers, by service and number.

        :param check_health: podman without systemd runs no health check by itself: run them now.
        """
        text = look_text(self.engine.program, self._ids(), check_health=check_health)
        result = await self._run(text, label=f"look at the containers of {self.name}")
        if result.exit_code != 0 and "no such" in result.err.lower():
            return await self.containers(check_health=check_health)  # one ended between the two commands
        result.check("the containers could not be looked at")
        return parse_containers(result.out)

    def _ids(self) -> str:
        return f"{self.engine.program} ps -aq --no-trunc --filter label={PROJECT}={self.name}"

    # --- down -------------------------------------------------------------------------------------------------------

    async def down(self) -> None:
        """Remove the project's containers, networks and volumes; what is not there is no error.

        :raises DeployError: something of it is still there.
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
        given = "".join(f" -f {shlex.quote(file)}" for file in files)
        text = f"cd {shlex.quote(folder)} && {self.engine.compose} -p {self.name}{given} {command}"
        return await self._run(text, timeout_s=timeout_s, label=f"{self.engine.compose} {command.split()[0]}")

    async def _run(self, text: str, *, timeout_s: float = 120.0, label: str) -> CommandResult:
        with answers_up_to(PROGRAM_BYTES):
            return await self.host.run(text, timeout_s=timeout_s, label=label)


async def projects(host: Host, engine: Engine, prefix: str) -> dict[str, list[str]]:
    """Compose projects whose name starts with ``prefix``: name -> what is there of each."""
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
    found: dict[str, list[str]] = {}
    for line in result.out.splitlines():
        name = line.strip()
        if name.startswith(prefix):
            found.setdefault(name, []).append("container")
    for name in re.findall(rf'"{re.escape(PROJECT)}":\s*"({re.escape(prefix)}[^"]*)"', result.out):
        found.setdefault(name, []).append("network or volume")
    return found


def project_folder(files: Sequence[str], given: str | None) -> str:
    """What relative paths of compose files start at (Compose: the folder of the first file)."""
    return given or posixpath.dirname(files[0])
