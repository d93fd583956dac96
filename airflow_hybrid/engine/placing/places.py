# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where the jobs of a fragment may run, and what is known about each place."""

from __future__ import annotations

import asyncio
import functools
import posixpath
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_hybrid.config import bind
from airflow_hybrid.engine.common import in_cwl_thread
from airflow_hybrid.engine.spec import FragmentSpec, TaskIdentity
from airflow_hybrid.errors import CwlError, SiteError
from airflow_hybrid.model import Binding, FileRef, Question, SiteFacts, Target
from airflow_hybrid.model.containers import ImageSource
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.connectors import Connector, open_connector
from airflow_hybrid.sites.containers.images import ContainerSettings, container_settings
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.patience import outages

T = TypeVar("T")

MAX_PROBE_ROUNDS = 8

DOWN_FOR_S = 30.0
"""how long a location that did not answer is skipped, so that not every chunk waits for the time limit"""
_DOWN: weakref.WeakKeyDictionary[Host, tuple[SiteError, float]] = weakref.WeakKeyDictionary()
"""the state of locations and when it was seen, shared by the whole process"""


@dataclass
class Place:
    """Where a group of jobs runs: everything known about the location in this run of the fragment."""

    host: Host
    queue: JobQueue
    workdir: str
    options: Mapping[str, Any]
    target: Target
    price: float | None = None
    mark: str = ""
    """distinguishes its task directories from those of another target on the same files"""
    down: SiteError | None = None
    """why it is unavailable"""
    containers: ContainerSettings = field(default_factory=ContainerSettings)
    image: ImageSource | None = None
    """for jobs that ask for no container of their own"""
    facts: SiteFacts = field(default_factory=SiteFacts)

    def uri(self, path: str) -> str:
        return FileRef(self.host.deployment, self.host.location, path).uri

    def task_directory(self, identity: TaskIdentity) -> str:
        return posixpath.join(self.workdir, identity.directory + self.mark)

    @property
    def title(self) -> str:
        """For messages: the target and, if different, the location that it is reached by."""
        return place_title(self.target, self.host)

    def failed(self, error: SiteError) -> None:
        """Mark it as unavailable, so that others who have a choice skip it for a while."""
        self.down = error
        _DOWN[self.host] = (error, time.monotonic())

    async def patiently(self, action: Callable[[], Awaitable[T]]) -> T:
        """Do something repeatable, and repeat it while there is an outage of the location."""
        result = await outages.current().through(action, self.host.key)
        _DOWN.pop(self.host, None)
        return result

    async def with_facts(self, attempt: Callable[[], tuple[list[T], list[Question]]]) -> list[T]:
        """Try, ask the location the open questions (one probe for the whole batch), and try again."""
        for _ in range(MAX_PROBE_ROUNDS):
            results, questions = await in_cwl_thread(attempt)
            if not questions:
                return results
            asked = list(dict.fromkeys(questions))
            self.facts.merge(await self.patiently(functools.partial(self.queue.facts, asked)))
        raise CwlError(f"the location did not answer {questions[0].ask} {questions[0].path!r}", where=self.host.title)


def place_title(target: Target, host: Host) -> str:
    """See :attr:`Place.title`."""
    name = target.deployment + (f"/{target.service}" if target.service else "")
    return host.title if name == host.deployment else f"{name} (by {host.title})"


class Places:
    """The places of one fragment's steps."""

    def __init__(self, spec: FragmentSpec) -> None:
        self.spec = spec
        self._places: dict[tuple[Target, bool], list[Place]] = {}

    def binding(self, step_path: str) -> Binding:
        return bind(self.spec.bindings, step_path)

    async def of(self, step_path: str, *, ask_all: bool = True) -> list[Place]:
        """The places of a step, in the order of its binding's targets.

        An unreachable place is in the list, with the reason in ``down``, if the binding has others.

        :param ask_all: also ask those that were down within the last :data:`DOWN_FOR_S`. They are asked in any case
            if there are no others.
        :raises SiteError: the binding's only place cannot be reached.
        """
        targets = self.binding(step_path).targets
        patience = outages.current()

        async def of(target: Target) -> list[Place]:
            one_of_many = len(targets) > 1
            ask = functools.partial(self._of, target, one_of_many, ask_all)
            return await (ask() if one_of_many else patience.through(ask, target.deployment))

        groups = await asyncio.gather(*map(of, targets))
        places = [place for group in groups for place in group]
        if not ask_all and all(place.down is not None for place in places):
            return await self.of(step_path)
        return places

    async def _of(self, target: Target, one_of_many: bool, ask_all: bool) -> list[Place]:
        """The places of a target. If all were up, they are reused as they are; if one was down, all are asked again."""
        known = self._places.get((target, one_of_many))
        if known is not None and not any(place.down for place in known):
            return known
        connector = open_connector(self.spec.deployments, target.deployment)
        hosts = await connector.hosts(target.service)
        alternatives = one_of_many or len(hosts) > 1
        new = await asyncio.gather(*(self._place(connector, host, target, alternatives, ask_all) for host in hosts))
        up = {id(place.host): place for place in known or () if not place.down}
        places = [up.get(id(place.host), place) for place in new]
        self._places[target, one_of_many] = places
        return places

    async def _place(self, connector: Connector, host: Host, target: Target, alternatives: bool, ask: bool) -> Place:
        deployment = self.spec.deployments.get(target.deployment)
        down = None if ask or not alternatives else _found_down(host)
        workdir, image, new = "", None, None
        if down is None:
            try:
                workdir = target.workdir or await connector.workdir(host, target.service)
                if target.workdir:
                    await connector.check_own(host, workdir)
                image = await connector.image(host, target.service)
            except SiteError as error:
                if not alternatives:
                    raise
                new = error
        place = Place(
            host,
            connector.queue(host, target.service),
            workdir,
            connector.options(target.service),
            target,
            containers=container_settings(connector.containers),
            image=image,
            price=deployment.price_per_core_hour if deployment else None,
            mark=f"@{target.deployment}" if alternatives and target.deployment != host.deployment else "",
            down=down,
        )
        if new is not None:
            place.failed(new)
        return place

    async def all(self) -> list[Place]:
        """Every reachable place where a job of this fragment may be."""
        places: dict[int, Place] = {}
        for step_path in self.spec.leaves:
            places.update({id(place): place for place in await self.of(step_path)})
        return list(places.values())


def _found_down(host: Host) -> SiteError | None:
    """The state of a location a short while ago."""
    error, when = _DOWN.get(host, (None, 0.0))
    age_s = time.monotonic() - when
    if error is None or age_s >= DOWN_FOR_S:
        return None
    message = f"{error.message} ({age_s:.0f} s ago; asked again after {DOWN_FOR_S:.0f} s)"
    return SiteError(message, where=error.where, hint=error.hint, retryable=error.retryable)


def ref_of(file: Mapping[str, Any]) -> FileRef | None:
    """Where a File or Directory object is; None for a URL of another scheme (http ...)."""
    return FileRef.of(str(file["location"]))
