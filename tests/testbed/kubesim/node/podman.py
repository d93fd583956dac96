# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands of podman, which runs the pods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from ..objects import Key

Inspected = dict[str, Any]
"""what ``podman inspect`` says of a container"""
_NETWORKS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    code: int
    out: str
    err: str


async def podman(*arguments: str, stdin: bytes | None = None) -> Ended:
    """Run podman to its end."""
    process = await asyncio.create_subprocess_exec(
        "podman", *arguments,
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin)
    return Ended(await process.wait(), out.decode(errors="replace"), err.decode(errors="replace"))


def pod_name(key: Key) -> str:
    """podman's name of a pod."""
    return f"{key.namespace}.{key.name}"


def container_name(key: Key, container: str) -> str:
    """podman's name of a container of a pod."""
    return f"{pod_name(key)}-{container}"


async def play(manifest: str, *, network: bool) -> Ended:
    """Start a pod."""
    without = () if network else ("--network", "none")
    return await podman("kube", "play", *without, "--log-driver", "k8s-file", "-", stdin=manifest.encode())


async def remove_pod(key: Key, grace_s: int = 0) -> None:
    """End a pod, if it is there, and remove it."""
    await podman("pod", "rm", "-f", "-t", str(grace_s), pod_name(key))


async def has_image(image: str) -> bool:
    """Whether an image is here."""
    return (await podman("image", "exists", image)).code == 0


async def has_container(name: str) -> bool:
    """Whether a container has been made."""
    return (await podman("container", "exists", name)).code == 0


async def inspect(name: str) -> Inspected | None:
    """What podman says of a container; None: it is not there."""
    done = await podman("inspect", "--type", "container", name)
    if done.code:
        return None
    found: list[Inspected] = json.loads(done.out)
    return found[0]


async def address(key: Key) -> str | None:
    """The address of a pod, if it has one."""
    infra = await podman("pod", "inspect", pod_name(key), "--format", "{{.InfraContainerID}}")
    if infra.code:
        return None
    return (await podman("inspect", infra.out.strip(), "--format", _NETWORKS)).out.strip() or None


async def deaths() -> AsyncIterator[str]:
    """Names of containers that have ended just now, without an end: one process tells of all."""
    while True:
        process = await asyncio.create_subprocess_exec(
            "podman", "events", "--stream", "--filter", "event=died", "--format", "{{.Name}}",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        while line := await process.stdout.readline():
            yield line.decode().strip()
        await process.wait()
        await asyncio.sleep(1)
