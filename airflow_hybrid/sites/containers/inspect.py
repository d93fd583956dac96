# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What docker and podman say about running containers: states as values, and the end of their logs for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.errors import DeployError
from airflow_hybrid.sites.hosts.base import Host

PROJECT, SERVICE, NUMBER = (f"com.docker.compose.{key}" for key in ("project", "service", "container-number"))
OWN_NUMBER = "airflow-hybrid/number"
LIMIT_HINT = "for more time, set `config.deployTimeout` (seconds)"
_FINAL = re.compile(
    r"manifest unknown|not found|no such (image|file)|access (to the resource is )?denied|name unknown|"
    r"did not resolve to|invalid reference",
    re.I,
)
"""messages of registries and engines about an image or a file that will be missing the next time, too"""
_NOISE = re.compile(
    r"^\s*$|^[0-9a-f]{64}$|level=warning|(Creat|Start|Pull|Recreat|Stopp|Remov|Wait|Runn)(e|ing|ed|able)+\b|Healthy\b"
)


@dataclass(frozen=True)
class InspectedContainer:
    """The state of one container, from its engine's ``inspect``.

    :ivar health: ``healthy``, ``unhealthy``, ``starting``; None: it has no health check.
    """

    id: str
    name: str
    service: str
    number: int
    status: str
    exit_code: int
    health: str | None
    check_output: str = ""
    out_of_memory: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """It is running and healthy, or it ran once and succeeded."""
        if self.status == "exited":
            return self.exit_code == 0
        return self.status == "running" and self.health in (None, "healthy")

    @property
    def failed(self) -> bool:
        return self.health == "unhealthy" or (self.status in ("exited", "dead", "stopped") and self.exit_code != 0)

    def __str__(self) -> str:
        # podman says `stopped` until it has cleaned up behind the container
        status = "exited" if self.status == "stopped" else self.status
        state = self.health if status == "running" and self.health else status
        named = f"{self.service} ({self.name})" if self.service else self.name
        ended = f", exit code {self.exit_code}" if self.exit_code or status == "exited" else ""
        return f"{named}: {state}{ended}" + (", out of memory" if self.out_of_memory else "")


def look_text(program: str, ids: str, *, check_health: bool = False) -> str:
    """Shell text that prints the JSON of containers.

    :param ids: shell text that prints their ids or names.
    :param check_health: run health checks now: podman without systemd does not run them on its own.
    """
    check = ""
    if check_health and program == "podman":
        check = f'for i in $ids; do {program} healthcheck run "$i" >/dev/null 2>&1; done;'
    return f'ids=$({ids}) || exit; {check} [ -z "$ids" ] || {program} inspect --type container $ids'


def parse_containers(text: str) -> list[InspectedContainer]:
    """From the JSON of ``docker inspect`` or ``podman inspect``."""
    containers = []
    for entry in json.loads(text or "[]"):
        labels: Mapping[str, str] = entry["Config"].get("Labels") or {}
        state: Mapping[str, Any] = entry["State"]
        health: Mapping[str, Any] = state.get("Health") or state.get("Healthcheck") or {}
        checked = bool((entry["Config"].get("Healthcheck") or {}).get("Test") not in (None, [], ["NONE"]))
        log = health.get("Log") or [{}]
        containers.append(
            InspectedContainer(
                id=entry["Id"],
                name=entry["Name"].lstrip("/"),
                service=labels.get(SERVICE, ""),
                number=_number(labels),
                status=str(state.get("Status", "")).lower(),
                exit_code=int(state.get("ExitCode") or 0),
                health=(str(health.get("Status") or "starting").lower() if checked else None),
                check_output=str(log[-1].get("Output") or ""),
                out_of_memory=bool(state.get("OOMKilled")),
                labels=labels,
            )
        )
    return sorted(containers, key=lambda c: (c.service, c.number))


def _number(labels: Mapping[str, str]) -> int:
    label = labels.get(NUMBER) or labels.get(OWN_NUMBER) or "1"
    return int(label) if label.isdigit() else 1


LOG_BYTES = 64 << 10
"""how much of a container's log is read for a message"""


async def did_not_come_up(
    host: Host, program: str, containers: Sequence[InspectedContainer], message: str, late: str = ""
) -> DeployError:
    """The error, with their logs, for containers that ended, are unhealthy or (``late``) were not ready in time."""
    lines = [f"  {container}" for container in containers]
    for container in containers[:3]:
        text = f"{program} logs --tail 10 {container.id} 2>&1 | tail -c {LOG_BYTES}"
        logs = await host.run(text, label="logs of a container")
        name = container.service or container.name
        lines += [f"  {name} | {line}" for line in logs.out.strip().splitlines()[-10:]]
        if container.check_output:
            lines += [f"  health check | {line}" for line in container.check_output.strip().splitlines()[-3:]]
    hint = LIMIT_HINT if late else "check its command, its health check and its log"
    return DeployError("\n".join([late or message, *lines]), where=host.title, hint=hint)


def is_final(text: str) -> bool:
    """Whether the end of an engine's output says that the next attempt would fail the same way.

    Progress messages do not count: they may say "not found" about what a killed attempt would have left.
    """
    return bool(_FINAL.search(last_words(text)))


def last_words(text: str) -> str:
    """The end of a tool's output, without progress messages."""
    lines = [line.rstrip() for line in text.splitlines() if not _NOISE.search(line)]
    lines = list(dict.fromkeys(lines))[-15:]
    return "".join(f"\n  {line}" for line in lines)
