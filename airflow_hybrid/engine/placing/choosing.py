# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which place each job gets: look at the places, apply filters and policy, and remember the choice at the places.

A job that was placed stays there: the choice is written down at every place that can be reached *before* anything is
submitted, so that whoever takes the fragment up again (after a kill, or for a retry) finds it, although capacity,
estimates and bandwidth have changed meanwhile.
"""

from __future__ import annotations

import asyncio
import functools
import shlex
from collections.abc import Mapping, Sequence

from airflow_hybrid import placement
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place, ref_of
from airflow_hybrid.engine.placing.policies import find_policy
from airflow_hybrid.engine.placing.shares import Share, use_of
from airflow_hybrid.errors import SiteError
from airflow_hybrid.model import Binding, LineageEntry
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.batches.look import Enquiry, SiteLook, look

MANY = 20
"""jobs of a group, from which on the log and the lineage count them"""


def _span(place: Place) -> int:
    """How many hosts a job takes at once; a queue gives a job its nodes itself."""
    scheduler = getattr(place.queue, "scheduler", None)
    return place.target.locations if scheduler is not None and scheduler.on_host else 1


class Chooser:
    """Places the jobs of one fragment.

    :ivar lineage: why jobs were placed where they are.
    """

    def __init__(self, context: FragmentContext) -> None:
        self.context = context
        self.lineage: list[LineageEntry] = []

    async def divide(self, jobs: Sequence[PendingJob]) -> list[Share]:
        """Choose a place for each of some jobs of one step that ask for the same.

        :raises ConfigError: no place may, or can ever, have a job.
        :raises SiteError: no place can be used now.
        """
        binding = self.context.places.binding(jobs[0].step_path)
        places = await self.context.places.of(jobs[0].step_path, ask_all=False)
        if len(places) == 1 and not binding.filters and _span(places[0]) == 1:
            await self._warn_of_little(places[0], jobs[0])
            share = Share(places[0])
            for job in jobs:
                share.take(job)
            return [share]
        policy = self._policy(binding)
        looks = await self._look(places, jobs, policy)
        if _out_of_reach(places, looks, jobs):
            places = await self.context.places.of(jobs[0].step_path)
            looks = await self._look(places, jobs, policy)
            if lost := _out_of_reach(places, looks, jobs):
                raise _placed_out_of_reach(lost)
        shares: dict[int, Share] = {}
        try:
            self._assign(jobs, binding, places, looks, policy, shares)
            await self._remember(places, looks, shares)
        except BaseException:
            for share in shares.values():
                share.done()
            raise
        return list(shares.values())

    async def _warn_of_little(self, place: Place, job: PendingJob) -> None:
        """The only place that jobs may have is a host that has less than they ask for: say so, and run them there."""
        scheduler = getattr(place.queue, "scheduler", None)
        needs = job.resources.all_cores
        if needs <= 1 or scheduler is None or not scheduler.on_host:
            return
        cores: float | None = place.host.cores
        if cores is None:
            task_directory = place.task_directory(self.context.spec.identity)
            enquiry = Enquiry(job.resources, place.options)
            capacity = functools.partial(look, place.host, scheduler, task_directory, enquiry)
            cores = (await place.patiently(capacity, self.context.log)).capacity.cores
        if cores is not None and cores < needs:
            self.context.log.warning(
                "%s asks for %g cores and %s has %g: its jobs run one at a time",
                job.step_path, needs, place.title, cores,
            )  # fmt: skip

    # --- before ------------------------------------------------------------------------------------------------------

    def _policy(self, binding: Binding) -> placement.Policy:
        name, config = binding.policy, binding.policy_config
        if name is None:
            deployment = self.context.spec.deployments.get(binding.targets[0].deployment)
            name = deployment.scheduling_policy if deployment else placement.DEFAULT_POLICY
            config = deployment.policy_config if deployment else {}
        return find_policy(name, config)

    async def _look(
        self, places: Sequence[Place], jobs: Sequence[PendingJob], policy: placement.Policy
    ) -> list[SiteLook]:
        """Ask every place at once, in one command each; one that does not answer is passed over, with a note."""

        async def ask(place: Place) -> SiteLook:
            if place.down is not None:
                return SiteLook()
            enquiry = Enquiry(
                resources=jobs[0].resources,
                options=place.options,
                load=placement.LOAD in policy.needs,
                wait=placement.WAIT in policy.needs,
            )
            task_directory = place.task_directory(self.context.spec.identity)
            try:
                return await look(place.host, getattr(place.queue, "scheduler", None), task_directory, enquiry)
            except SiteError as error:
                place.failed(error)
                return SiteLook()

        looks = await asyncio.gather(*(ask(place) for place in places))
        for place in places:
            if place.down is not None:
                self.context.log.warning(
                    "%s is passed over, it cannot be used now: %s", place.title, place.down.message
                )
        if all(place.down is not None for place in places):
            raise _all_down(places)
        return list(looks)

    # --- choosing ----------------------------------------------------------------------------------------------------

    def _assign(
        self,
        jobs: Sequence[PendingJob],
        binding: Binding,
        places: Sequence[Place],
        looks: Sequence[SiteLook],
        policy: placement.Policy,
        shares: dict[int, Share],
    ) -> None:
        before = _placed(places, looks)
        bytes_: dict[int, int] = {}
        for job in jobs:
            index = before.get(job.key)
            if index is not None:
                reason = "placed there before"
            else:
                index, reason = self._choose(job, binding, places, looks, policy)
            if index not in shares:
                shares[index] = Share(places[index], peers=self._peers(index, places))
            shares[index].take(job)
            missing = self._missing_bytes(job, places[index])
            bytes_[index] = bytes_.get(index, 0) + missing
            if len(jobs) <= MANY:
                where = " + ".join(place.title for place in (places[index], *shares[index].peers))
                self.context.log.info("%s -> %s: %s", job.label, where, reason)
                self._note(places[index], job.label, missing, reason)
        if len(jobs) > MANY:
            step, name = jobs[0].step_path, type(policy).__name__
            counts = ", ".join(f"{len(share.jobs)} to {places[i].title}" for i, share in sorted(shares.items()))
            self.context.log.info("%s: %s (%s)", step, counts, name)
            for i, share in sorted(shares.items()):
                self._note(places[i], f"{step} [{len(share.jobs)} jobs]", bytes_[i], f"by the policy {name}")

    def _note(self, place: Place, what: str, count: int, reason: str) -> None:
        where = place.uri(place.task_directory(self.context.spec.identity))
        self.lineage.append(LineageEntry(what, where, "placed", count, 0.0, note=f"{place.title}: {reason}"))

    def _choose(
        self,
        job: PendingJob,
        binding: Binding,
        places: Sequence[Place],
        looks: Sequence[SiteLook],
        policy: placement.Policy,
    ) -> tuple[int, str]:
        seed = f"{self.context.spec.identity.directory} {job.key}"
        order = placement.allowed(binding.filters, binding.targets, job.inputs, seed)
        able = [
            index
            for target in order
            for index, place in enumerate(places)
            if place.target is binding.targets[target] or place.target == binding.targets[target]
        ]
        ready = [index for index in able if places[index].down is None]
        if not ready:
            raise _all_down([places[index] for index in able])
        few = [index for index in ready if len(_siblings(index, places)) < _span(places[index])]
        ready = [index for index in ready if index not in few]
        if not ready:
            target = places[few[0]].target
            there = sum(place.target == target for place in places)
            raise SiteError(
                f"a job needs {target.locations} locations at once of {target.deployment!r}, which has {there},"
                f" of which {len(_siblings(few[0], places))} can be used now",
                hint="the binding's `locations` says how many",
                retryable=there >= target.locations,
            )
        candidates = [
            self._candidate(job, places[index], looks[index], placement.LOAD in policy.needs) for index in ready
        ]
        choice = placement.choose(candidates, job.resources, policy)
        return ready[choice.index], choice.reason

    def _peers(self, index: int, places: Sequence[Place]) -> tuple[Place, ...]:
        """The other locations of jobs at a place: of the same target, those with the fewest cores of ours taken."""
        others = [place for place in _siblings(index, places) if place is not places[index]]
        return tuple(sorted(others, key=lambda place: use_of(place).cores)[: _span(places[index]) - 1])

    def _candidate(self, job: PendingJob, place: Place, seen: SiteLook, load: bool) -> placement.Candidate:
        use = use_of(place)
        # what the hybrid file says of a place's cores goes before what the place says
        cores: float | None = place.host.cores if place.host.cores is not None else seen.capacity.cores
        free = None if cores is None else cores - use.cores
        if load and place.host.cores is None and free is not None and seen.capacity.free_cores is not None:
            free = min(free, seen.capacity.free_cores)
        wait_s = seen.wait_s
        if wait_s is None and seen.on_host and free is not None and free >= job.resources.all_cores:
            wait_s = 0.0
        return placement.Candidate(
            place.target.deployment,
            place.host.location,
            missing_bytes=self._missing_bytes(job, place),
            bytes_per_s=self._bytes_per_s(job, place),
            cores=cores,
            free_cores=free,
            memory_mib=seen.capacity.memory_mib,
            taken_cores=use.cores,
            jobs=use.jobs,
            max_jobs=place.options.get("maxConcurrentJobs"),
            wait_s=wait_s,
            price=place.price,
            service=place.target.service,
        )

    def _missing_bytes(self, job: PendingJob, place: Place) -> int:
        total = 0
        for file in job.files():
            ref = ref_of(file)
            if ref is None or not self.context.locations.same_storage(ref, place.host):
                total += int(file.get("size") or 0)
        return total

    def _bytes_per_s(self, job: PendingJob, place: Place) -> float | None:
        """Measured on the way from where the job's largest input is."""
        far = [(int(f.get("size") or 0), ref) for f in job.files() if (ref := ref_of(f)) is not None]
        if not far:
            return None
        largest = max(far, key=lambda item: item[0])[1]
        return self.context.mover.bytes_per_s(largest.deployment, place.host.deployment)

    # --- remembering -------------------------------------------------------------------------------------------------

    async def _remember(self, places: Sequence[Place], looks: Sequence[SiteLook], shares: Mapping[int, Share]) -> None:
        """Write new choices down at every place, before anything is submitted.

        :raises SiteError: a chosen place could not be written to.
        """
        before = _placed(places, looks)
        lines = "".join(
            "\t".join((job.key, *_name(places[index]), ".")) + "\n"
            for index, share in shares.items()
            for job in share.jobs
            if job.key not in before
        )
        if not lines:
            return

        async def write(index: int, place: Place) -> None:
            folder = shlex.quote(place.task_directory(self.context.spec.identity))
            # a line that was cut off by a kill must not spoil the next
            command = f"{removal.functions()}ah_make {folder} && {{ echo; cat; }} >>{folder}/placed"
            try:
                result = await place.host.run(command, stdin=lines.encode(), label="note where jobs are placed")
                result.check("where jobs are placed cannot be noted")
            except SiteError as error:
                if index in shares:
                    raise
                self.context.log.warning("%s: %s", place.title, error.message)

        await asyncio.gather(*(write(i, place) for i, place in enumerate(places) if place.down is None))


