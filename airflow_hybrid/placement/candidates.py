# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A candidate location with what is known about it, and a choice."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_hybrid.model import Resources

NOMINAL_BYTES_PER_S = 50e6
"""assumed where no transfer has been measured yet"""


@dataclass(frozen=True)
class Candidate:
    """A location that may be chosen. None means unknown, or not asked for.

    :ivar service: of the binding's target, where it names one.
    :ivar missing_bytes: bytes of the job's inputs that are not there yet.
    :ivar bytes_per_s: measured rate of transfers to it.
    :ivar cores: all cores of the location.
    :ivar free_cores: cores that nobody uses, as far as is known.
    :ivar memory_mib: all memory of the location.
    :ivar taken_cores: cores that our jobs use there, or will use.
    :ivar jobs: number of our jobs there; ``max_jobs``: how many are allowed.
    :ivar wait_s: the site's own estimate of when such a job would start.
    :ivar price: per core and hour, in the currency of the hybrid file.
    """

    deployment: str
    location: str
    missing_bytes: int = 0
    bytes_per_s: float | None = None
    cores: float | None = None
    free_cores: float | None = None
    memory_mib: int | None = None
    taken_cores: float = 0.0
    jobs: int = 0
    max_jobs: int | None = None
    wait_s: float | None = None
    price: float | None = None
    service: str | None = None

    @property
    def title(self) -> str:
        name = f"{self.deployment}/{self.service}" if self.service else self.deployment
        return f"{name} ({self.location})"

    @property
    def seconds(self) -> float:
        """Time to transfer the missing bytes."""
        return self.missing_bytes / (self.bytes_per_s or NOMINAL_BYTES_PER_S)

    def can_hold(self, resources: Resources) -> bool:
        """Whether the job fits an empty location."""
        return not (
            (self.cores is not None and resources.all_cores > self.cores)
            or (self.memory_mib is not None and resources.ram_mib > self.memory_mib)
        )

    def has_room(self, resources: Resources) -> bool:
        """Whether the job fits now, as far as is known."""
        fits = self.free_cores is None or resources.all_cores <= self.free_cores
        return fits and (self.max_jobs is None or self.jobs < self.max_jobs)


@dataclass(frozen=True)
class Choice:
    """Which candidate (its index), and why, in one line."""

    index: int
    reason: str
