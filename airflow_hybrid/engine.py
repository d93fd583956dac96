# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The life of a fragment: resolve -> place -> stage -> build -> submit -> poll -> collect -> publish.

A *fragment* is a piece of a workflow that one Airflow task runs: most often one leaf step. Its jobs are found by
cwltool's own machinery (:mod:`airflow_hybrid.cwl.fragment`), gathered into batches, and run where their bindings
say. The job directory at the location is the truth: everything here may be repeated from the start, after a kill
of any process or a lost reply, and neither submits a job twice nor loses one that has finished.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import posixpath
import re
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from airflow_hybrid import placement
from airflow_hybrid.config import Deployment
from airflow_hybrid.cwl.fragment import Fragment, FragmentRun, InstanceResult, PendingJob
from airflow_hybrid.errors import CommandError, CwlError, HostUnreachableError, HybridError, JobFailedError
from airflow_hybrid.hooks.base import Host
from airflow_hybrid.hooks.connectors import open_connector
from airflow_hybrid.hooks.data_mover import DataMover, StageRequest, store_path
from airflow_hybrid.hooks.queue import Batch, BatchReport, JobQueue, Progress
from airflow_hybrid.model import (
    Binding,
    CwlObject,
    FactsNeeded,
    FileRef,
    JobResult,
    JobScript,
    JsonValue,
    LineageEntry,
    Question,
    Resources,
    SiteFacts,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_PROBE_ROUNDS = 8
PATIENCE_S = 600.0
"""how long a location that was in use may be out of reach before the try is given up (its jobs run on)"""
STDERR_LINES = 15
_CWL_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cwl")
"""cwltool is not safe for threads: all of its work in a process is done in this one"""


async def in_cwl_thread(function: Callable[..., T], *args: Any) -> T:
    """Run ``function`` in the process's one cwltool thread, so that the event loop is never blocked by it."""
    return await asyncio.get_running_loop().run_in_executor(_CWL_THREAD, functools.partial(function, *args))


@dataclass(frozen=True)
class TaskIdentity:
    """Which task instance this is; the path of its jobs' directories is a function of it.

    :ivar generation: grows when a user clears the task, and not when Airflow retries it.
    :ivar try_number: names the attempt that new jobs belong to.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    generation: int = 0
    try_number: int = 1

    @property
    def directory(self) -> str:
        """Relative path of the task directory: ``dag/run/task[/map_index]/g<generation>``."""
        parts = [_safe(self.dag_id), _safe(self.run_id), _safe(self.task_id)]
        if self.map_index >= 0:
            parts.append(str(self.map_index))
        return "/".join([*parts, f"g{self.generation}"])

    def to_json(self) -> JsonValue:
        return self.__dict__.copy()


@dataclass(frozen=True)
class FragmentSpec:
    """All that is needed to run a fragment anywhere: plain values, carried by the trigger.

    :ivar leaves: paths of the steps that its jobs may belong to.
    :ivar instances: complete inputs of the document, one object per instance.
    :ivar bindings: as in the hybrid file; the longest matching path of a job's step wins.
    :ivar deployments: by name; no secrets in them.
    """

    step_path: str
    leaves: tuple[str, ...]
    document: JsonValue
    instances: tuple[CwlObject, ...]
    bindings: tuple[Binding, ...]
    deployments: Mapping[str, Deployment]
    identity: TaskIdentity
    links: JsonValue = None
    chunked: bool = False

    def to_json(self) -> JsonValue:
        return {
            "step_path": self.step_path,
            "leaves": list(self.leaves),
            "document": self.document,
            "instances": list(self.instances),
            "bindings": [b.to_json() for b in self.bindings],
            "deployments": {name: d.to_json() for name, d in self.deployments.items()},
            "identity": self.identity.to_json(),
            "links": self.links,
            "chunked": self.chunked,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FragmentSpec:
        return cls(
            **{
                **value,
                "leaves": tuple(value["leaves"]),
                "instances": tuple(value["instances"]),
                "bindings": tuple(Binding.from_json(b) for b in value["bindings"]),
                "deployments": {n: Deployment.from_json(d) for n, d in value["deployments"].items()},
                "identity": TaskIdentity(**value["identity"]),
            }
        )


@dataclass
class FragmentOutcome:
    """What a fragment gave: one result per instance, and the lineage of every file staged or produced."""

    results: list[InstanceResult]
    lineage: list[LineageEntry]
    jobs: int


def task_value(outcome: FragmentOutcome, places: Sequence[int | None] | None, jobs: int | None) -> JsonValue:
    """What a task publishes of a fragment.

    :param places: in a chunk of instances, per instance its index among the fragment's, or None where it was skipped.
    :param jobs: length of a chunk of a scattered leaf, whose outputs are arrays.
    :return: the CWL output object; or a list of them, per instance or per job of the chunk.
    """
    if places is not None:
        return [None if k is None else outcome.results[k].outputs for k in places]
    outputs = outcome.results[0].outputs
    if jobs is None:
        return outputs
    return [{port: None if v is None else v[k] for port, v in outputs.items()} for k in range(jobs)]


class Logger(Protocol):
    """The part of a logger that the engine uses; a task's own log in Airflow."""

    def info(self, event: Any, /, *args: Any) -> Any: ...

    def warning(self, event: Any, /, *args: Any) -> Any: ...


@dataclass
class _Place:
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


class FragmentExecution:
    """Runs one fragment to its end. ``run`` may be called in any process, at any time, again."""

    def __init__(self, spec: FragmentSpec, logger: Logger | None = None) -> None:
        self.spec = spec
        self.log = logger or log
        self.mover = DataMover(spec.deployments, spec.links)
        self.lineage: list[LineageEntry] = []
        self.jobs = 0
        self._failures: list[_Failure] = []
        self._places: dict[tuple[str, str | None], list[_Place]] = {}

    # --- the loop ------------------------------------------------------------------------------------------------

    async def run(self) -> FragmentOutcome:
        """Run all jobs of the fragment.

        :raises JobFailedError: jobs failed; says which, where, why, and whether it makes sense to try again.
        :raises SiteError: a location could not be used; what was submitted there goes on and is found again.
        :raises CwlError: an expression, an input or an output does not fit the document.
        """
        spec = self.spec
        if spec.identity.try_number > 1:
            await self._raise_if_marked()
        loop = asyncio.get_running_loop()

        def ask(function: Callable[[str, Mapping[str, Deployment]], Coroutine[Any, Any, T]], uri: str) -> T:
            """From the cwltool thread: what only the location knows."""
            return asyncio.run_coroutine_threadsafe(function(uri, spec.deployments), loop).result()

        fragment = await in_cwl_thread(functools.partial(Fragment.load, spec.document, chunked=spec.chunked))
        run = await in_cwl_thread(
            functools.partial(
                fragment.start,
                spec.instances,
                name=spec.identity.directory,
                reader=functools.partial(ask, read_start),
                lister=functools.partial(ask, list_folder),
            )
        )
        active: set[asyncio.Task[None]] = set()
        try:
            while True:
                pending = await in_cwl_thread(run.pump)
                self.jobs += len(pending)
                for group in self._groups(pending):
                    active.add(asyncio.ensure_future(self._run_group(group)))
                if not active:
                    break
                done, active = await asyncio.wait(active, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in active:
                task.cancel()
            await asyncio.gather(*active, return_exceptions=True)
        return await self._finish(run)

    async def _finish(self, run: FragmentRun) -> FragmentOutcome:
        if self._failures:
            error = _failed(self._failures, self.jobs)
            if not error.retryable:
                await self._mark(error)
            raise error
        results = await in_cwl_thread(run.results)
        for result in results:
            if result.status not in ("success", "skipped"):
                raise CwlError(result.message or f"ended as {result.status}", where=self.spec.step_path)
        return FragmentOutcome(results, self.lineage, self.jobs)

    @staticmethod
    def _groups(pending: Sequence[PendingJob]) -> list[list[PendingJob]]:
        groups: dict[tuple[str, Resources], list[PendingJob]] = {}
        for job in pending:
            groups.setdefault((job.step_path, job.resources), []).append(job)
        return list(groups.values())

    async def _run_group(self, jobs: list[PendingJob]) -> None:
        """Jobs of one leaf step with the same needs: place them, and run a batch per place."""
        places = await self._places_of(jobs[0].step_path)
        if len(places) == 1:
            chosen = {0: jobs}
        else:
            chosen = {}
            for job in jobs:
                choice = self._choose(job, places)
                chosen.setdefault(choice.index, []).append(job)
                if len(jobs) <= 20:
                    self.log.info("%s -> %s: %s", job.label, places[choice.index].host.title, choice.reason)
            if len(jobs) > 20:
                shares = ", ".join(f"{len(group)} to {places[i].host.title}" for i, group in sorted(chosen.items()))
                self.log.info("%s: %s", jobs[0].step_path, shares)
        await _all(*(self._run_batch(places[index], group) for index, group in chosen.items()))

    def _choose(self, job: PendingJob, places: Sequence[_Place]) -> placement.Choice:
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
        places[choice.index].taken_cores += job.resources.cores
        return choice

    # --- places --------------------------------------------------------------------------------------------------

    def binding(self, step_path: str) -> Binding:
        from airflow_hybrid.config import bind

        return bind(self.spec.bindings, step_path)

    async def _places_of(self, step_path: str) -> list[_Place]:
        places: list[_Place] = []
        for target in self.binding(step_path).targets:
            key = (target.deployment, target.service)
            if key not in self._places:
                connector = open_connector(self.spec.deployments, target.deployment)
                self._places[key] = [
                    _Place(
                        host,
                        connector.queue(host, target.service),
                        target.workdir or await connector.workdir(host, target.service),
                        connector.options(target.service),
                    )
                    for host in await connector.hosts(target.service)
                ]
            places.extend(self._places[key])
        return places

    async def _all_places(self) -> list[_Place]:
        """Every place where a job of this fragment may be."""
        for step_path in self.spec.leaves:
            await self._places_of(step_path)
        return [place for group in self._places.values() for place in group]

    def _missing_bytes(self, job: PendingJob, place: _Place) -> int:
        total = 0
        for file in job.files():
            ref = _ref(file)
            if ref is None or (ref.deployment, ref.location) != (place.host.deployment, place.host.location):
                total += int(file.get("size") or 0)
        return total

    def _bytes_per_s(self, job: PendingJob, place: _Place) -> float | None:
        """Measured on the way from where the job's largest input is."""
        far = [(int(f.get("size") or 0), ref) for f in job.files() if (ref := _ref(f)) is not None]
        if not far:
            return None
        largest = max(far, key=lambda item: item[0])[1]
        return self.mover.bytes_per_s(largest.deployment, place.host.deployment)

    def _task_directory(self, place: _Place) -> str:
        return posixpath.join(place.workdir, self.spec.identity.directory)

    async def cancel(self) -> None:
        """End every job of this task instance at every place where it may have been submitted."""
        places = await self._all_places()
        await asyncio.gather(*(place.queue.cancel(self._task_directory(place)) for place in places))

    # --- one batch -----------------------------------------------------------------------------------------------

    async def _run_batch(self, place: _Place, jobs: list[PendingJob]) -> None:
        paths = await self._stage(place, jobs)
        done: dict[str, JobResult] = {}
        directories: dict[str, str] = {}
        waiting = {job.key: job for job in jobs}
        built: dict[str, str] = {}
        known: tuple[str, ...] = ()
        task_directory = self._task_directory(place)
        attempt = self.spec.identity.try_number
        while waiting:
            token = _token(attempt, waiting)
            directory = posixpath.join(task_directory, token)
            scripts = await self._build(place, waiting.values(), {k: f"{directory}/{k}" for k in waiting}, paths)
            built.update(dict.fromkeys(waiting, directory))
            batch = Batch(
                directory=directory,
                name=jobs[0].step_path.rsplit("/", 1)[-1],
                keys=tuple(waiting),
                jobs=tuple(scripts),
                resources=jobs[0].resources,
                options=place.options,
                known=known,
            )
            reports = await self._patiently(place, functools.partial(place.queue.submit, batch))
            ours = next((report for report in reports if report.token == token), None)
            if ours is None:
                # batches of an earlier try (or of a process that was killed) are there: take what they have
                for report in reports:
                    await self._adopt(place, report, waiting, done, directories)
                known = (*known, *(report.token for report in reports))
                continue
            results = await self._wait(place, ours, jobs[0].step_path)
            for key, result in zip(ours.keys, results, strict=True):
                if key in waiting:
                    done[key], directories[key] = result, posixpath.join(ours.directory, key)
                    del waiting[key]
        # outputs are bound by paths: a job that an earlier try ran is built again for where it was run
        moved = [job for job in jobs if directories[job.key] != f"{built[job.key]}/{job.key}"]
        await self._build(place, moved, directories, paths)
        await self._collect(place, jobs, done, directories)

    async def _adopt(
        self,
        place: _Place,
        report: BatchReport,
        waiting: dict[str, PendingJob],
        done: dict[str, JobResult],
        directories: dict[str, str],
    ) -> None:
        """Take the jobs of a batch that was submitted before: finished ones count, failed ones are attempted anew."""
        wanted = [key for key in report.keys if key in waiting]
        if not wanted:
            return
        self.log.info("re-attached to %s at %s: %d jobs", report.directory, place.host.title, len(wanted))
        results = await self._wait(place, report, waiting[wanted[0]].step_path)
        again = 0
        for key, result in zip(report.keys, results, strict=True):
            if key not in waiting:
                continue
            succeeded = result.exit_code is not None and waiting[key].status(result.exit_code) == "success"
            if not succeeded and report.attempt < self.spec.identity.try_number:
                again += 1
                continue
            done[key], directories[key] = result, posixpath.join(report.directory, key)
            del waiting[key]
        if again:
            self.log.info("%d jobs that failed before are attempted again", again)

    async def _wait(self, place: _Place, report: BatchReport, step_path: str) -> list[JobResult]:
        wait = functools.partial(place.queue.wait, report.directory, self._progress(place, step_path))
        return await self._patiently(place, wait)

    async def _patiently(self, place: _Place, action: Callable[[], Awaitable[T]]) -> T:
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
                if not (lost and place.reached and time.monotonic() < deadline):
                    raise
                self.log.warning("%s does not answer, trying again in %.0f s: %s", place.host.title, pause_s, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 30.0)
                continue
            place.reached = True
            return result

    def _progress(self, place: _Place, step_path: str) -> Callable[[Progress], None]:
        last: list[str] = []

        def report(progress: Progress) -> None:
            text = f"{step_path} at {place.host.title}: {progress}"
            if [text] != last:
                last[:] = [text]
                self.log.info("%s", text)

        return report

    async def _stage(self, place: _Place, jobs: Sequence[PendingJob]) -> dict[str, str]:
        """Bring the jobs' input files to the location; -> where each URI is there."""
        paths: dict[str, str] = {}
        requests: list[StageRequest] = []
        for job in jobs:
            for file in job.files():
                uri = file["location"]
                if uri in paths:
                    continue
                ref = _ref(file)
                if ref is not None:
                    self._check_known(ref, job)
                if ref is not None and self._same_storage(place, ref):
                    paths[uri] = ref.path
                    continue
                paths[uri] = store_path(place.workdir, file)
                requests.append(StageRequest.of(file, place.host, paths[uri]))
        if requests:
            entries = await self.mover.stage(requests)
            self.lineage.extend(entries)
            moved = [e for e in entries if not e.reused]
            self.log.info(
                "staged %d files to %s: %d moved (%d bytes), %d already there",
                len(entries), place.host.title, len(moved), sum(e.bytes for e in moved), len(entries) - len(moved),
            )  # fmt: skip
        return paths

    def _same_storage(self, place: _Place, ref: FileRef) -> bool:
        return self.mover.same_storage(ref, place.host)

    def _check_known(self, ref: FileRef, job: PendingJob) -> None:
        if not self.mover.knows(ref):
            raise CwlError(
                f"an input file is said to be at deployment {ref.deployment!r}, which this DAG does not have",
                where=job.label,
            )

    async def _build(
        self,
        place: _Place,
        jobs: Collection[PendingJob],
        directories: Mapping[str, str],
        paths: Mapping[str, str],
    ) -> list[JobScript]:
        def build() -> tuple[list[JobScript], list[Question]]:
            scripts: list[JobScript] = []
            questions: list[Question] = []
            for job in jobs:
                try:
                    scripts.append(job.build(directories[job.key], paths, place.facts))
                except FactsNeeded as needed:
                    questions.extend(needed.questions)
            return scripts, questions

        return await self._with_facts(place, build)

    async def _with_facts(self, place: _Place, attempt: Callable[[], tuple[list[T], list[Question]]]) -> list[T]:
        """Try, ask the location what could not be answered (one probe for the whole batch), and try again."""
        for _ in range(MAX_PROBE_ROUNDS):
            results, questions = await in_cwl_thread(attempt)
            if not questions:
                return results
            asked = list(dict.fromkeys(questions))
            place.facts.merge(await self._patiently(place, functools.partial(place.queue.facts, asked)))
        raise CwlError(f"the location did not answer {questions[0].ask} {questions[0].path!r}", where=place.host.title)

    async def _collect(
        self,
        place: _Place,
        jobs: Sequence[PendingJob],
        done: Mapping[str, JobResult],
        directories: Mapping[str, str],
    ) -> None:
        finished = [job for job in jobs if done[job.key].exit_code is not None]
        usable = [job for job in finished if job.status(done[job.key].exit_code or 0) == "success"]
        if usable:
            trees = [posixpath.join(directories[job.key], "out") for job in usable]
            place.facts.merge(await self._patiently(place, functools.partial(place.queue.facts, trees=trees)))

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
            return outputs, questions

        outputs = dict(zip((job.key for job in usable), await self._with_facts(place, collect), strict=True))
        for value in outputs.values():
            self.lineage.extend(_produced(value))

        def complete() -> None:
            for job in jobs:
                if job.key in outputs:
                    job.complete(outputs[job.key], "success")
                else:
                    result = done[job.key]
                    status = "permanentFail" if result.exit_code is None else job.status(result.exit_code)
                    self._failures.append(_Failure(job.label, place.host.title, result, status, directories[job.key]))
                    job.complete(None, status)

        await in_cwl_thread(complete)

    # --- the marker of a permanent failure -----------------------------------------------------------------------

    async def _mark(self, error: HybridError) -> None:
        """Leave a note for the next try, which Airflow starts whatever failed: a permanent failure stays one."""
        for place in await self._all_places():
            directory = self._task_directory(place)
            text = f"mkdir -p {_quote(directory)} && cat > {_quote(directory + '/permanent')}"
            await place.host.run(text, stdin=str(error).encode(), label="mark of a permanent failure")

    async def _raise_if_marked(self) -> None:
        for place in await self._all_places():
            path = _quote(self._task_directory(place) + "/permanent")
            result = await place.host.run(f"cat {path} 2>/dev/null || :", label="read of the last try's verdict")
            if result.stdout:
                raise JobFailedError(
                    "an earlier try failed for good (CWL permanentFail), so nothing was run again:\n" + result.out,
                    retryable=False,
                    hint="clear the task to run it anew",
                )


async def read_start(uri: str, deployments: Mapping[str, Deployment]) -> bytes:
    """The first 64 KiB (+ 1 byte) of a file, wherever it is: for loadContents on a step's input.

    :raises SiteError: it cannot be read.
    """
    ref = FileRef.parse(uri)
    host = await DataMover(deployments).host_of(ref)
    result = await host.run(f"head -c 65537 < {_quote(ref.path)}", label="read of an input")
    return result.check(f"cannot read {ref.path!r}").stdout


async def list_folder(uri: str, deployments: Mapping[str, Deployment]) -> list[tuple[str, bool]]:
    """Names in a folder, wherever it is, and whether each is a folder: for listings in a step's expressions.

    :raises SiteError: it cannot be listed.
    """
    ref = FileRef.parse(uri)
    host = await DataMover(deployments).host_of(ref)
    command = f"find -L {_quote(ref.path)} -mindepth 1 -maxdepth 1 \\( -type d -printf 'd%f\\0' -o -printf 'f%f\\0' \\)"
    result = await host.run(command, label="listing of an input")
    result.check(f"cannot list {ref.path!r}")
    return sorted((entry[1:], entry[0] == "d") for entry in result.out.split("\0") if entry)


# --- values and words --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Failure:
    label: str
    place: str
    result: JobResult
    status: str
    directory: str


def _failed(failures: Sequence[_Failure], jobs: int) -> JobFailedError:
    """One message for all failed jobs of a fragment: the first three in full."""
    lines = [f"{len(failures)} of {jobs} jobs failed" if jobs > 1 else "the job failed"]
    for failure in failures[:3]:
        result = failure.result
        if result.exit_code is not None:
            ended = f"exit code {result.exit_code} ({failure.status})"
        else:
            ended = result.state.value
        lines.append(f"{failure.label} at {failure.place}: {ended}" + (f", {result.reason}" if result.reason else ""))
        if result.scheduler_id:
            lines.append(f"  job id: {result.scheduler_id}")
        lines.append(f"  stdout: {result.stdout_path}")
        lines.append(f"  stderr: {result.stderr_path}")
        tail = result.stderr_tail.strip().splitlines()[-STDERR_LINES:]
        lines.extend(f"  | {line}" for line in tail)
    if len(failures) > 3:
        lines.append(f"... and {len(failures) - 3} more")
    permanent = all(f.status == "permanentFail" and f.result.exit_code is not None for f in failures)
    return JobFailedError("\n".join(lines), retryable=not permanent)


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


def _ref(file: Mapping[str, Any]) -> FileRef | None:
    """Where a File or Directory object is; None for one that is at an URL of another scheme (http ...)."""
    location = str(file["location"])
    if location.startswith(("file:", "hybrid:")):
        return FileRef.parse(location)
    return None


def _token(attempt: int, keys: Mapping[str, Any]) -> str:
    digest = hashlib.sha1("\n".join(sorted(keys)).encode(), usedforsecurity=False).hexdigest()
    return f"a{attempt}-{digest[:10]}"


def _safe(name: str) -> str:
    """A name that is safe as a path component anywhere; a changed name gets a digest, so that two never meet."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".-") or "_"
    if safe == name and len(safe) <= 100:
        return safe
    return f"{safe[:90]}-{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]}"


def _quote(text: str) -> str:
    import shlex

    return shlex.quote(text)


async def _all(*awaitables: Awaitable[None]) -> None:
    """Wait for all, then raise the first error: a failure of one batch does not abandon the others midway."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
