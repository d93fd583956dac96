# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The places that a step's jobs may have, with their state at the time of the choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airflow_hybrid import placement
from airflow_hybrid.amounts import counted
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.placing.shares import usage_of
from airflow_hybrid.errors import SiteError
from airflow_hybrid.model import Binding
from airflow_hybrid.sites.batches.look import SiteLook


@dataclass(frozen=True)
class Options:
    """The options of a choice. A place is named by its index.

    :ivar binding: of the step.
    :ivar policy: how to choose among several places.
    :ivar places: those of the binding.
    :ivar looks: the answer of each place, in the same order.
    """

    binding: Binding
    policy: placement.Policy
    places: Sequence[Place]
    looks: Sequence[SiteLook]

    def placed(self) -> dict[str, int]:
        """Job key -> the place chosen earlier; places that the binding no longer names are left out."""
        indexes = {name_of(place): index for index, place in enumerate(self.places)}
        placed: dict[str, int] = {}
        for look in self.looks:
            for key, deployment, service, location in look.placed:
                index = indexes.get((deployment, service, location))
                if index is not None:
                    placed.setdefault(key, index)
        return placed

    def out_of_reach(self, jobs: Iterable[PendingJob]) -> list[Place]:
        """Unavailable places that have some of the jobs, according to the records at other places."""
        placed = self.placed()
        indexes = {placed[job.key] for job in jobs if job.key in placed}
        return [self.places[index] for index in sorted(indexes) if self.places[index].down is not None]

    def usable(self, order: Iterable[int]) -> list[int]:
        """The available places, each with as many others as a job needs at once.

        :param order: indexes of the binding's targets, the best first; the places come in the same order.
        :raises SiteError: there is none.
        """
        targets = [self.binding.targets[index] for index in order]
        able = [index for target in targets for index, place in enumerate(self.places) if place.target == target]
        up = [index for index in able if self.places[index].down is None]
        if not up:
            raise all_down([self.places[index] for index in able])
        enough = [index for index in up if len(self._siblings(index)) >= span(self.places[index])]
        if not enough:
            raise self._too_few(up[0])
        return enough

    def peers(self, index: int) -> tuple[Place, ...]:
        """The other locations for jobs at a place: of the same target, those where our jobs use the fewest cores."""
        others = [place for place in self._siblings(index) if place is not self.places[index]]
        others.sort(key=lambda place: usage_of(place).cores)
        return tuple(others[: span(self.places[index]) - 1])

    def _siblings(self, index: int) -> list[Place]:
        """The available places of the same target."""
        target = self.places[index].target
        return [place for place in self.places if place.target == target and place.down is None]

    def _too_few(self, index: int) -> SiteError:
        target = self.places[index].target
        locations = sum(place.target == target for place in self.places)
        return SiteError(
            f"a job needs {target.locations} locations at once of {target.deployment!r}, which has {locations},"
            f" of which {len(self._siblings(index))} are available",
            hint="the binding's `locations` sets the number",
            retryable=locations >= target.locations,
        )


def span(place: Place) -> int:
    """How many hosts a job takes at once; a queue assigns nodes itself."""
    scheduler = getattr(place.queue, "scheduler", None)
    return place.target.locations if scheduler is not None and scheduler.on_host else 1


def name_of(place: Place) -> tuple[str, str, str]:
    """The name of a place in records of placements: deployment, service or ``-``, location."""
    return (place.target.deployment, place.target.service or "-", place.host.location)


def all_down(places: Sequence[Place]) -> SiteError:
    """The error if none of several places is available."""
    errors = [(place, place.down) for place in places if place.down is not None]
    what = "\n".join(f"  {place.title}: {error.message}" for place, error in errors)
    error = SiteError(
        f"none of the {counted(len(errors), 'location')} that the job may have is available:\n{what}",
        hint="`airflow hybrid check` tries each of them and says what to do; the task can be retried",
        retryable=any(error.retryable for _, error in errors),
    )
    error.passes = any(error.passes for _, error in errors)
    return error


def placed_out_of_reach(places: Sequence[Place]) -> SiteError:
    """The error for jobs whose places are unavailable."""
    down = [(place, place.down) for place in places if place.down is not None]
    error = SiteError(
        "jobs were placed earlier at locations that are unavailable: "
        + "; ".join(f"{place.title}: {error.message}" for place, error in down),
        hint="they go on there, and the next try finds them; clear the task to place them again",
        retryable=True,
    )
    error.passes = all(error.passes for _, error in down)
    return error