def _siblings(index: int, places: Sequence[Place]) -> list[Place]:
    """The places of the same target that can be used now."""
    return [place for place in places if place.target == places[index].target and place.down is None]


def _name(place: Place) -> tuple[str, str, str]:
    return (place.target.deployment, place.target.service or "-", place.host.location)


def _placed(places: Sequence[Place], looks: Sequence[SiteLook]) -> dict[str, int]:
    """Job key -> index of the place that it was given before; a place that the binding has no more is left out."""
    indexes = {_name(place): index for index, place in enumerate(places)}
    found: dict[str, int] = {}
    for seen in looks:
        for key, deployment, service, location in seen.placed:
            index = indexes.get((deployment, service, location))
            if index is not None:
                found.setdefault(key, index)
    return found


def _out_of_reach(places: Sequence[Place], looks: Sequence[SiteLook], jobs: Sequence[PendingJob]) -> list[Place]:
    """Places that have some of the jobs, as others remember, and cannot be used now."""
    before = _placed(places, looks)
    indexes = {before[job.key] for job in jobs if job.key in before}
    return [places[index] for index in sorted(indexes) if places[index].down is not None]


def _placed_out_of_reach(places: Sequence[Place]) -> SiteError:
    down = [(place, place.down) for place in places if place.down is not None]
    return SiteError(
        "jobs were placed before where they cannot be looked after now: "
        + "; ".join(f"{place.title}: {error.message}" for place, error in down),
        hint="they go on there, and the next try finds them; clear the task to have them placed anew",
        retryable=True,
    )


def _all_down(places: Sequence[Place]) -> SiteError:
    errors = [(place, place.down) for place in places if place.down is not None]
    what = "\n".join(f"  {place.title}: {error.message}" for place, error in errors)
    return SiteError(
        f"none of the {len(errors)} locations that the job may have can be used now:\n{what}",
        hint="`airflow hybrid check` tries each of them and says what to do; the task may be tried again",
        retryable=any(error.retryable for _, error in errors),
    )
