# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the jobs of a step used of what they asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import JobRecord

_SHORTEST_S = 0.01
"""times are known to a hundredth of a second: a quotient by less says nothing"""


@dataclass(frozen=True)
class Spread:
    """The distribution of a figure over jobs: what a box plot shows.

    :ivar count: jobs of which it is known.
    """

    count: int
    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Of the values that are known; None: of none."""
        known = sorted([value for value in values if value is not None])
        if not known:
            return None
        quarter, median, three_quarters = (quantile(known, share) for share in (0.25, 0.5, 0.75))
        return cls(len(known), known[0], quarter, median, three_quarters, known[-1])


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of the values are, interpolated.

    :param ordered: at least one value, ascending.
    """
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


@dataclass(frozen=True)
class StepUsage:
    """What the jobs of a step used that ran: the last try of each that is known.

    :ivar seconds: how long their commands ran; ``waited_s``: how long they were in the queue.
    :ivar cores: used at a time, on average (processor time by time); ``cores_asked``: the most that a job asked for.
    :ivar memory_mib: the most that a job used at a time; ``memory_asked_mib``: the most that a job asked for.
    :ivar cpu_s: processor time of all jobs together; ``core_s``: cores asked for (else one) by time, of all together.
    """

    step: str
    jobs: int
    seconds: Spread | None
    waited_s: Spread | None
    cores: Spread | None
    cores_asked: float | None
    memory_mib: Spread | None
    memory_asked_mib: float | None
    cpu_s: float
    core_s: float


def usage_of(step: str, records: Sequence[JobRecord]) -> StepUsage:
    """The use of resources by the jobs of a step, reused ones left out."""
    ran = [record for record in records if not record.reused]
    return StepUsage(
        step=step,
        jobs=len(ran),
        seconds=Spread.of([record.seconds for record in ran]),
        waited_s=Spread.of([record.waited_s for record in ran]),
        cores=Spread.of([cores_used(record) for record in ran]),
        cores_asked=_largest([record.cores for record in ran]),
        memory_mib=Spread.of([record.memory_used_mib for record in ran]),
        memory_asked_mib=_largest([record.memory_mib for record in ran]),
        cpu_s=round(sum([record.cpu_s or 0.0 for record in ran]), 2),
        core_s=round(sum([core_seconds(record) for record in ran]), 2),
    )


def core_seconds(record: JobRecord) -> float:
    """How many cores a job had, by the time that its command ran; a job that asks for none has one."""
    if record.reused or record.seconds is None:
        return 0.0
    return record.seconds * (record.cores or 1.0)


def cores_used(record: JobRecord) -> float | None:
    """Processor time by time; None: one of them is unknown."""
    if record.cpu_s is None or record.seconds is None or record.seconds < _SHORTEST_S:
        return None
    return record.cpu_s / record.seconds


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def last_tries(records: Iterable[JobRecord]) -> list[JobRecord]:
    """The last attempt of each job, in the order of their first ones."""
    last: dict[tuple[str, str], JobRecord] = {}
    for record in records:
        known = last.get((record.step, record.index))
        if known is None or record.order >= known.order:
            last[record.step, record.index] = record
    return list(last.values())


def is_success(record: JobRecord) -> bool:
    return record.state is JobState.COMPLETED


def count(records: Iterable[JobRecord], is_counted: Callable[[JobRecord], bool]) -> int:
    return sum(1 for record in records if is_counted(record))
