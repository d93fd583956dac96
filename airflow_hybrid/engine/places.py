# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where the jobs of a fragment may run, which place each one gets, and what is known of a place."""

from __future__ import annotations

import asyncio
import functools
import posixpath
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_hybrid import placement
from airflow_hybrid.config import bind
from airflow_hybrid.cwl.fragment import PendingJob
from airflow_hybrid.engine.common import Logger, in_cwl_thread
from airflow_hybrid.engine.spec import FragmentSpec, TaskIdentity
from airflow_hybrid.errors import CommandError, CwlError, HostUnreachableError
from airflow_hybrid.hooks.base import Host
from airflow_hybrid.hooks.connectors import open_connector
from airflow_hybrid.hooks.data_mover import DataMover
from airflow_hybrid.hooks.queue import JobQueue
from airflow_hybrid.model import Binding, FileRef, Question, SiteFacts

T = TypeVar("T")

MAX_PROBE_ROUNDS = 8
PATIENCE_S = 600.0
"""how long a location that was in use may be out of reach before the try is given up (its jobs run on)"""


@dataclass
class Place:
    """Where a group of jobs runs: everything that is known of the location in this run of the fragment."""

    host: Host
    queue: JobQueue
    workdir: str
    options: Mapping[str, Any]
    facts: SiteFacts = field(default_factory=SiteFacts)
    reached: bool = False
    taken_cores: float = 0.0

    def uri(self, path: str) -> str:
        return FileRef(self.host.deployment, self.host.location, path).uri

    def task_directory(self, identity: TaskIdentity) -> str:
        return posixpath.join(self.workdir, identity.directory)

    async def patiently(self, action: Callable[[], Awaitable[T]], log: Logger) -> T:
        """Do something that may be repeated, over a time in which the location is out of reach.

        A location that never answered in this run is an error at once (a wrong name, a refused key); one that did is
        waited for: what was submitted there goes on meanwhile.
        """
        pause_s, deadline = 1.0, time.monotonic() + PATIENCE_S
        while True:
            try:
                result = await action()
            except (HostUnreachableError, CommandError) as error:
                lost = isinstance(error, HostUnreachableError) or error.exit_code is None
                if not (lost and self.reached and time.monotonic() < deadline):
                    raise
                log.warning("%s does not answer, trying again in %.0f s: %s", self.host.title, pause_s, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 30.0)
                continue
            self.reached = True
            return result

    async def with_facts(self, attempt: Callable[[], tuple[list[T], list[Question]]], log: Logger) -> list[T]:
        """Try, ask the location what could not be answered (one probe for the whole batch), and try again."""
        for _ in range(MAX_PROBE_ROUNDS):
            results, questions = await in_cwl_thread(attempt)
            if not questions:
                return results
            asked = list(dict.fromkeys(questions))
            self.facts.merge(await self.patiently(functools.partial(self.queue.facts, asked), log))
        raise CwlError(f"the location did not answer {questions[0].ask} {questions[0].path!r}", where=self.host.title)


class Places:
    """The places of one fragment's steps."""

    def __init__(self, spec: FragmentSpec, mover: DataMover, log: Logger) -> None:
        self.spec = spec
        self.mover = mover
        self.log = log
        self._places: dict[tuple[str, str | None], list[Place]] = {}

    async def divide(self, jobs: list[PendingJob]) -> list[tuple[Place, list[PendingJob]]]:
        """Choose a place for each of some jobs of one step."""
        places = await self.of(jobs[0].step_path)
        if len(places) == 1:
            return [(places[0], jobs)]
        chosen: dict[int, list[PendingJob]] = {}
        for job in jobs:
            choice = self._choose(job, places)
            chosen.setdefault(choice.index, []).append(job)
            if len(jobs) <= 20:
                self.log.info("%s -> %s: %s", job.label, places[choice.index].host.title, choice.reason)
        if len(jobs) > 20:
            shares = ", ".join(f"{len(group)} to {places[i].host.title}" for i, group in sorted(chosen.items()))
            self.log.info("%s: %s", jobs[0].step_path, shares)
        return [(places[index], group) for index, group in chosen.items()]

    def _choose(self, job: PendingJob, places: Sequence[Place]) -> placement.Choice:
        policy = self.binding(job.step_path).policy
        if policy is None:
            policy = self.spec.deployments[self.binding(job.step_path).targets[0].deployment].scheduling_policy
        choice = placement.choose(
            [
                placement.Candidate(
                    place.host.deployment,
                    place.host.location,
                    missing_bytes=self._missing_bytes(job, place),
                    bytes_per_s=self._bytes_per_s(job, place),
                    cores=place.host.cores,
                    free_cores=None if place.host.cores is None else place.host.cores - place.taken_cores,
                    taken_cores=place.taken_cores,
                )
                for place in places
            ],
            job.resources,
            policy,
        )
        places[choice.index].taken_cores += job.resources.all_cores
        return choice

    def binding(self, step_path: str) -> Binding:
        return bind(self.spec.bindings, step_path)

    async def of(self, step_path: str) -> list[Place]:
        places: list[Place] = []
        for target in self.binding(step_path).targets:
            key = (target.deployment, target.service)
            if key not in self._places:
                connector = open_connector(self.spec.deployments, target.deployment)
                self._places[key] = [
                    Place(
                        host,
                        connector.queue(host, target.service),
                        target.workdir or await connector.workdir(host, target.service),
                        connector.options(target.service),
                    )
                    for host in await connector.hosts(target.service)
                ]
            places.extend(self._places[key])
        return places

    async def all(self) -> list[Place]:
        """Every place where a job of this fragment may be."""
        for step_path in self.spec.leaves:
            await self.of(step_path)
        return [place for group in self._places.values() for place in group]

    def _missing_bytes(self, job: PendingJob, place: Place) -> int:
        total = 0
        for file in job.files():
            ref = ref_of(file)
            if ref is None or (ref.deployment, ref.location) != (place.host.deployment, place.host.location):
                total += int(file.get("size") or 0)
        return total

    def _bytes_per_s(self, job: PendingJob, place: Place) -> float | None:
        """Measured on the way from where the job's largest input is."""
        far = [(int(f.get("size") or 0), ref) for f in job.files() if (ref := ref_of(f)) is not None]
        if not far:
            return None
        largest = max(far, key=lambda item: item[0])[1]
        return self.mover.bytes_per_s(largest.deployment, place.host.deployment)


def ref_of(file: Mapping[str, Any]) -> FileRef | None:
    """Where a File or Directory object is; None for one that is at an URL of another scheme (http ...)."""
    location = str(file["location"])
    if location.startswith(("file:", "hybrid:")):
        return FileRef.parse(location)
    return None
