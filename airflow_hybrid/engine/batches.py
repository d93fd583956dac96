# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The life of a batch at a place: stage, build, submit (or take over what was submitted), wait, collect."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import posixpath
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from airflow_hybrid import metrics
from airflow_hybrid.amounts import counted
from airflow_hybrid.config import bind
from airflow_hybrid.cwl.jobs.job import Grant, PendingJob
from airflow_hybrid.engine.checkpoints.copying import Checkpoints
from airflow_hybrid.engine.collecting import collect, complete
from airflow_hybrid.engine.common import all_of, in_cwl_thread
from airflow_hybrid.engine.failures import Failure, shown_command
from airflow_hybrid.engine.inputs_there import check_inputs, stage_inputs
from airflow_hybrid.engine.job_images import image_of, own_image
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.placing.spreading import tell
from airflow_hybrid.engine.recovery.again import Again
from airflow_hybrid.engine.reporting import job_logs
from airflow_hybrid.engine.reporting.progress import ProgressLog
from airflow_hybrid.engine.reporting.recording import Recorder, measure
from airflow_hybrid.engine.resubmission.deciding import Resubmissions, keep_failures, options_without
from airflow_hybrid.engine.retrying.rules import retries_of
from airflow_hybrid.engine.retrying.verdicts import EarlierTries
from airflow_hybrid.engine.reuse.outputs import Reuse, ReuseLookup
from airflow_hybrid.engine.step_run import JobProgress, StepRun, title
from airflow_hybrid.errors import SubmitError
from airflow_hybrid.metrics import table
from airflow_hybrid.metrics.batches import BatchMeter, count_ended, count_tried_again
from airflow_hybrid.model import AskedResources, CwlObject, FactsNeeded, JobResult, JobScript, LineageEntry, Question
from airflow_hybrid.sites.batches.poller import Progress
from airflow_hybrid.sites.batches.queue import Batch, BatchReport


@dataclass
class _Met:
    """The batches in a task directory that one execution knows about.

    :ivar ours: names of the batches that this execution submits, including those of other iterations of a loop.
    :ivar others: batches that an earlier try or a killed process left there, by name.
    """

    ours: set[str] = field(default_factory=set)
    others: dict[str, BatchReport] = field(default_factory=dict)


