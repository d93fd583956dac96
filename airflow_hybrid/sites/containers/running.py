# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Containers that run for a DAG run: started by ``docker run`` or ``podman run``, found by their labels, removed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid.errors import DeployError
from airflow_hybrid.sites.containers.inspect import (
    OWN_NUMBER,
    InspectedContainer,
    did_not_come_up,
    is_final,
    last_words,
    look_text,
    parse_containers,
)
from airflow_hybrid.sites.hosts.base import PROGRAM_BYTES, Host, answers_up_to
from airflow_hybrid.sites.patience.backoff import Backoff

POLL_S = 0.5
RUN_TIMEOUT_S = 300.0
KEEPER = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done"
"""what a container without a command runs: as process 1 the shell also reaps orphaned processes"""


@dataclass(frozen=True)
class ContainerSpec:
    """How a container is started.

    :ivar options: arguments of ``run``; ``command``: None: it waits.
    """

    image: str
    options: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None


class RunningContainers:
    """Containers of one engine.

    :param host: the engine's host; ``program``: ``docker`` or ``podman``.
    :param labels: labels that the containers get; ``found_by``: the ones by which they are found again.
    """

    def __init__(self, host: Host, program: str, labels: Mapping[str, str], found_by: Sequence[str]) -> None:
        self.host = host
        self.program = program
        self.labels = labels
        self._ids = shlex.join(
            [program, "ps", "-aq", "--no-trunc", *(f"--filter=label={key}={labels[key]}" for key in found_by)]
        )

    async def bring_up(self, names: Sequence[str], spec: ContainerSpec, timeout_s: float) -> list[InspectedContainer]:
        """Start the containers that are not running yet, and wait until all run (and are healthy).

        :raises DeployError: with the output of the engine, of the health check or of the container that ended.
        """
        backoff = Backoff(POLL_S, POLL_S, limit_s=timeout_s)
        for number, name in enumerate(names, 1):
            text = f"run {name}"
            with answers_up_to(PROGRAM_BYTES):
                result = await self.host.run(self._run_text(name, number, spec), timeout_s=RUN_TIMEOUT_S, label=text)
            if result.exit_code != 0:
                words = result.err or result.out
                raise DeployError(
                    f"{self.program} could not start a container of {spec.image}" + last_words(words),
                    where=self.host.title,
                    hint="check the options in `config`: they are those of `docker run`",
                    retryable=not is_final(words),
                )
        containers: list[InspectedContainer] = []
        async for _ in backoff:
            containers = await self.look(check_health=True)
            if ended := [c for c in containers if c.failed or c.status != "running"]:
                raise await did_not_come_up(self.host, self.program, ended, "the container does not keep running")
            if len(containers) == len(names) and all(c.ready for c in containers):
                return containers
        late = f"the container was not ready within {timeout_s:g} s"
        raise await did_not_come_up(self.host, self.program, containers, "", late)

    def _run_text(self, name: str, number: int, spec: ContainerSpec) -> str:
        labels = [f"--label={key}={value}" for key, value in {**self.labels, OWN_NUMBER: str(number)}.items()]
        argv = [self.program, "run", "-d", "-i", f"--name={name}", "--pull=never", *labels, *spec.options]
        if spec.command is not None:
            argv += [spec.image, *spec.command]
        elif any(option.startswith("--entrypoint") for option in spec.options):
            argv.append(spec.image)
        else:
            argv += ["--entrypoint=/bin/sh", spec.image, "-c", KEEPER]
        state = shlex.join([self.program, "inspect", "--type", "container", "--format", "{{.State.Status}}", name])
        remove = shlex.join([self.program, "rm", "-f", "-v", name])
        return (
            f'[ "$({state} 2>/dev/null)" = running ] || {{ {remove} >/dev/null 2>&1; {shlex.join(argv)} >/dev/null; }}'
        )

    async def look(self, *, check_health: bool = False) -> list[InspectedContainer]:
        """The containers that exist, running or not."""
        return await self._inspect(self._ids, check_health)

    async def named(self, names: Sequence[str]) -> list[InspectedContainer]:
        """Containers by id or name.

        :raises CommandError: one does not exist.
        """
        return await self._inspect(shlex.join(["echo", *names]), False)

    async def _inspect(self, ids: str, check_health: bool) -> list[InspectedContainer]:
        for again in (True, True, False):
            text = look_text(self.program, ids, check_health=check_health)
            with answers_up_to(PROGRAM_BYTES):
                result = await self.host.run(text, label="look at containers")
            if result.exit_code != 0 and "no such" in result.err.lower() and again and not ids.startswith("echo"):
                continue  # one ended between the two commands
            break
        result.check("the containers could not be inspected")
        return parse_containers(result.out)

    async def remove(self) -> None:
        """Remove the containers and their anonymous volumes; it is no error if there are none.

        :raises DeployError: one is still there.
        """
        text = f'ids=$({self._ids}) || exit; [ -z "$ids" ] || {self.program} rm -f -v $ids >/dev/null; '
        result = await self.host.run(
            text + f'[ -z "$({self._ids})" ]', timeout_s=RUN_TIMEOUT_S, label="remove containers"
        )
        if result.exit_code != 0:
            raise DeployError("the container could not be removed" + last_words(result.err), where=self.host.title)


async def labelled(host: Host, program: str, label: str) -> list[InspectedContainer]:
    """All containers, running or not, that have a label, whatever its value is."""
    return await RunningContainers(host, program, {}, ())._inspect(
        shlex.join([program, "ps", "-aq", "--no-trunc", f"--filter=label={label}"]), False
    )
