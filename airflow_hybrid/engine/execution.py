# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The life of a fragment: cwltool yields jobs, each group of jobs gets a place, each place a batch."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from airflow_hybrid.config import Deployment, bind
from airflow_hybrid.cwl.fragments.fragment import Fragment
from airflow_hybrid.cwl.fragments.fragment_run import FragmentRun, Part
from airflow_hybrid.cwl.fragments.step_files import FileAccess
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine import unended
from airflow_hybrid.engine.batches import BatchRunner
from airflow_hybrid.engine.checkpoints.near import near_copies
from airflow_hybrid.engine.common import Logger, all_of, in_cwl_thread
from airflow_hybrid.engine.failures import failed
from airflow_hybrid.engine.placing.choosing import Chooser
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place, Places
from airflow_hybrid.engine.placing.shares import Share
from airflow_hybrid.engine.recovery.again import Again
from airflow_hybrid.engine.remote_values import list_folder, read_start
from airflow_hybrid.engine.retrying.verdicts import Verdicts, at_each_place
from airflow_hybrid.engine.spec import FragmentOutcome, FragmentSpec
from airflow_hybrid.errors import CwlError, LocationGoneError, SiteError
from airflow_hybrid.model import CwlObject, LineageEntry, Resources
from airflow_hybrid.model.containers import ImageSource
from airflow_hybrid.model.files import ROUTES_OF_OUTPUTS, counted
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files.mover import DataMover
from airflow_hybrid.sites.patience import outages

log = logging.getLogger(__name__)
T = TypeVar("T")
_LOOPS_SHOWN = 20
EARLIER_END_S = 60.0
"""how long the jobs of a cleared task may take to end before those of the next generation start"""


