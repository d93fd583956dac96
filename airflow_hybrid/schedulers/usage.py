# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What elements used, as the accountings of queue systems tell it. Pure text.

Sources: sacct(1), ``MaxRSS``, ``NTasks``, ``TRESUsageInTot`` and ``TotalCPU``; accounting(5) of Grid Engine,
``maxvmem``, ``ru_maxrss`` and ``cpu``; pbs_resources(7B), ``mem`` and ``cput``.
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

    :ivar memory_mib: the most memory at a time, rounded up: of its largest part, where it has several (steps, nodes);
        ``cpu_s``: processor time.
    :ivar parts_mib: the sum of what its parts used at most, for jobs whose parts run at the same time. None if it is
        unknown of one of them.
    """

    memory_mib: int | None = None
    cpu_s: float | None = None
    parts_mib: int | None = None


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
    """Usage of jobs that have ended, by the id of the job or element, from sacct's :data:`SLURM_FIELDS`.

    The row of a job is followed by those of its steps (``5.batch``), which have the memory.
    """
    cpu_of: dict[str, float | None] = {}
    steps_of: dict[str, list[int | None]] = {}  # MiB; 0: a short one, which was not sampled
    for row in rows:
        fields = row.strip().split("|")
        if len(fields) == len(SLURM_FIELDS) - 1:  # sacct does not know the last one
            fields.append("")
        if len(fields) != len(SLURM_FIELDS):
            continue
        job, _, step = fields[0].partition(".")
        if not step and fields[1].split(" ")[0] not in _NOT_ENDED:
            cpu_of[job], steps_of[job] = clock_s(fields[3]), []
        elif step and job in cpu_of:
            steps_of[job].append(_step_mib(*fields[2:]))
    for job, cpu_s in cpu_of.items():
        known = [memory for memory in steps_of[job] if memory is not None]
        if len(known) < len(steps_of[job]):
            known = []  # nobody can say that the others were larger
        yield job, Usage(max(known, default=0) or None, cpu_s, sum(known) or None)


def _step_mib(largest_task: str, _cpu: str, tasks: str, all_tasks: str) -> int | None:
    """Memory of all tasks of a step: ``MaxRSS`` is that of the largest one, ``TRESUsageInTot`` the sum of all.

    :returns: None: several tasks used an amount that is unknown.
    """
    if tasks in ("", "1"):
        return mebibytes(largest_task) or 0
    amounts = dict(amount.partition("=")[::2] for amount in all_tasks.split(","))
    return mebibytes(amounts.get("mem", ""))


SLURM_FIELDS = ("JobID", "State", "MaxRSS", "TotalCPU", "NTasks", "TRESUsageInTot")


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
        all_processes = mebibytes(task.get("maxvmem", ""))
        one = Usage(all_processes or kibibytes, plain_s(task.get("cpu", "")), all_processes)
        used[element] = _together(used[element], one) if element in used else one
    yield from used.items()


def _together(one: Usage, other: Usage) -> Usage:
    """What two parts of an element used: the memory of the larger one, which may have been on another node."""
    memory = max(one.memory_mib or 0, other.memory_mib or 0)
    is_known = one.parts_mib is not None and other.parts_mib is not None
    parts_mib = (one.parts_mib or 0) + (other.parts_mib or 0) if is_known else None
    return Usage(memory or None, (one.cpu_s or 0.0) + (other.cpu_s or 0.0) or None, parts_mib)


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
                yield id_, Usage(memory, clock_s(facts.get("resources_used.cput", "")), memory)
            id_, facts = line[8:].strip(), {}
        elif match := re.match(r"    (job_state|resources_used\.\w+) = (\S+)", line):
            facts[match[1]] = match[2]
