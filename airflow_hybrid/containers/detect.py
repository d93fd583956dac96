# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which container runtime a location has, and as which user containers run: one command, one answer. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from airflow_hybrid.containers.base import Runtime

WAIT_S = 30
"""how long a runtime may take to answer; one whose daemon hangs counts as unavailable"""


@dataclass(frozen=True)
class DetectedRuntime:
    """Which container runtime a location has.

    :ivar user: ``uid:gid`` there.
    :ivar runtime: name of the first usable runtime; None: there is none.
    :ivar unusable: ``(name, reason)`` of each runtime that was tried before and cannot be used.
    """

    user: str
    runtime: str | None = None
    version: tuple[int, ...] = ()
    rootless: bool = False
    unusable: tuple[tuple[str, str], ...] = ()


def command(runtimes: Iterable[Runtime]) -> str:
    """Shell text that looks for the first usable of some runtimes."""
    lines = ['echo "#user $(id -u):$(id -g)"', "ah_wait=; command -v timeout >/dev/null && ah_wait='timeout 30'"]
    lines[1] = lines[1].replace("30", str(WAIT_S))
    for runtime in runtimes:
        lines.append(
            f"if ! command -v {runtime.client} >/dev/null 2>&1; then echo '#no {runtime.name} is not on the PATH'\n"
            f"elif ah_x=$($ah_wait sh -c {shlex.quote(runtime.usable())} 2>&1 </dev/null); then\n"
            f'    echo "#yes {runtime.name} $(echo "$ah_x" | tail -n 1)"; echo "#end"; exit 0\n'
            f"else echo \"#no {runtime.name} $(echo \"$ah_x\" | tail -n 3 | tr '\\n' ' ')\"; fi"
        )
    return "\n".join([*lines, 'echo "#end"\n'])


def parse(text: str) -> DetectedRuntime:
    """:raises ValueError: the answer was cut off."""
    lines = [line for line in text.splitlines() if line.startswith("#")]
    if not lines or lines[-1] != "#end":
        raise ValueError("the answer was cut off")
    user, unusable = "", []
    for line in lines:
        kind, _, remainder = line.partition(" ")
        name, _, more = remainder.partition(" ")
        if kind == "#user":
            user = remainder
        elif kind == "#no":
            unusable.append((name, more.strip()))
        elif kind == "#yes":
            number, _, mode = more.partition(" ")
            version = tuple(int(part) for part in re.findall(r"\d+", number)[:3])
            return DetectedRuntime(user, name, version, mode.strip() == "rootless", tuple(unusable))
    return DetectedRuntime(user, unusable=tuple(unusable))
