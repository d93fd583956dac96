# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a site says before anything is submitted: what it has, what is free, when a job would start. Pure text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Capacity:
    """What a location has, and what nobody takes of it. None: not known."""

    cores: float | None = None
    free_cores: float | None = None
    memory_mib: int | None = None


HOST = r"""ah_n=$(nproc 2>/dev/null)
ah_m=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo 2>/dev/null)
read -r ah_l ah_w </proc/loadavg 2>/dev/null
echo "capacity ${ah_n:--} ${ah_m:--} ${ah_l:--}"
"""
"""cores, memory in KiB, and the load of the last minute, of the host that runs it (proc(5))"""


def host(text: str) -> Capacity:
    """Read the answer to :data:`HOST`."""
    words = _line(text, "capacity ")
    if len(words) != 3:
        return Capacity()
    cores, memory, load = (_number(word) for word in words)
    free = None if cores is None or load is None else max(0.0, cores - load)
    return Capacity(cores, free, None if memory is None else int(memory) // 1024)


def slurm_cpus(partition: str | None) -> str:
    """Shell text that asks for the CPUs of a partition, or of all, of which some may be in several."""
    where = f" -p {shlex.quote(partition)}" if partition else ""
    return f"echo \"capacity $(sinfo -h{where} -o %C 2>/dev/null | tr '/\\n' '  ')\"\n"


def slurm(text: str) -> Capacity:
    """Read the answer to :func:`slurm_cpus`: allocated, idle, other and all CPUs (sinfo(1), %C)."""
    words = [_number(word) for word in _line(text, "capacity ")]
    if not words or len(words) % 4 or None in words:
        return Capacity()
    return Capacity(sum(n or 0 for n in words[3::4]), sum(n or 0 for n in words[1::4]))


def slurm_start(arguments: Sequence[str], script: str) -> str:
    """Shell text that lets sbatch say when a job would start; nothing is submitted (sbatch(1), --test-only).

    :param arguments: the command line of sbatch, without the script, which it reads from stdin.
    """
    return f"""ah_s=$(printf %s {shlex.quote(script)} | {shlex.join(arguments)} --test-only 2>&1)
ah_t=$(printf '%s\\n' "$ah_s" | sed -n 's/.* to start at \\([0-9T:-]*\\) .*/\\1/p' | head -n 1)
if [ -n "$ah_t" ] && ah_t=$(date -d "$ah_t" +%s); then echo "wait $((ah_t - $(date +%s)))"
else echo "said $(printf %s "$ah_s" | tr '\\n' ' ')"; fi
"""


def wait(text: str) -> tuple[float | None, str]:
    """Seconds until the job would start, and what the site said where it does not know."""
    words = _line(text, "wait ")
    seconds = _number(words[0].lstrip("-")) if words else None
    if seconds is None:
        return None, " ".join(_line(text, "said "))
    return (0.0 if words[0].startswith("-") else seconds), ""


def _line(text: str, start: str) -> list[str]:
    return next((line[len(start) :].split() for line in text.splitlines() if line.startswith(start)), [])


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
