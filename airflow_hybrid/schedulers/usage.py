# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What elements used, as the accountings of queue systems tell it. Pure text.

Sources: sacct(1), ``MaxRSS`` and ``TotalCPU``; accounting(5) of Grid Engine, ``maxvmem``, ``ru_maxrss`` and ``cpu``;
pbs_resources(7B), ``mem`` and ``cput``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)([kmgtp]?)b?", re.IGNORECASE | re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,6})-)?(?:(\d{1,8}):)?(\d{1,8}):(\d{1,8}(?:\.\d{1,9})?)", re.ASCII)
_SECONDS = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)s?", re.ASCII)


@dataclass(frozen=True)
class Usage:
    """What an element used; None: unknown. An accounting that measured nothing says 0, which no element uses.

    :ivar memory_mib: the most memory at a time, rounded up; ``cpu_s``: processor time.
    """

    memory_mib: int | None = None
    cpu_s: float | None = None


def mebibytes(text: str, unit: str = "") -> int | None:
    """``4532kb``, ``1.21M``, ``5.016MB`` -> MiB, rounded up; None: nothing, or something else.

    :param unit: of a number without one.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    number = float(match[1]) * _UNITS[(match[2] or unit).lower()]
    return math.ceil(number / (1 << 20)) or None


def clock_s(text: str) -> float | None:
    """``00:01.234``, ``01:02:03``, ``1-02:03:04`` -> seconds; None: nothing, or something else."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds or None


def plain_s(text: str) -> float | None:
    """``0.013s``, ``12`` -> seconds; None: nothing, or something else."""
    match = _SECONDS.fullmatch(text)
    return (float(match[1]) or None) if match else None


def slurm_usage(rows: Sequence[str]) -> Iterator[tuple[str, Usage]]:
    """Usage of jobs that have ended, by the id of the job or element, from sacct's ``JobID|State|MaxRSS|TotalCPU``.

    The row of a job is followed by those of its steps (``5.batch``), which have the memory.
    """
    ended: dict[str, Usage] = {}
    for fields in (row.strip().split("|") for row in rows):
        if len(fields) != 4:
            continue
        job, _, step = fields[0].partition(".")
        if not step and fields[1].split(" ")[0] not in _NOT_ENDED:
            ended[job] = Usage(cpu_s=clock_s(fields[3]))
        elif step and job in ended:
            largest = max(ended[job].memory_mib or 0, mebibytes(fields[2]) or 0)
            ended[job] = Usage(largest or None, ended[job].cpu_s)
    yield from ended.items()


_NOT_ENDED = frozenset({"", "PENDING", "RUNNING", "REQUEUED", "RESIZING", "SUSPENDED"})


def sge_usage(tasks: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, Usage]]:
    """Usage by the id of the job or element, from qacct's facts about each task.

    ``maxvmem`` is address space, which is what Grid Engine limits (``h_vmem``). Where it was not measured, the largest
    process counts; Grid Engine 8.1 takes its KiB for bytes. A parallel environment without ``accounting_summary``
    (sge_pe(5)) leaves several records of one element, each about processes that ran at the same time.
    """
    used: dict[str, Usage] = {}
    for task in tasks:
        if not task.get("jobnumber", "").isdigit():
            continue
        resident = task.get("ru_maxrss", "")
        kibibytes = mebibytes(resident, "k")
        if resident.upper().endswith("B") and kibibytes is not None:
            kibibytes = _misread(resident)
        element = f"{task['jobnumber']}.{task['taskid']}" if task.get("taskid", "").isdigit() else task["jobnumber"]
        one = Usage(mebibytes(task.get("maxvmem", "")) or kibibytes, plain_s(task.get("cpu", "")))
        used[element] = _together(used.get(element, Usage()), one)
    yield from used.items()


def _together(one: Usage, other: Usage) -> Usage:
    """What two parts of an element used: the memory of the larger one, which may have been on another node."""
    memory = max(one.memory_mib or 0, other.memory_mib or 0)
    return Usage(memory or None, (one.cpu_s or 0.0) + (other.cpu_s or 0.0) or None)


def _misread(resident: str) -> int | None:
    """``4.688KB``, which is 4.688 MiB."""
    match = _SIZE.fullmatch(resident)
    return math.ceil(float(match[1]) * _UNITS[match[2].lower()] / 1024) if match else None


def pbs_usage(lines: Sequence[str]) -> Iterator[tuple[str, Usage]]:
    """Usage of jobs that have ended, by PBS' id of the job or element, from ``qstat -f``."""
    id_, facts = "", dict[str, str]()
    for line in [*lines, "Job Id: "]:
        if line.startswith("Job Id: "):
            if facts.get("job_state") in ("F", "X", "C"):
                memory = mebibytes(facts.get("resources_used.mem", ""))
                yield id_, Usage(memory, clock_s(facts.get("resources_used.cput", "")))
            id_, facts = line[8:].strip(), {}
        elif match := re.match(r"    (job_state|resources_used\.\w+) = (\S+)", line):
            facts[match[1]] = match[2]
