# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The life of a batch at a place: stage, build, submit (or find what was submitted), wait, collect."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.config import bind
from airflow_hybrid.cwl.jobs.job import Grant, PendingJob
from airflow_hybrid.engine import job_logs
from airflow_hybrid.engine.common import in_cwl_thread
from airflow_hybrid.engine.executables import words_at_sites, words_for
from airflow_hybrid.engine.failures import Failure, jobs_in_words, shown_command
from airflow_hybrid.engine.job_images import image_of, own_image
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place, ref_of
from airflow_hybrid.engine.placing.spreading import tell
from airflow_hybrid.engine.progress import ProgressLog
from airflow_hybrid.engine.reuse.outputs import Found, Reuse
from airflow_hybrid.engine.site_faults import site_faults, with_what_is_there
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import (
    CwlObject,
    FactsNeeded,
    FileRef,
    JobResult,
    JobScript,
    JsonValue,
    LineageEntry,
    Question,
)
from airflow_hybrid.model.containers import ReadyImage
from airflow_hybrid.printable import printable
from airflow_hybrid.sites.batches.queue import Batch, BatchReport
from airflow_hybrid.sites.files.mover import StageRequest, store_path
from airflow_hybrid.sites.hosts.job_folders import job_directory_of

MOST_LEFT_OUT = 20
"""names of a job that are told"""


@dataclass
class _Met:
    """The batches in a task directory that one execution knows of.

    :ivar ours: tokens of those that it submits itself, the other iterations of a loop among them.
    :ivar others: what an earlier try, or a process that was killed, has left there, by token.
    """

    ours: set[str] = field(default_factory=set)
    others: dict[str, BatchReport] = field(default_factory=dict)