class FragmentExecution:
    """Runs one fragment to its end. ``run`` may be called again at any time, in any process.

    :param again: not None: the fragment has ended, and jobs whose outputs are lost are run again.
    """

    def __init__(self, spec: FragmentSpec, logger: Logger | None = None, again: Again | None = None) -> None:
        locations = Locations(spec.deployments, spec.links)
        self.context = FragmentContext(spec, Places(spec), locations, DataMover(locations), logger or log)
        self.jobs = 0
        self.chooser = Chooser(self.context, near_copies)
        self.again = again
        self.batches = BatchRunner(self.context, again)
        self.verdicts = Verdicts(self.context)

    # --- the loop ------------------------------------------------------------------------------------------------

    async def run(self) -> FragmentOutcome:
        """Run all jobs of the fragment.

        :raises JobFailedError: jobs failed; says which, where, why, and whether to retry.
        :raises SiteError: a location could not be used; batches submitted there go on, and the next try finds them.
        :raises CwlError: an expression, an input or an output does not fit the document.
        """
        try:
            return await self._run()
        except CwlError as error:
            # the position of a step, not a position in a document
            if self.context.spec.position and (error.where or "").startswith(self.context.spec.step_path):
                error.where = f"{self.context.spec.position}: {error.where}"
            raise

    async def _run(self) -> FragmentOutcome:
        spec = self.context.spec
        await self._meet_earlier()
        loop, patience = asyncio.get_running_loop(), outages.current()

        def ask(function: Callable[[str, Mapping[str, Deployment]], Coroutine[Any, Any, T]], uri: str) -> T:
            """Answers, for the cwltool thread, what only the location knows."""
            read = functools.partial(function, uri, spec.deployments)
            patiently = patience.through(read, spec.step_path, is_known=True)
            return asyncio.run_coroutine_threadsafe(patiently, loop).result()

        fragment = await in_cwl_thread(functools.partial(Fragment.load, spec.document, chunked=spec.chunked))
        run = await in_cwl_thread(
            functools.partial(
                fragment.start,
                spec.instances,
                name=spec.identity.directory,
                part=self._part(fragment.single),
                access=FileAccess(functools.partial(ask, read_start), functools.partial(ask, list_folder)),
                binding=self.context.places.binding,
            )
        )
        active: set[asyncio.Task[None]] = set()
        try:
            while True:
                pending = await self._draw(run, fragment.single)
                self.jobs += len(pending)
                for group in self._groups(pending):
                    active.add(asyncio.ensure_future(self._run_group(group)))
                if run.paused:
                    continue
                if not active:
                    break
                done, active = await asyncio.wait(active, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            await self.batches.checkpoints.finish(await self._published(run))
        finally:
            for task in active:
                task.cancel()
            await asyncio.gather(*active, return_exceptions=True)
            await self.batches.checkpoints.give_up()
        return await self._finish(run)

    async def _published(self, run: FragmentRun) -> list[CwlObject]:
        """The outputs of its instances; of jobs that failed, none."""
        if self.batches.failures:
            return []
        return [result.outputs for result in await in_cwl_thread(run.results)]

    def _part(self, single: bool) -> Part:
        spec = self.context.spec
        part = Part(spec.first, originals=spec.originals)
        if self.again is not None:
            part = self.again.part(spec.first, single=single)
        return replace(part, outer_indexes=spec.outer_indexes)

    async def _draw(self, run: FragmentRun, single: bool) -> list[PendingJob]:
        """The jobs that are ready to run."""
        pending = await in_cwl_thread(run.pump)
        if self.again is None or not single:
            return pending
        # only those are run again that are missed; cwltool takes the others for done, without outputs
        left_out = self.again.left_out(pending)

        def leave_out() -> None:
            for job in left_out:
                job.complete(None)

        await in_cwl_thread(leave_out)
        return [job for job in pending if job not in left_out]

    async def _finish(self, run: FragmentRun) -> FragmentOutcome:
        for loop, count in list(run.iterations.items())[:_LOOPS_SHOWN]:
            self.context.log.info("%s ran %d iterations", loop, count)
        if self.batches.failures:
            error = failed(self.batches.failures, self.jobs)
            if self.again is None:  # the verdict about a task is not for those who miss its files
                await self.verdicts.write(error)
            raise error
        results = await in_cwl_thread(run.results)
        for result in results:
            if result.status not in ("success", "skipped"):
                raise CwlError(result.message or f"ended as {result.status}", where=self.context.spec.step_path)
        return FragmentOutcome(results, self.lineage(), self.jobs)

    def lineage(self, shortened: Collection[str] = ROUTES_OF_OUTPUTS) -> list[LineageEntry]:
        """What is known by now of files that were staged or produced, and of where jobs were placed.

        :param shortened: routes of which many entries are one.
        """
        return [*self.chooser.lineage, *counted(self.batches.lineage, shortened)]

    @property
    def lineage_entries(self) -> int:
        """How many entries the lineage has by now."""
        return len(self.chooser.lineage) + len(self.batches.lineage)

    @staticmethod
    def _groups(pending: Sequence[PendingJob]) -> list[list[PendingJob]]:
        groups: dict[tuple[str, Resources, ImageSource | None], list[PendingJob]] = {}
        for job in pending:
            groups.setdefault((job.step_path, job.resources, job.image), []).append(job)
        return list(groups.values())

    @property
    def submitted(self) -> FragmentSpec:
        """The fragment as the try to which its jobs belong: who cancels it cancels them."""
        spec = self.context.spec
        return replace(spec, identity=replace(spec.identity, try_number=self.batches.attempt))

    async def cancel(self) -> None:
        """Cancel every job of this try of the task and of earlier ones, at every place where they may be.

        This does not stop a later try of the same task, which may have begun before this is called.

        :raises SiteError: a place did not answer; the others were still asked.
        """
        with outages.waits(outages.Patience(self.context.log, limit_s=0, final=False)):
            places = await self.context.places.all()

        async def end(place: Place) -> None:
            if place.down is not None:
                raise place.down
            identity = self.context.spec.identity
            await place.queue.cancel(place.task_directory(identity), identity.try_number)

        await all_of(*(end(place) for place in places))

    async def _meet_earlier(self) -> None:
        """Learn from earlier tries, and end what they have left that nobody waits for."""
        await self._end_unended()
        if self.context.spec.identity.try_number > 1 or self.again is not None:
            self.batches.earlier = await self.verdicts.read()
        if self.again is None:
            await self._end_earlier()

    async def _end_unended(self) -> None:
        """Cancel jobs of earlier tries that were to be cancelled while their site was away."""
        if self.context.spec.identity.try_number == 1:
            return
        for path in await asyncio.to_thread(unended.before, self.context.spec.identity):
            left = await asyncio.to_thread(unended.read, path, self.context.log)
            if left is None:
                continue
            cancel = FragmentExecution(left.spec, self.context.log).cancel
            if _is_bound_to_one_place(left.spec, self.context.spec):
                await outages.current().through(cancel, self.context.spec.step_path)
            elif problem := await _tried(cancel):
                number = left.spec.identity.try_number
                self.context.log.warning("jobs of try %d may still run, and are cancelled later: %s", number, problem)
                continue
            await asyncio.to_thread(left.remove)

    async def _end_earlier(self) -> None:
        """Cancel the jobs of earlier generations of the task: it was cleared, and nobody waits for their results.

        Airflow tells the old trigger only two seconds later, and never if that triggerer has died.
        """
        earlier = self.context.spec.identity.earlier()
        if not earlier:
            return

        async def end(place: Place) -> None:
            for identity in earlier:
                directory = place.task_directory(identity)
                left = await place.queue.end_all(directory, EARLIER_END_S)
                if left:
                    self.context.log.warning(
                        "%s: jobs from before the task was cleared have not ended within %g s: %s in %s",
                        place.title, EARLIER_END_S, ", ".join(left), directory,
                    )  # fmt: skip

        await at_each_place(self.context, end)

    async def _run_group(self, jobs: list[PendingJob]) -> None:
        """Place jobs of one leaf step with the same needs, and run one batch per place."""

        async def run(share: Share) -> None:
            try:
                await self.batches.run(share.place, share.jobs, share.peers)
            except LocationGoneError as error:  # the next attempt places its jobs elsewhere
                raise LocationGoneError(error.message, where=error.where, hint=error.hint, retryable=True) from error
            finally:
                share.done()

        divide = functools.partial(self.chooser.divide, jobs)
        shares = await outages.current().through(divide, jobs[0].step_path)
        await all_of(*(run(share) for share in shares))


def _is_bound_to_one_place(*specs: FragmentSpec) -> bool:
    """Whether all jobs of some fragments have one and the same target."""
    return len({target for spec in specs for path in spec.leaves for target in bind(spec.bindings, path).targets}) == 1


async def _tried(action: Callable[[], Awaitable[None]]) -> SiteError | None:
    """Do something; why it could not be done."""
    try:
        await action()
    except SiteError as error:
        return error
    return None
