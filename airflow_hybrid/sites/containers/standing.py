# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Containers that stand for a DAG run: made by ``docker run`` or ``podman run``, found by their labels, removed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid.errors import DeployError
from airflow_hybrid.sites.containers.inspect import (
    OWN_NUMBER,
    Container,
    did_not_come_up,
    is_final,
    last_words,
    look_text,
    parse_containers,
)
from airflow_hybrid.sites.hosts.backoff import Backoff
from airflow_hybrid.sites.hosts.base import PROGRAM_BYTES, Host, answers_up_to

POLL_S = 0.5
RUN_TIMEOUT_S = 300.0
KEEPER = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done"
"""what a container runs that was given nothing to run: as process 1 the shell also reaps what others leave"""


@dataclass(frozen=True)
class Wish:
    """A container as it is to be.

    :ivar options: arguments of ``run``; ``command``: None: it waits.
    """

    image: str
    options: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None


class Standing:
    """Containers of one engine.

    :param host: where the engine is; ``program``: ``docker`` or ``podman``.
    :param labels: that they are given, and ``found_by``: those of them by which they are found again.
    """

    def __init__(self, host: Host, program: str, labels: Mapping[str, str], found_by: Sequence[str]) -> None:
        self.host = host
        self.program = program
        self.labels = labels
        self._ids = shlex.join(
            [program, "ps", "-aq", "--no-trunc", *(f"--filter=label={key}={labels[key]}" for key in found_by)]
        )

    async def bring_up(self, names: Sequence[str], wish: Wish, timeout_s: float) -> list[Container]:
        """Make the containers that do not run yet, and wait until all run (and are healthy).

        :raises DeployError: in the words of the engine, of the health check or of the container that ended.
        """
        backoff = Backoff(POLL_S, POLL_S, limit_s=timeout_s)
        for number, name in enumerate(names, 1):
            text = f"run {name}"
            with answers_up_to(PROGRAM_BYTES):
                result = await self.host.run(self._run_text(name, number, wish), timeout_s=RUN_TIMEOUT_S, label=text)
            if result.exit_code != 0:
                said = result.err or result.out
                raise DeployError(
                    f"{self.program} could not start a container of {wish.image}" + last_words(said),
                    where=self.host.title,
                    hint="see the options in `config`: they are those of `docker run`",
                    retryable=not is_final(said),
                )
        found: list[Container] = []
        async for _ in backoff:
            found = await self.look(check_health=True)
            if ended := [c for c in found if c.failed or c.status != "running"]:
                raise await did_not_come_up(self.host, self.program, ended, "the container does not stay up")
            if len(found) == len(names) and all(c.ready for c in found):
                return found
        late = f"the container was not ready within {timeout_s:g} s"
        raise await did_not_come_up(self.host, self.program, found, "", late)

    def _run_text(self, name: str, number: int, wish: Wish) -> str:
        labels = [f"--label={key}={value}" for key, value in {**self.labels, OWN_NUMBER: str(number)}.items()]
        argv = [self.program, "run", "-d", "-i", f"--name={name}", "--pull=never", *labels, *wish.options]
        if wish.command is not None:
            argv += [wish.image, *wish.command]
        elif any(option.startswith("--entrypoint") for option in wish.options):
            argv.append(wish.image)
        else:
            argv += ["--entrypoint=/bin/sh", wish.image, "-c", KEEPER]
        state = shlex.join([self.program, "inspect", "--type", "container", "--format", "{{.State.Status}}", name])
        remove = shlex.join([self.program, "rm", "-f", "-v", name])
        return (
            f'[ "$({state} 2>/dev/null)" = running ] || {{ {remove} >/dev/null 2>&1; {shlex.join(argv)} >/dev/null; }}'
        )

    async def look(self, *, check_health: bool = False) -> list[Container]:
        """Those that are there, running or not."""
        return await self._inspect(self._ids, check_health)

    async def named(self, names: Sequence[str]) -> list[Container]:
        """Containers by id or name.

        :raises CommandError: one is not there.
        """
        return await self._inspect(shlex.join(["echo", *names]), False)

    async def _inspect(self, ids: str, check_health: bool) -> list[Container]:
        for again in (True, True, False):
            text = look_text(self.program, ids, check_health=check_health)
            with answers_up_to(PROGRAM_BYTES):
                result = await self.host.run(text, label="look at containers")
            if result.exit_code != 0 and "no such" in result.err.lower() and again and not ids.startswith("echo"):
                continue  # one ended between the two commands
            break
        result.check("the containers could not be looked at")
        return parse_containers(result.out)

    async def remove(self) -> None:
        """Remove them, and their volumes without a name; none is no error.

        :raises DeployError: one is still there.
        """
        text = f'ids=$({self._ids}) || exit; [ -z "$ids" ] || {self.program} rm -f -v $ids >/dev/null; '
        result = await self.host.run(
            text + f'[ -z "$({self._ids})" ]', timeout_s=RUN_TIMEOUT_S, label="remove containers"
        )
        if result.exit_code != 0:
            raise DeployError("the container could not be removed" + last_words(result.err), where=self.host.title)


async def of_runs(host: Host, program: str, label: str) -> list[Container]:
    """All containers, running or not, that have a label, whatever its value."""
    return await Standing(host, program, {}, ())._inspect(
        shlex.join([program, "ps", "-aq", "--no-trunc", f"--filter=label={label}"]), False
    )