class BatchRunner:
    """Runs the batches of one fragment.

    :ivar lineage: of every file staged or produced; ``failures``: jobs that failed.
    """

    def __init__(self, context: FragmentContext) -> None:
        self.context = context
        self.lineage: list[LineageEntry] = []
        self.failures: list[Failure] = []
        self._met: dict[str, _Met] = {}
        self._reuse = Reuse(context)

    async def run(self, place: Place, jobs: list[PendingJob], peers: Sequence[Place] = ()) -> None:
        """Run jobs at a place; ``peers``: the other locations that each of them has, where the place has no queue."""
        paths = await self._stage(place, jobs)
        image = await image_of(place, jobs[0], self.context, self.lineage)
        done: dict[str, JobResult] = {}
        directories: dict[str, str] = {}
        waiting = {job.key: job for job in jobs}
        built: dict[str, str] = {}
        scripts_of: dict[str, JobScript] = {}
        task_directory = place.task_directory(self.context.spec.identity)
        attempt = self.context.spec.identity.try_number
        met = self._met.setdefault(f"{place.host.key}:{task_directory}", _Met())
        adopted: set[str] = set()
        found: Found | None = None

        async def adopt(reports: Iterable[BatchReport]) -> None:
            for report in reports:
                if report.token not in adopted:
                    adopted.add(report.token)
                    await self._adopt(place, report, waiting, done, directories)

        await adopt(list(met.others.values()))
        while waiting:
            token = _token(attempt, waiting)
            met.ours.add(token)
            directory = posixpath.join(task_directory, token)
            wanted = {k: f"{directory}/{k}" for k in waiting}
            scripts = await self._build(place, waiting.values(), wanted, paths, image, peers)
            if found is None:
                of_waiting = dict(zip(waiting, scripts, strict=True))
                found = await self._reuse.find(place, list(waiting.values()), of_waiting, image)
                if found.outputs:
                    jobs = await self._take(place, jobs, found)
                    for key in found.outputs:
                        del waiting[key]
                    continue  # the batch is another one without them
            built.update(dict.fromkeys(waiting, directory))
            scripts_of.update(zip(waiting, scripts, strict=True))
            batch = Batch(
                directory=directory,
                name=jobs[0].step_path.rsplit("/", 1)[-1],
                keys=tuple(waiting),
                jobs=tuple(scripts),
                resources=jobs[0].resources,
                options={**place.options, **own_image(place, jobs[0])},
                known=tuple(sorted((met.ours | adopted) - {token})),
                locations=place.target.locations,
            )
            reports = await place.patiently(functools.partial(place.queue.submit, batch), self.context.log)
            ours = next((report for report in reports if report.token == token), None)
            if ours is None:
                # batches of an earlier try (or of a process that was killed) are there: take what they have
                met.others.update((report.token, report) for report in reports)
                await adopt(reports)
                continue
            batch_jobs = [waiting[key] for key in ours.keys if key in waiting]
            self.context.log.info(
                "%s at %s: %s submitted %s\n  folder: %s\n  command: %s",
                title(batch_jobs), place.title, jobs_in_words(len(batch_jobs)),
                job_logs.submitted(ours.scheduler_ids, batch.options), ours.directory, shown_command(scripts[0]),
            )  # fmt: skip
            results = await self._wait(place, ours, batch_jobs, scripts_of)
            for key, result in zip(ours.keys, results, strict=True):
                if key in waiting:
                    done[key], directories[key] = result, posixpath.join(ours.directory, key)
                    del waiting[key]
        # outputs are bound by paths: a job that an earlier try ran is built again for where it was run
        moved = [job for job in jobs if directories[job.key] != f"{built.get(job.key)}/{job.key}"]
        await self._build(place, moved, directories, paths, image, peers)
        outputs = await self._collect(place, jobs, done, directories, scripts_of, paths)
        if found is not None:
            await self._reuse.record(place, found, outputs)

    async def _take(self, place: Place, jobs: list[PendingJob], found: Found) -> list[PendingJob]:
        """Complete the jobs whose outputs were found; -> the others."""
        self.context.log.info(
            "%s at %s: %d of %d jobs are the same as finished ones: their outputs are reused",
            title(jobs), place.title, len(found.outputs), len(jobs),
        )  # fmt: skip
        self.lineage.extend(found.lineage)
        await in_cwl_thread(_complete, jobs, found.outputs)
        return [job for job in jobs if job.key not in found.outputs]

    async def _adopt(
        self,
        place: Place,
        report: BatchReport,
        waiting: dict[str, PendingJob],
        done: dict[str, JobResult],
        directories: dict[str, str],
    ) -> None:
        """Take the jobs of a batch that was submitted before: finished ones count, failed ones are attempted anew."""
        wanted = [key for key in report.keys if key in waiting]
        if not wanted:
            return
        self.context.log.info("re-attached to %s at %s: %s", report.directory, place.title, jobs_in_words(len(wanted)))
        results = await self._wait(place, report, [waiting[key] for key in wanted], {})
        again = 0
        for key, result in zip(report.keys, results, strict=True):
            if key not in waiting:
                continue
            succeeded = result.exit_code is not None and waiting[key].status(result.exit_code) == "success"
            if not succeeded and report.attempt < self.context.spec.identity.try_number:
                again += 1
                continue
            done[key], directories[key] = result, posixpath.join(report.directory, key)
            del waiting[key]
        if again:
            self.context.log.info("%s that failed before: attempted again", jobs_in_words(again))

    async def _wait(
        self, place: Place, report: BatchReport, jobs: Sequence[PendingJob], scripts: Mapping[str, JobScript]
    ) -> list[JobResult]:
        paths = {job.key: job_logs.stderr_path(f"{report.directory}/{job.key}", scripts.get(job.key)) for job in jobs}
        tails = job_logs.Tails(place, report.directory, jobs, paths, self.context.log)
        shown = bind(self.context.spec.bindings, jobs[0].step_path).logs == "tail"
        async with tails.following() if shown else contextlib.nullcontext():
            results = await self._results(place, report, jobs)
        self.context.log.info("%s at %s: %s", title(jobs), place.title, job_logs.ended(results))
        return results

    async def _results(self, place: Place, report: BatchReport, jobs: Sequence[PendingJob]) -> list[JobResult]:
        with closing(ProgressLog(f"{title(jobs)} at {place.title}", self.context.log)) as progress:
            wait = functools.partial(place.queue.wait, report.directory, progress.tell)
            return await place.patiently(wait, self.context.log)

    async def _stage(self, place: Place, jobs: Sequence[PendingJob]) -> dict[str, str]:
        """Bring the jobs' input files to the location; -> where each URI is there."""
        paths: dict[str, str] = {}
        requests: list[StageRequest] = []
        in_place: list[StageRequest] = []
        elsewhere: list[CwlObject] = []
        for job in jobs:
            for file in job.files():
                uri = file["location"]
                if uri in paths:
                    continue
                ref = ref_of(file)
                if ref is not None:
                    self._check_known(ref, job)
                if ref is not None and self._same_storage(place, ref):
                    paths[uri] = ref.path
                    in_place.append(StageRequest.of(file, place.host, ref.path))
                    continue
                paths[uri] = ""
                elsewhere.append(file)
        executables = await asyncio.to_thread(words_for, elsewhere, self.context.spec.deployments)
        executables.update(await words_at_sites(elsewhere, self.context.locations, self.context.log))
        for file in elsewhere:
            uri = file["location"]
            paths[uri] = store_path(place.workdir, file, executables.get(uri, ""))
            requests.append(StageRequest.of(file, place.host, paths[uri]))
        check = functools.partial(self.context.mover.check_in_place, in_place, self.context.spec.began)
        await place.patiently(check, self.context.log)
        for members in await self._listed(jobs):
            await self.context.mover.check_in_place(members, self.context.spec.began)
        if requests:
            entries = await self.context.mover.stage(requests)
            self.lineage.extend(entries)
            moved = [e for e in entries if not e.reused]
            self.context.log.info(
                "staged %d files to %s: %d moved (%d bytes), %d already there",
                len(entries), place.host.title, len(moved), sum(e.bytes for e in moved), len(entries) - len(moved),
            )  # fmt: skip
        return paths

    async def _listed(self, jobs: Sequence[PendingJob]) -> list[list[StageRequest]]:
        """What listings say of the users' own directories, by location: what is in them now may be something else."""
        found: dict[str, StageRequest] = {}
        for job in jobs:
            for file in job.files():
                for member in _members(file):
                    ref = ref_of(member)
                    if ref is not None and ref.uri not in found and job_directory_of(ref.path) is None:
                        self._check_known(ref, job)
                        found[ref.uri] = StageRequest.of(member, await self.context.locations.host_of(ref), ref.path)
        by_host: dict[str, list[StageRequest]] = {}
        for request in found.values():
            by_host.setdefault(request.host.key, []).append(request)
        return list(by_host.values())

    def _same_storage(self, place: Place, ref: FileRef) -> bool:
        return self.context.locations.same_storage(ref, place.host)

    def _check_known(self, ref: FileRef, job: PendingJob) -> None:
        if not self.context.locations.knows(ref):
            raise CwlError(
                f"an input file is said to be at deployment {ref.deployment!r}, which this DAG does not have",
                where=job.label,
            )

    async def _build(
        self,
        place: Place,
        jobs: Collection[PendingJob],
        directories: Mapping[str, str],
        paths: Mapping[str, str],
        image: ReadyImage | None,
        peers: Sequence[Place],
    ) -> list[JobScript]:
        def build() -> tuple[list[JobScript], list[Question]]:
            scripts: list[JobScript] = []
            questions: list[Question] = []
            for job in jobs:
                try:
                    mpi = place.options.get("mpi")
                    script = job.build(directories[job.key], paths, place.facts, Grant(mpi=mpi, image=image))
                    scripts.append(tell(script, directories[job.key], place, peers))
                except FactsNeeded as needed:
                    questions.extend(needed.questions)
            return scripts, questions

        return await place.with_facts(build, self.context.log)

    async def _collect(
        self,
        place: Place,
        jobs: Sequence[PendingJob],
        done: Mapping[str, JobResult],
        directories: Mapping[str, str],
        scripts: Mapping[str, JobScript],
        paths: Mapping[str, str],
    ) -> dict[str, CwlObject]:
        finished = [job for job in jobs if done[job.key].exit_code is not None]
        usable = [job for job in finished if job.status(done[job.key].exit_code or 0) == "success"]
        if usable:
            trees = [posixpath.join(directories[job.key], "out") for job in usable]
            place.facts.merge(
                await place.patiently(functools.partial(place.queue.facts, trees=trees), self.context.log)
            )

        def collect() -> tuple[list[CwlObject], list[Question]]:
            outputs: list[CwlObject] = []
            questions: list[Question] = []
            for job in usable:
                try:
                    outputs.append(
                        job.collect(done[job.key].exit_code or 0, directories[job.key], place.facts, place.uri)
                    )
                except FactsNeeded as needed:
                    questions.extend(needed.questions)
                except CwlError:
                    refused.append(job)
                    raise
            return outputs, questions

        refused: list[PendingJob] = []
        try:
            outputs = dict(
                zip((job.key for job in usable), await place.with_facts(collect, self.context.log), strict=True)
            )
        except CwlError as error:
            if not refused:
                raise
            job = refused[-1]
            raise await with_what_is_there(error, job, place, directories[job.key], done[job.key]) from error
        for value in outputs.values():
            self.lineage.extend(_produced(value))
        for job in usable:
            if job.left_out:
                self.context.log.warning(
                    "%s at %s: in its output folders is what is neither a file nor a directory, and is left out: %s",
                    job.label, place.title, printable(", ".join(job.left_out[:MOST_LEFT_OUT])),
                )  # fmt: skip

        ended_badly = [job for job in jobs if job.key not in outputs]
        faults = await site_faults(place, ended_badly, done, directories, paths, self.context.log)

        def complete() -> None:
            for job in jobs:
                if job.key in outputs:
                    job.complete(outputs[job.key], "success")
                else:
                    result = done[job.key]
                    status = "permanentFail" if result.exit_code is None else job.status(result.exit_code)
                    self.failures.append(
                        Failure(
                            job.label, place.title, result, status, directories[job.key],
                            shown_command(scripts[job.key]), job.resources, faults.get(job.key, ""),
                        )
                    )  # fmt: skip
                    job.complete(None, status)

        await in_cwl_thread(complete)
        return outputs


