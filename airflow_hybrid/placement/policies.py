# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Policies: which of several suitable candidates gets a job. Pure.

A package adds a policy by a subclass of :class:`Policy` and an entry point in the group ``airflow_hybrid.policies``.
The entry point's name is the policy's type in the hybrid file; ``scheduling.policies.<name>.config`` are its arguments.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

from airflow_hybrid.amounts import counted, size
from airflow_hybrid.model import Resources
from airflow_hybrid.placement.candidates import Candidate, Choice

DEFAULT_POLICY = "data_locality"
LOAD, WAIT = "load", "wait"
"""what a policy may ask the sites for: their cores and free cores; their estimate of the time until a job starts"""
_FAR_S = 1e9
Candidates = Sequence[tuple[int, Candidate]]
"""index among the binding's locations, and location; never none"""


class Policy(abc.ABC):
    """Picks one of several candidates.

    :cvar needs: what the sites are asked for first (:data:`LOAD`, :data:`WAIT`), once per group of jobs and place.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    @abc.abstractmethod
    def choose(self, candidates: Candidates, resources: Resources) -> Choice:
        """Pick a candidate by its index, and give the reason in one line.

        :param candidates: those that could hold the job, in the order of the binding; busy ones are left out unless
            all are busy.
        :param resources: what the job asks for.
        """


class DataLocality(Policy):
    """Where the inputs arrive first; then the least used; then the binding's order (StreamFlow's default)."""

    def choose(self, candidates: Candidates, resources: Resources) -> Choice:
        index, best = min(candidates, key=lambda item: (item[1].seconds, item[1].taken_cores, item[0]))
        if best.missing_bytes == 0:
            why = "all inputs are there"
        else:
            rate = "" if best.bytes_per_s is None else f" at {size(best.bytes_per_s)}/s"
            why = f"{size(best.missing_bytes)} to move{rate}, about {best.seconds:.0f} s"
        others = [c for i, c in candidates if i != index]
        if others:
            rival = min(others, key=lambda c: c.seconds)
            equal = rival.seconds == best.seconds
            why += ", least used" if equal else f"; {rival.title}: {size(rival.missing_bytes)} to move"
        return Choice(index, why)


class InOrder(Policy):
    """The first target of the binding that can take the job."""

    def choose(self, candidates: Candidates, resources: Resources) -> Choice:
        return Choice(candidates[0][0], "first in the binding that can take the job")


class Spread(Policy):
    """The location with the most free cores; locations of unknown size come last."""

    needs = frozenset({LOAD})

    def choose(self, candidates: Candidates, resources: Resources) -> Choice:
        index, best = max(candidates, key=lambda item: (_or(item[1].free_cores, -1.0), -item[0]))
        free = "unknown" if best.free_cores is None else f"{best.free_cores:g}"
        return Choice(index, f"free cores: {free}")


class Load(Policy):
    """The location with the lowest load; locations of unknown load come last, by the number of our jobs."""

    needs = frozenset({LOAD})

    def choose(self, candidates: Candidates, resources: Resources) -> Choice:
        index, best = min(candidates, key=lambda item: (_or(_load(item[1]), _FAR_S), item[1].jobs, item[0]))
        load = _load(best)
        if load is None:
            return Choice(index, f"load unknown, {best.jobs} of our jobs there")
        return Choice(
            index, f"{load:.0%} of {counted(best.cores or 0, 'core')} taken" + _rivals(index, candidates, _load_words)
        )


class QueueWait(Policy):
    """Where the job starts first, by the site's own estimate and the time to transfer its inputs; unknown last."""

    needs = frozenset({LOAD, WAIT})

    def choose(self, candidates: Candidates, resources: Resources) -> Choice:
        def start_s(item: tuple[int, Candidate]) -> tuple[float, float, int]:
            wait = item[1].wait_s
            return (_FAR_S if wait is None else max(wait, item[1].seconds), item[1].taken_cores, item[0])

        index, best = min(candidates, key=start_s)
        if best.wait_s is None:
            return Choice(index, "no site says when the job would start")
        why = f"starts in about {best.wait_s:.0f} s by the site's own estimate"
        if best.missing_bytes:
            why += f", {size(best.missing_bytes)} to move"
        return Choice(index, why + _rivals(index, candidates, _wait_words))


class Cost(Policy):
    """The cheapest by ``price_per_core_hour``; then as :class:`DataLocality`; locations without a price come last."""

    def choose(self, candidates: Candidates, resources: Resources) -> Choice:
        cheapest = min(_or(c.price, _FAR_S) for _, c in candidates)
        equal = [(i, c) for i, c in candidates if _or(c.price, _FAR_S) == cheapest]
        choice = DataLocality().choose(equal, resources)
        price = dict(candidates)[choice.index].price
        if price is None:
            return Choice(choice.index, f"no location has a price; {choice.reason}")
        why = f"{price * resources.all_cores:g} an hour ({price:g} per core)"
        return Choice(choice.index, why + _rivals(choice.index, candidates, _price_words))


POLICIES: Mapping[str, type[Policy]] = {
    DEFAULT_POLICY: DataLocality,
    "in_order": InOrder,
    "spread": Spread,
    "load": Load,
    "queue_wait": QueueWait,
    "cost": Cost,
}


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _load(candidate: Candidate) -> float | None:
    if not candidate.cores or candidate.free_cores is None:
        return None
    return 1 - max(0.0, candidate.free_cores) / candidate.cores


def _load_words(candidate: Candidate) -> str:
    load = _load(candidate)
    return "unknown" if load is None else f"{load:.0%}"


def _wait_words(candidate: Candidate) -> str:
    return "unknown" if candidate.wait_s is None else f"{candidate.wait_s:.0f} s"


def _price_words(candidate: Candidate) -> str:
    return "unknown" if candidate.price is None else f"{candidate.price:g}"


def _rivals(index: int, candidates: Candidates, words: object) -> str:
    """The others in brief: ``; b (1): 80%``."""
    others = [f"{c.title}: {words(c)}" for i, c in candidates if i != index][:3]  # type: ignore[operator]
    return "; " + ", ".join(others) if others else ""
