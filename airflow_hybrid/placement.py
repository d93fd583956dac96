# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Choose the location of a job among those that its binding allows. Pure: values in, a choice and its reason out.

In order: capacity (a location that can never hold the job is out, one with room now goes before a busy one), then the
time that the missing bytes would take, then the order of the binding's targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Resources

DEFAULT_POLICY = "data_locality"
NOMINAL_BYTES_PER_S = 50e6
"""assumed where no transfer has been measured yet"""


@dataclass(frozen=True)
class Candidate:
    """A location that may be chosen.

    :ivar missing_bytes: of the job's inputs, how much is not there yet.
    :ivar bytes_per_s: measured on the way there; None: not yet.
    :ivar cores: all cores of the location; None: not known, or a scheduler's business.
    :ivar free_cores: those not taken by jobs of ours.
    :ivar memory_mib: all memory of the location.
    :ivar taken_cores: those that this batch of jobs was already given there.
    """

    deployment: str
    location: str
    missing_bytes: int = 0
    bytes_per_s: float | None = None
    cores: float | None = None
    free_cores: float | None = None
    memory_mib: int | None = None
    taken_cores: float = 0.0

    @property
    def title(self) -> str:
        return f"{self.deployment} ({self.location})"

    @property
    def seconds(self) -> float:
        """Time to bring the missing bytes."""
        return self.missing_bytes / (self.bytes_per_s or NOMINAL_BYTES_PER_S)

    def can_hold(self, resources: Resources) -> bool:
        """Whether the job fits an empty location."""
        return not (
            (self.cores is not None and resources.all_cores > self.cores)
            or (self.memory_mib is not None and resources.ram_mib > self.memory_mib)
        )

    def has_room(self, resources: Resources) -> bool:
        """Whether the job fits now, as far as is known."""
        return self.free_cores is None or resources.all_cores <= self.free_cores


@dataclass(frozen=True)
class Choice:
    """Which candidate (its index), and why, in one line."""

    index: int
    reason: str


Policy = Callable[[Sequence[tuple[int, Candidate]]], Choice]
"""Chooses among candidates that can take the job equally well; never called with none."""


def data_locality(candidates: Sequence[tuple[int, Candidate]]) -> Choice:
    """Where the inputs arrive first; among equals the least used, then the binding's order (StreamFlow's default)."""
    index, best = min(candidates, key=lambda item: (item[1].seconds, item[1].taken_cores, item[0]))
    if best.missing_bytes == 0:
        why = "all inputs are there"
    else:
        rate = "" if best.bytes_per_s is None else f" at {_size(best.bytes_per_s)}/s"
        why = f"{_size(best.missing_bytes)} to move{rate}, about {best.seconds:.0f} s"
    others = [c for i, c in candidates if i != index]
    if others:
        rival = min(others, key=lambda c: c.seconds)
        equal = rival.seconds == best.seconds
        why += ", least used" if equal else f"; {rival.title}: {_size(rival.missing_bytes)} to move"
    return Choice(index, why)


def in_order(candidates: Sequence[tuple[int, Candidate]]) -> Choice:
    """The first target of the binding that can take the job."""
    return Choice(candidates[0][0], "first in the binding that can take the job")


def spread(candidates: Sequence[tuple[int, Candidate]]) -> Choice:
    """The location with the most free cores; those of unknown size last."""
    index, best = max(candidates, key=lambda item: (-1 if item[1].free_cores is None else item[1].free_cores, -item[0]))
    free = "unknown" if best.free_cores is None else f"{best.free_cores:g}"
    return Choice(index, f"free cores: {free}")


POLICIES: Mapping[str, Policy] = {"data_locality": data_locality, "in_order": in_order, "spread": spread}


def choose(candidates: Sequence[Candidate], resources: Resources | None = None, policy: str | None = None) -> Choice:
    """Pick one of ``candidates``, which stand in the order of the binding's targets.

    :param resources: what the job asks for.
    :param policy: a name in :data:`POLICIES`; default ``data_locality``.
    :raises ConfigError: no candidate, none that could ever hold the job, or no such policy.
    """
    needs = resources or Resources()
    chosen = POLICIES.get(policy or DEFAULT_POLICY)
    if chosen is None:
        raise ConfigError(f"there is no policy {policy!r}", hint=f"there are: {', '.join(POLICIES)}")
    if not candidates:
        raise ConfigError("the binding has no location")
    able = [(index, c) for index, c in enumerate(candidates) if c.can_hold(needs)]
    if not able:
        raise ConfigError(
            f"no location can hold a job of {needs.cores:g} cores and {needs.ram_mib} MiB: "
            + ", ".join(f"{c.title} has {_has(c)}" for c in candidates)
        )
    ready = [(index, c) for index, c in able if c.has_room(needs)]
    choice = chosen(ready or able)
    return choice if ready else Choice(choice.index, f"all are busy; {choice.reason}")


def _has(candidate: Candidate) -> str:
    cores = "unknown" if candidate.cores is None else f"{candidate.cores:g}"
    memory = "" if candidate.memory_mib is None else f" and {candidate.memory_mib} MiB"
    return f"{cores} cores{memory}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
