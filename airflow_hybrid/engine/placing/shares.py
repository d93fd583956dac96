# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How much of each place the jobs of this process use while they run there."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.sites.hosts.per_loop import PerLoop


@dataclass
class PlaceUsage:
    """How much of a place our jobs use, over all runs of this process."""

    jobs: int = 0
    cores: float = 0.0


_USAGES: PerLoop[tuple[str, str], PlaceUsage] = PerLoop()
"""by deployment and key of the host"""


def usage_of(place: Place) -> PlaceUsage:
    """How much of a place this process's jobs use now."""
    return _USAGES.get((place.target.deployment, place.host.key), PlaceUsage)


@dataclass
class Share:
    """The jobs of a group at one place; after ``done`` they no longer count as using it.

    :ivar peers: the other locations that each of the jobs uses at the same time.
    """

    place: Place
    jobs: list[PendingJob] = field(default_factory=list)
    peers: tuple[Place, ...] = ()
    _taken: list[float] = field(default_factory=list)

    def take(self, job: PendingJob) -> None:
        for place in (self.place, *self.peers):
            usage = usage_of(place)
            usage.jobs, usage.cores = usage.jobs + 1, usage.cores + job.resources.all_cores
        self.jobs.append(job)
        self._taken.append(job.resources.all_cores)

    def done(self) -> None:
        for place in (self.place, *self.peers):
            usage = usage_of(place)
            usage.jobs, usage.cores = usage.jobs - len(self._taken), usage.cores - sum(self._taken)
        self._taken.clear()