class BatchRunner:
    """Runs the batches of one fragment.

    :ivar lineage: one entry for each file staged or produced; ``failures``: the failed jobs.
    :ivar earlier: what earlier tries did about their failed jobs.
    :ivar recorder: what is known of the jobs, for people.
    :ivar checkpoints: second copies of outputs.
    :ivar attempt: the number of the attempt that jobs belong to that are submitted now.
    :param again: not None: only jobs whose outputs are lost are run.
    """

    def __init__(self, context: FragmentContext, again: Again | None = None) -> None:
        self.context = context
        self.again = again
        self.attempt = context.spec.identity.try_number
        self.lineage: list[LineageEntry] = []
        self.failures: list[Failure] = []
        self.earlier = EarlierTries()
        self.recorder = Recorder()
        self._met: dict[str, _Met] = {}
        self._resubmissions = Resubmissions(context, lambda run, jobs: self.recorder.ended(run, jobs, {}), self.lineage)
        self._reuse = Reuse(context)
        self.checkpoints = Checkpoints(context, self.lineage)

    async def run(self, place: Place, jobs: Sequence[PendingJob], peers: Sequence[Place] = ()) -> None:
        """Run jobs at a place; ``peers``: the other locations of each job, where the place has no queue."""
        began = time.time()
        with self.recorder.doing("staging inputs", place, jobs):
            staged = await stage_inputs(self.context, place, jobs)
        self.lineage.extend(staged.lineage)
        with self.recorder.doing("getting the image ready", place, jobs):
            image = await image_of(place, jobs[0], self.context, self.lineage)
        progress = {job.key: JobProgress(job) for job in jobs}
        run = StepRun(place, peers, staged.paths, image, progress, inputs_changed=staged.changed, staging_began=began)
        lookup = await self._until_all_ended(run)
        await self._build_where_they_ran(run)
        retries = retries_of(self.context.spec, jobs[0].step_path)
        outputs: dict[str, CwlObject] = {}
        failures: list[Failure] = []
        examined_at = time.monotonic()
        measuring = asyncio.ensure_future(measure(run))
        try:
            collected = await collect(run, retries, self.context.log)
            outputs, failures, run.collected = collected.outputs, collected.failures, time.time()
            await measuring
        finally:
            measuring.cancel()
            self.recorder.ended(run, list(run.jobs.values()), outputs, failures)
        made = {run.jobs[key].outdir: value for key, value in outputs.items()}
        self.context.just_made.note(made, examined_at)
        if self.again is not None:
            self.again.note(run, outputs)
        self.lineage.extend(collected.lineage)
        self.failures.extend(failures)
        self.checkpoints.begin(run, outputs)
        if lookup is not None:
            # a job that a rule has changed is not the one that was looked up
            same = {key for key, progress in run.jobs.items() if progress.job.asked_again == AskedResources()}
            await self._reuse.record(place, lookup, {key: outputs[key] for key in outputs.keys() & same})

    async def _until_all_ended(self, run: StepRun) -> ReuseLookup | None:
        """Take over the jobs that others have begun, and run the rest.

        :return: the result of the lookup for reuse; None if all jobs had been begun already and nothing was looked up.
        """
        met = self._met_at(run.place)
        await self._adopt_all(run, list(met.others.values()))
        if self.again is not None:
            reports = await run.place.queue.inspect(self._task_directory(run.place))
            self.attempt = self.again.attempt([report.name for report in reports], self.earlier.cancelled)
            await self._adopt_all(run, reports)
        if run.inputs_changed:
            await self._adopt_all(run, await run.place.queue.inspect(self._task_directory(run.place)))
        lookup: ReuseLookup | None = None
        while run.waiting:
            if run.inputs_changed:  # not by these jobs: they have not begun
                await check_inputs(self.context, run.place, [progress.job for progress in run.waiting])
            batches = self._batches(run)
            built = {job.key: posixpath.join(directory, job.key) for directory in batches for job in batches[directory]}
            with self.recorder.doing("making command lines", run.place, [progress.job for progress in run.waiting]):
                await self._build(run, built)
            if lookup is None:
                lookup = await self._look_up(run)
                if lookup.outputs:
                    continue  # the batches are others without them
            await self._run_batches(run, batches, met)
        return lookup

    def _batches(self, run: StepRun) -> dict[str, list[JobProgress]]:
        """The waiting jobs by the directory of the batch that they will be: jobs that ask for the same are one."""
        alike: dict[tuple[int, AskedResources, tuple[str, ...]], list[JobProgress]] = {}
        for job in run.waiting:
            alike.setdefault((job.resubmitted, job.job.asked_again, job.excluded), []).append(job)
        directory = self._task_directory(run.place)
        return {
            posixpath.join(directory, _batch_name(self.attempt, resubmitted, [job.key for job in jobs])): jobs
            for (resubmitted, *_), jobs in alike.items()
        }

    def _met_at(self, place: Place) -> _Met:
        return self._met.setdefault(f"{place.host.key}:{self._task_directory(place)}", _Met())

    def _task_directory(self, place: Place) -> str:
        return place.task_directory(self.context.spec.identity)

    # --- outputs of other runs -----------------------------------------------------------------------------------

    async def _look_up(self, run: StepRun) -> ReuseLookup:
        """Look for finished jobs that are the same as the waiting ones; jobs with such outputs are complete."""
        waiting = run.waiting
        scripts = {progress.key: progress.script for progress in waiting if progress.script is not None}
        lookup = await self._reuse.find(run.place, [progress.job for progress in waiting], scripts, run.image)
        if not lookup.outputs:
            return lookup
        self.context.log.info(
            "%s at %s: %d of %d jobs are the same as finished jobs: their outputs are reused",
            title(list(run.jobs.values())), run.place.title, len(lookup.outputs), len(run.jobs),
        )  # fmt: skip
        self.lineage.extend(lookup.lineage)
        reused = [progress for progress in waiting if progress.key in lookup.outputs]
        self.recorder.reused(run, reused, lookup.outputs)
        await in_cwl_thread(complete, reused, lookup.outputs)
        for key in lookup.outputs:
            del run.jobs[key]
        return lookup

    # --- building ------------------------------------------------------------------------------------------------

    async def _build(self, run: StepRun, directories: Mapping[str, str]) -> None:
        """Build jobs for their job directories, by key; the location answers cwltool's questions about files."""
        place = run.place
        grant = Grant(mpi=place.options.get("mpi"), image=run.image)

        def build_all() -> tuple[list[JobScript], list[Question]]:
            scripts: list[JobScript] = []
            questions: list[Question] = []
            for key, directory in directories.items():
                try:
                    script = run.jobs[key].job.build(directory, run.paths, place.facts, grant)
                    scripts.append(tell(script, directory, place, run.peers))
                except FactsNeeded as needed:
                    questions.extend(needed.questions)
            return scripts, questions

        scripts = await place.with_facts(build_all)
        for (key, directory), script in zip(directories.items(), scripts, strict=True):
            run.jobs[key].built_for, run.jobs[key].script = directory, script

    async def _build_where_they_ran(self, run: StepRun) -> None:
        """Outputs are bound by path: a job that an earlier try ran is built again for the directory it ran in."""
        ended = run.jobs.values()
        moved = {progress.key: progress.ran_in for progress in ended if progress.ran_in != progress.built_for}
        await self._build(run, moved)

    # --- running -------------------------------------------------------------------------------------------------

    async def _run_batches(self, run: StepRun, batches: Mapping[str, list[JobProgress]], met: _Met) -> None:
        """Submit the waiting jobs and wait for them, or take over batches that are there already.

        :param batches: see :meth:`_batches`.
        """
        place = run.place
        submitted: list[tuple[Batch, BatchReport]] = []
        unknown: list[BatchReport] = []
        for directory, jobs in batches.items():
            batch = self._batch(run, directory, jobs, met)
            met.ours.add(batch.name)
            try:
                with self.recorder.doing("submitting", place, [progress.job for progress in jobs]):
                    reports = await place.patiently(functools.partial(place.queue.submit, batch))
            except SubmitError as error:
                if error.retryable or any(job.failed is None for job in jobs):
                    raise
                keep_failures(jobs, error)
                continue
            ours = next((report for report in reports if report.name == batch.name), None)
            if ours is None:  # an earlier try (or a killed process) left batches here: they come first
                met.ours.discard(batch.name)
                unknown = reports
                break
            submitted.append((batch, ours))
        await all_of(*(self._follow(run, batch, ours) for batch, ours in submitted))
        met.others.update((report.name, report) for report in unknown)
        await self._adopt_all(run, unknown)

    async def _follow(self, run: StepRun, batch: Batch, ours: BatchReport) -> None:
        """Wait for a batch of ours, which may have been submitted earlier."""
        place, log = run.place, self.context.log
        jobs = run.waiting_of(ours.keys)
        deployment = place.target.deployment
        if ours.attached:
            metrics.count(table.RECOVERED, len(jobs), deployment=deployment, how="reattached")
        else:
            metrics.count(table.JOBS_SUBMITTED, len(jobs), deployment=deployment)
        meter = BatchMeter(deployment, submitted=not ours.attached)
        log.info(
            "%s at %s: %s %s %s\n  folder: %s\n  command: %s",
            title(jobs), place.title, counted(len(jobs), 'job'),
            "submitted earlier, and followed now," if ours.attached else "submitted",
            job_logs.submitted(ours.scheduler_ids, batch.options), ours.directory, shown_command(batch.jobs[0]),
        )  # fmt: skip
        results = await self._wait(run, ours, jobs, meter)
        for progress in jobs:
            progress.staging_began = None if ours.attached else run.staging_began
            progress.end(results[progress.key], ours.directory)
        count_ended(deployment, (progress.end_state for progress in jobs))
        await self._resubmissions.decide(run, jobs, ours.resubmission)

    def _batch(self, run: StepRun, directory: str, jobs: Sequence[JobProgress], met: _Met) -> Batch:
        """Waiting jobs, built for this batch directory."""
        first = jobs[0].job
        batch_name = posixpath.basename(directory)
        return Batch(
            directory=directory,
            title=first.step_path.rsplit("/", 1)[-1],
            keys=tuple(progress.key for progress in jobs),
            jobs=tuple(progress.script for progress in jobs if progress.script is not None),
            resources=first.resources,
            options={**options_without(jobs[0].excluded, run.place), **own_image(run.place, first)},
            known_batches=tuple(sorted((met.ours | run.adopted) - {batch_name})),
            locations=run.place.target.locations,
            indexes=tuple(progress.job.suffix for progress in jobs),
        )

    async def _adopt_all(self, run: StepRun, reports: Iterable[BatchReport]) -> None:
        order = sorted(reports, key=lambda report: (report.attempt, report.resubmission))
        last = {key: report.name for report in order for key in report.keys}
        for report in order:
            if report.name not in run.adopted:
                run.adopted.add(report.name)
                await self._adopt(run, report, {key for key in report.keys if last[key] != report.name})

    async def _adopt(self, run: StepRun, report: BatchReport, superseded: Collection[str]) -> None:
        """Take over the jobs of a batch submitted earlier: finished jobs count, failed jobs are attempted again.

        :param superseded: keys of those that were submitted again since, whatever rules and retries say by now: how
            they ended there counts.
        """
        jobs = run.waiting_of(report.keys)
        if not jobs:
            return
        log, deployment = self.context.log, run.place.target.deployment
        metrics.count(table.RECOVERED, len(jobs), deployment=deployment, how="reattached")
        where = f"{report.directory} at {run.place.title}"
        log.info("an earlier attempt has %s in %s", counted(len(jobs), "job"), where)
        results = await self._wait(run, report, jobs, BatchMeter(deployment, submitted=False))
        for progress in jobs:
            progress.end(results[progress.key], report.directory)
        if self.again is not None:
            there = await self.again.still_there(run, report.name, jobs)
            if len(there) < len(jobs):
                missing = counted(len(jobs) - len(there), "job")
                log.info("the outputs of %s in %s are lost: made again", missing, where)
            jobs = there
        same_try = report.attempt == self.attempt
        if same_try:  # those of an earlier try were counted by it
            count_ended(deployment, (progress.end_state for progress in jobs))
        if report.attempt > self.context.spec.identity.cleared:  # after a clear, the rules begin anew
            await self._resubmissions.decide(run, jobs, report.resubmission if same_try else None)
        failed = [progress for progress in jobs if progress.result is not None and not progress.succeeded]
        again = [job for job in failed if job.key in superseded or self._runs_again(job, report.attempt)]
        self.recorder.ended(run, again, {})
        states = [progress.end_state for progress in again]
        for progress in again:
            progress.result = None
        if again:
            count_tried_again(deployment, states)
            log.info("%s", job_logs.attempted_again(states))

    def _runs_again(self, progress: JobProgress, attempt: int) -> bool:
        """Whether a failed job of a batch is run again by this try: one that an earlier try ran."""
        if attempt >= self.attempt or progress.result is None:
            return False
        retries = retries_of(self.context.spec, progress.job.step_path, attempt)
        released = self.earlier.release(progress.result.state, attempt)
        return released or retries.decide(progress.result, progress.declared).again

    async def _wait(
        self, run: StepRun, report: BatchReport, jobs: Sequence[JobProgress], meter: BatchMeter
    ) -> dict[str, JobResult]:
        """Wait for a batch, which may include jobs of others; -> results by key."""
        place, log = run.place, self.context.log
        paths = {
            progress.key: job_logs.stderr_path(posixpath.join(report.directory, progress.key), progress.script)
            for progress in jobs
        }
        tails = job_logs.Tails(place, report.directory, [progress.job for progress in jobs], paths, log)
        shown = bind(self.context.spec.bindings, jobs[0].job.step_path).logs == "tail"
        async with tails.following() if shown else contextlib.nullcontext():
            with closing(ProgressLog(f"{title(jobs)} at {place.title}", log)) as progress_log, closing(meter):

                def tell(progress: Progress) -> None:
                    meter.tell(progress)
                    progress_log.tell(progress)
                    self.recorder.progressed(report, progress)

                self.recorder.begun(place, report, jobs)
                results = await place.patiently(functools.partial(place.queue.wait, report.directory, tell))
                self.recorder.over(report)
                meter.started()
        log.info("%s at %s: %s", title(jobs), place.title, job_logs.ended(results))
        return dict(zip(report.keys, results, strict=True))


def _batch_name(attempt: int, resubmitted: int, keys: Iterable[str]) -> str:
    digest = hashlib.sha1("\n".join(sorted(keys)).encode(), usedforsecurity=False).hexdigest()
    times = f"r{resubmitted}-" if resubmitted else ""
    return f"a{attempt}-{times}{digest[:10]}"
