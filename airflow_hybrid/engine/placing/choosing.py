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
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from airflow_hybrid import placement
from airflow_hybrid.amounts import counted
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.options import Options, all_down, name_of, placed_out_of_reach, span
from airflow_hybrid.engine.placing.places import Place, ref_of
from airflow_hybrid.engine.placing.policies import find_policy
from airflow_hybrid.engine.placing.shares import Share, usage_of
from airflow_hybrid.errors import SiteError
from airflow_hybrid.model import Binding, CwlObject, LineageEntry
from airflow_hybrid.model.files import PLACED
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.batches.look import Enquiry, SiteLook, look

NearCopies = Callable[[FragmentContext, Place, Sequence[CwlObject]], Awaitable[Mapping[str, str]]]
"""tells which of some files have copies at a place, by their locations"""
MANY = 20
"""from this many jobs in a group, the log and the lineage only count them"""


class Chooser:
    """Places the jobs of one fragment.

    :param near: tells of checkpoints at a place.
    :ivar lineage: why jobs were placed where they are.
    """

    def __init__(self, context: FragmentContext, near: NearCopies) -> None:
        self.context = context
        self._near = near
        self._there: dict[int, Mapping[str, str]] = {}
        """by the id of a place: files that have a copy there"""
        self.lineage: list[LineageEntry] = []

    async def divide(self, jobs: Sequence[PendingJob]) -> list[Share]:
        """Choose a place for each of several jobs of one step that ask for the same resources.

        :raises ConfigError: no place may have a job, or could ever hold it.
        :raises SiteError: no place can be used now.
        """
        binding = self.context.places.binding(jobs[0].step_path)
        places = await self.context.places.of(jobs[0].step_path, ask_all=False)
        if len(places) == 1 and not binding.filters and span(places[0]) == 1:
            await self._warn_of_little(places[0], jobs[0])
            share = Share(places[0])
            for job in jobs:
                share.take(job)
            return [share]
        options = await self._options(binding, places, jobs)
        if options.out_of_reach(jobs):
            places = await self.context.places.of(jobs[0].step_path)
            options = await self._options(binding, places, jobs)
            lost = options.out_of_reach(jobs)
            if lost:
                raise placed_out_of_reach(lost)
        shares: dict[int, Share] = {}
        try:
            self._assign(jobs, options, shares)
            await self._remember(options, shares)
        except BaseException:
            for share in shares.values():
                share.done()
            raise
        return list(shares.values())

    async def _warn_of_little(self, place: Place, job: PendingJob) -> None:
        """The only allowed place is a host with fewer cores than the jobs ask for: log that, and run them there."""
        scheduler = getattr(place.queue, "scheduler", None)
        needs = job.resources.all_cores
        if needs <= 1 or scheduler is None or not scheduler.on_host:
            return
        cores: float | None = place.host.cores
        if cores is None:
            task_directory = place.task_directory(self.context.spec.identity)
            enquiry = Enquiry(job.resources, place.options)
            capacity = functools.partial(look, place.host, scheduler, task_directory, enquiry)
            cores = (await place.patiently(capacity)).capacity.cores
        if cores is not None and cores < needs:
            self.context.log.warning(
                "%s asks for %g cores, but %s has %g: its jobs run one at a time",
                job.step_path, needs, place.title, cores,
            )  # fmt: skip

    # --- before ------------------------------------------------------------------------------------------------------

    def _policy(self, binding: Binding) -> placement.Policy:
        if binding.policy is not None:
            return find_policy(binding.policy, binding.policy_config)
        deployment = self.context.spec.deployments.get(binding.targets[0].deployment)
        if deployment is None:
            return find_policy(placement.DEFAULT_POLICY, {})
        return find_policy(deployment.scheduling_policy, deployment.policy_config)

    async def _options(self, binding: Binding, places: Sequence[Place], jobs: Sequence[PendingJob]) -> Options:
        policy = self._policy(binding)
        files = [file for job in jobs for file in job.files()]
        for place in places:
            if place.down is None:
                self._there[id(place)] = await self._near(self.context, place, files)
        return Options(binding, policy, places, await self._look(places, jobs, policy))

    async def _look(
        self, places: Sequence[Place], jobs: Sequence[PendingJob], policy: placement.Policy
    ) -> list[SiteLook]:
        """Ask all places at once, with one command each; a place that does not answer is skipped with a log line."""

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
                self.context.log.warning("%s is unavailable and skipped: %s", place.title, place.down.message)
        if all(place.down is not None for place in places):
            raise all_down(places)
        return list(looks)

    # --- choosing ----------------------------------------------------------------------------------------------------

    def _assign(self, jobs: Sequence[PendingJob], options: Options, shares: dict[int, Share]) -> None:
        """Add each job to its place's share; make the share if there is none yet."""
        placed = options.placed()
        singly = len(jobs) <= MANY
        missing_bytes: Counter[int] = Counter()
        for job in jobs:
            if job.key in placed:
                index, reason = placed[job.key], "placed there earlier"
            else:
                index, reason = self._choose(job, options)
            if index not in shares:
                shares[index] = Share(options.places[index], peers=options.peers(index))
            shares[index].take(job)
            missing = self._missing_bytes(job, options.places[index])
            missing_bytes[index] += missing
            if singly:
                self._tell_of_job(job, shares[index], missing, reason)
        if not singly:
            self._tell_of_group(jobs[0].step_path, shares, missing_bytes, options.policy)

    def _tell_of_job(self, job: PendingJob, share: Share, missing_bytes: int, reason: str) -> None:
        where = " + ".join(place.title for place in (share.place, *share.peers))
        self.context.log.info("%s -> %s: %s", job.label, where, reason)
        self._note(share.place, job.label, missing_bytes, reason)

    def _tell_of_group(
        self, step_path: str, shares: Mapping[int, Share], missing_bytes: Mapping[int, int], policy: placement.Policy
    ) -> None:
        in_order = sorted(shares.items())
        name = type(policy).__name__
        counts = ", ".join(f"{len(share.jobs)} to {share.place.title}" for _, share in in_order)
        self.context.log.info("%s: %s (%s)", step_path, counts, name)
        for index, share in in_order:
            what = f"{step_path} [{counted(len(share.jobs), 'job')}]"
            self._note(share.place, what, missing_bytes[index], f"by the policy {name}")

    def _note(self, place: Place, what: str, count: int, reason: str) -> None:
        where = place.uri(place.task_directory(self.context.spec.identity))
        self.lineage.append(LineageEntry(what, where, PLACED, count, 0.0, note=f"{place.title}: {reason}"))

    def _choose(self, job: PendingJob, options: Options) -> tuple[int, str]:
        """The place for a job that has none yet, and the reason."""
        seed = f"{self.context.spec.identity.directory} {job.key}"
        binding = options.binding
        order = placement.allowed(binding.filters, binding.targets, job.inputs, seed)
        usable = options.usable(order)
        by_load = placement.LOAD in options.policy.needs
        candidates = [
            self._candidate(job, options.places[index], options.looks[index], by_load=by_load) for index in usable
        ]
        choice = placement.choose(candidates, job.resources, options.policy)
        return usable[choice.index], choice.reason

    def _candidate(self, job: PendingJob, place: Place, look: SiteLook, *, by_load: bool) -> placement.Candidate:
        usage = usage_of(place)
        # the number of cores in the hybrid file takes precedence over what the place reports
        cores: float | None = place.host.cores
        measured_free: float | None = None
        if cores is None:
            cores = look.capacity.cores
            measured_free = look.capacity.free_cores if by_load else None
        free_cores = None
        if cores is not None:
            free_cores = cores - usage.cores
            if measured_free is not None:
                free_cores = min(free_cores, measured_free)
        return placement.Candidate(
            place.target.deployment,
            place.host.location,
            missing_bytes=self._missing_bytes(job, place),
            bytes_per_s=self._bytes_per_s(job, place),
            cores=cores,
            free_cores=free_cores,
            memory_mib=look.capacity.memory_mib,
            taken_cores=usage.cores,
            jobs=usage.jobs,
            max_jobs=place.options.get("maxConcurrentJobs"),
            wait_s=_wait_s(job, look, free_cores),
            price=place.price,
            service=place.target.service,
        )

    def _missing_bytes(self, job: PendingJob, place: Place) -> int:
        total = 0
        there = self._there.get(id(place), {})
        for file in job.files():
            ref = ref_of(file)
            if file["location"] in there:
                continue
            if ref is None or not self.context.locations.same_storage(ref, place.host):
                total += int(file.get("size") or 0)
        return total

    def _bytes_per_s(self, job: PendingJob, place: Place) -> float | None:
        """Measured from the location of the job's largest input."""
        sources = [(int(file.get("size") or 0), ref_of(file)) for file in job.files()]
        reachable = [(size, ref) for size, ref in sources if ref is not None]
        if not reachable:
            return None
        _, largest = max(reachable, key=lambda pair: pair[0])
        return self.context.mover.bytes_per_s(largest.deployment, place.host.deployment)

    # --- remembering -------------------------------------------------------------------------------------------------

    async def _remember(self, options: Options, shares: Mapping[int, Share]) -> None:
        """Record new choices at every place, before anything is submitted.

        :raises SiteError: a chosen place could not be written to.
        """
        placed = options.placed()
        lines = "".join(
            "\t".join((job.key, *name_of(share.place), ".")) + "\n"
            for share in shares.values()
            for job in share.jobs
            if job.key not in placed
        )
        if not lines:
            return

        async def write(index: int, place: Place) -> None:
            folder = shlex.quote(place.task_directory(self.context.spec.identity))
            # a line cut off by a kill must not spoil the next one
            command = f"{removal.functions()}ah_make {folder} && {{ echo; cat; }} >>{folder}/placed"
            try:
                result = await place.host.run(command, stdin=lines.encode(), label="record where jobs are placed")
                result.check("the choice of places cannot be recorded")
            except SiteError as error:
                if index in shares:
                    raise
                self.context.log.warning("%s: %s", place.title, error.message)

        await asyncio.gather(*(write(i, place) for i, place in enumerate(options.places) if place.down is None))


def _wait_s(job: PendingJob, look: SiteLook, free_cores: float | None) -> float | None:
    """How long the job would wait by the site's estimate; zero on a host with room for it."""
    if look.wait_s is not None or not look.on_host or free_cores is None:
        return look.wait_s
    return 0.0 if free_cores >= job.resources.all_cores else None