def _complete(jobs: Sequence[PendingJob], outputs: Mapping[str, CwlObject]) -> None:
    for job in jobs:
        if job.key in outputs:
            job.complete(outputs[job.key], "success")


def title(jobs: Sequence[PendingJob]) -> str:
    """The step of a batch, and which iteration of its loop, if they are of one: ``/count: iteration 3``."""
    iterations = sorted({job.iteration for job in jobs}, key=lambda text: [int(n) for n in text.split(".") if n])
    if not iterations or iterations == [""]:
        return jobs[0].step_path if jobs else ""
    some = ", ".join(iterations[:3]) + (" ..." if len(iterations) > 3 else "")
    return f"{jobs[0].step_path}: iteration{'s' if len(iterations) > 1 else ''} {some}"


def _produced(value: JsonValue) -> list[LineageEntry]:
    found: list[LineageEntry] = []
    if isinstance(value, dict):
        if value.get("class") in ("File", "Directory") and "location" in value:
            uri, size = value["location"], int(value.get("size") or 0)
            found.append(LineageEntry(uri, uri, "produced", size, 0.0, value.get("checksum")))
        for item in value.values():
            found.extend(_produced(item))
    elif isinstance(value, list):
        for item in value:
            found.extend(_produced(item))
    return found


def _token(attempt: int, keys: Mapping[str, Any]) -> str:
    digest = hashlib.sha1("\n".join(sorted(keys)).encode(), usedforsecurity=False).hexdigest()
    return f"a{attempt}-{digest[:10]}"


def _members(directory: CwlObject) -> Iterator[CwlObject]:
    """What the listing of a Directory names, and those in it."""
    for member in directory.get("listing") or []:
        if isinstance(member, Mapping) and not str(member.get("location", "_:")).startswith("_:"):
            yield dict(member)
            yield from _members(dict(member))
