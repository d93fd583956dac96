# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A scheduler at a host: submit batches, wait for their jobs, cancel them. All I/O of the batch's life is here."""

from __future__ import annotations

import asyncio
import logging
import posixpath
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from airflow_hybrid.errors import CancelledError, SiteError, StatusUnknownError, SubmitError
from airflow_hybrid.model import JobResult, JobState, Question, SiteFacts
from airflow_hybrid.printable import readable
from airflow_hybrid.schedulers.base import Account, ElementState, Scheduler
from airflow_hybrid.sites.batches import answers, commands
from airflow_hybrid.sites.batches import directory as directory_
from airflow_hybrid.sites.batches.directory import Batch, BatchReport, Evidence
from airflow_hybrid.sites.batches.poller import SLOWEST_S, STATUS_BYTES, NeverStartsError, Progress, poller
from airflow_hybrid.sites.batches.results import ALIVE, doubtful, element_of, leaves_nothing, results_of, settled
from airflow_hybrid.sites.hosts import probe
from airflow_hybrid.sites.hosts.base import JOB_BYTES, TASK_BYTES, CommandResult, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.hosts.joining import run_joined

log = logging.getLogger(__name__)
T = TypeVar("T")

DEFAULT_MAX_ARRAY = 1000
SUBMIT_TIMEOUT_S = 300.0
SUBMIT_PAUSES_S = (1.0, 5.0, 15.0)
"""between tries of a submit whose answer was lost or unclear; the later ones outlast the scheduler's own timeouts"""
TAILS_BYTES = 1 << 20
META_BYTES = 64 << 20
"""of what is read of a batch that another process submitted, with its description, however many jobs it has"""
MOST_TAILS = 20
CERTAIN_AFTER_S = 2.0
"""how long exit codes may still arrive after the scheduler said that a job ended badly"""
OUR_OPTIONS = frozenset({"template", "mpi", "maxConcurrentJobs", "pollingInterval"})

_max_arrays: dict[tuple[str, str], int] = {}

__all__ = ["Batch", "BatchReport", "JobQueue", "Progress"]


class JobQueue:
    """Batches at one host under one scheduler.

    Keys of ``Batch.options`` that are ours and not the scheduler's: ``template`` (text of the service's Jinja2
    template), ``mpi`` (how the jobs' commands were built), ``maxConcurrentJobs`` (of one batch, at once) and
    ``pollingInterval`` (seconds, the longest).

    :param pack_s: an array element younger than this takes one more job.
    :param grace_s: how long an exit code or the accounting may lag behind the queue.
    """

    makes_containers: bool = False
    """its elements are containers already, made of what ``Batch.options`` calls ``image``"""

    def __init__(
        self,
        host: Host,
        scheduler: Scheduler,
        *,
        pack_s: float = 10.0,
        grace_s: float = 60.0,
    ) -> None:
        self.host = host
        self.scheduler = scheduler
        self.pack_s = pack_s
        self.grace_s = grace_s
        self._slowest_s = SLOWEST_S
        self._bases: set[str] = set()
        self._known: dict[str, tuple[tuple[str, ...], Mapping[str, Any]]] = {}

    # --- submit -------------------------------------------------------------------------------------------------

    async def submit(self, batch: Batch) -> list[BatchReport]:
        """Submit the batch, unless that was done before: then say how it stands. May be called again at any time.

        :returns: the report of this batch; or, if batches are there that are not in ``batch.known`` (of an earlier
            try, or of a process that was killed), their reports, and then nothing was submitted.
        :raises SubmitError: the scheduler refused it, in its own words, or its programs are missing.
        :raises CancelledError: the task directory was cancelled.
        :raises SiteError: unreachable, disk full, or no clear answer after some tries (retryable; nothing is lost).
        """
        problem: SiteError | None = None
        max_array = await self._max_array(len(batch.jobs))
        self._slowest_s = float(batch.options.get("pollingInterval") or SLOWEST_S)
        self._bases.update(_ancestors(batch.task_directory))
        for pause in (0.0, *SUBMIT_PAUSES_S):
            await asyncio.sleep(pause)
            sub, data, command = await asyncio.to_thread(self._prepare, batch, max_array)
            label = f"submit {sub.name}"
            try:
                with answers_up_to(answer_bytes(len(batch.jobs), JOB_BYTES, TASK_BYTES)):
                    answer = await run_joined(
                        self.host, "submit", command, stdin=data, timeout_s=SUBMIT_TIMEOUT_S, label=label
                    )
                return self._submitted(batch, answer, max_array)
            except StatusUnknownError as error:
                problem = error
            except SubmitError as error:
                if not self.scheduler.too_large(error.message) or self._site in _max_arrays:
                    raise
                max_array = await self._max_array(None)
                problem = error
            except SiteError as error:
                if not error.retryable:
                    raise
                problem = error
            log.warning("%s: %s: trying again: %s", self.host.title, label, problem)
        assert problem is not None
        raise problem

    @property
    def _site(self) -> tuple[str, str]:
        return (self.host.deployment, self.host.key)

    async def _max_array(self, jobs: int | None) -> int:
        """Most elements of one array here; asked once per host and process, and only when it may matter."""
        limits = self.scheduler.limits_command()
        if not limits or (jobs is not None and jobs <= DEFAULT_MAX_ARRAY):
            return min(_max_arrays.get(self._site, DEFAULT_MAX_ARRAY), DEFAULT_MAX_ARRAY) if jobs else DEFAULT_MAX_ARRAY
        if self._site not in _max_arrays:
            answer = await self.host.run(limits, label="largest array")
            found = self.scheduler.parse_max_array(answer.out) if answer.exit_code == 0 else None
            if found is None:
                return DEFAULT_MAX_ARRAY
            _max_arrays[self._site] = found
        return _max_arrays[self._site]

    def _prepare(self, batch: Batch, max_array: int) -> tuple[Any, bytes, str]:
        sub = directory_.submission(
            batch,
            options={key: value for key, value in batch.options.items() if key not in OUR_OPTIONS},
            template=batch.options.get("template"),
            pack_s=self.pack_s,
            max_concurrent=batch.options.get("maxConcurrentJobs"),
            max_array=max_array,
            deployment=self.host.deployment,
            host_cores=self.host.cores,
        )
        data = directory_.archive(batch, self.scheduler, sub)
        return sub, data, commands.submit_command(batch, self.scheduler, sub, data, self.scheduler.restarts(sub))

    def _submitted(self, batch: Batch, answer: CommandResult, max_array: int) -> list[BatchReport]:
        verdict, message, lines = answers.parse_answer(answer.out)
        where = f"{self.host.title}: {answer.command}"
        reports = answers.parse_reports(lines, batch.task_directory)
        if verdict in ("submitted", "attached") and reports:
            if verdict == "submitted":
                self._known[batch.directory] = (reports[-1].scheduler_ids, directory_.meta(batch, max_array))
            return reports[-1:]
        if verdict == "cancelled":
            raise CancelledError("this try of the task was cancelled: it submits no more jobs", where=where)
        if verdict == "conflict":
            return reports
        if verdict == "refused":
            for_good = self.scheduler.refused_for_good(message)
            said = message or "no reason given"
            raise _submit_error(
                f"{self.scheduler.name} refused the batch: {said}",
                where,
                for_good,
                "change the service's options in the hybrid file, or what the step asks for (ResourceRequirement)",
            )
        self._check(verdict, message, answer)
        raise StatusUnknownError(f"the submit command was cut off (exit code {answer.exit_code})", where=where)

    def _check(self, verdict: str, message: str, answer: CommandResult) -> None:
        """Raise what the verdicts mean that all commands share."""
        where = f"{self.host.title}: {answer.command}"
        if verdict == "missing":
            raise _submit_error(
                f"the program `{message}` is not there",
                where,
                True,
                "is this the right host? `config.path` or `config.profile` of the deployment say where programs are "
                "that only login shells find (`airflow hybrid check` looks there)",
            )
        if verdict == "nodir":
            raise SiteError(
                f"the task directory cannot be made: {message}",
                where=where,
                hint="does the work directory exist, is it yours, and is there room (quota, `df`)?",
            )
        if verdict == "unpack":
            raise SiteError(
                f"the batch directory could not be written: {message}",
                where=where,
                hint="nothing was submitted and nothing is left; is the disk full (`df`, `df -i`, quota)?",
            )
        if verdict == "foreign":
            raise SiteError(
                message,
                where=where,
                hint="what this version of airflow_hybrid did not make is in the way: move it away, or clear the task, "
                "which then gets another directory",
            )
        if verdict == "locked":
            raise StatusUnknownError(
                f"another submit holds the lock of the task directory {message}".rstrip(),
                where=where,
                hint="if this stays, the file system of the work directory may not support flock",
            )
        if verdict in ("unknown", "failed", ""):
            said = message or answer.err.strip()[-500:] or f"exit code {answer.exit_code}"
            raise StatusUnknownError(f"{self.scheduler.name} gave no clear answer: {said}", where=where)

    # --- wait ---------------------------------------------------------------------------------------------------

    async def wait(self, directory: str, progress: Callable[[Progress], None] | None = None) -> list[JobResult]:
        """Wait for all jobs of a batch that anybody submitted; say how each ended, in the order of the keys.

        Lost connections and failing status commands are waited out. May be cancelled and called again.

        :param directory: the batch directory.
        :raises SiteError: only what no repetition heals: the host's key, a refused login.
        """
        ids, meta = self._known.get(directory) or await self._describe(directory)
        total = len(meta["keys"])
        pause = 1.0
        while True:
            polled = poller(self.host, self.scheduler, self._slowest_s)
            watch = polled.watch(directory, ids, total, progress)
            try:
                results = await self._judge(directory, ids, meta, await watch, progress)
            except NeverStartsError as error:
                results = await self._withdraw(directory, ids, meta, str(error))
            if results is not None:
                self._known.pop(directory, None)
                drained = directory in polled.drained
                polled.drained.discard(directory)
                if self.scheduler.leaves_elements and total > 1 and not drained:
                    await self._drop_left_elements(ids)
                return results
            await asyncio.sleep(pause)  # the queue does not have it, and somebody knows it to be alive
            pause = min(10.0, pause * 2)

    async def _describe(self, directory: str) -> tuple[tuple[str, ...], Mapping[str, Any]]:
        """Ids and description of a batch that another process submitted."""
        task, token = posixpath.split(directory)
        await self._patiently(lambda: self.inspect(task, token))  # finds ids whose submit reply was lost
        evidence = await self._evidence(directory, None)
        if evidence.meta is None:
            raise SiteError("there is no batch in this directory", where=f"{self.host.title}: {directory}")
        self._known[directory] = evidence.ids, evidence.meta
        return evidence.ids, evidence.meta

    async def _judge(
        self,
        directory: str,
        ids: tuple[str, ...],
        meta: Mapping[str, Any],
        seen: str | None,
        progress: Callable[[Progress], None] | None,
    ) -> list[JobResult] | None:
        """Results, or None if the batch turns out to be alive: the queue had forgotten it for a moment only.

        :param seen: what the poll read of the batch directory, if it did.
        """
        total = len(meta["keys"])
        began, pause, sure, spoken = time.monotonic(), 0.5, False, False
        while True:
            evidence = await self._evidence(directory, total, seen)
            seen = None
            open_ = [i for i in range(total) if i not in evidence.endings]
            odd = [i for i, ending in evidence.endings.items() if doubtful(ending)]
            account = Account({}, complete=True)
            if ids and (open_ or odd):
                account = await self._account(ids, total)
            elements = {i: element_of(self.scheduler, account, evidence, ids, i, meta) for i in (*open_, *odd)}
            waited = time.monotonic() - began
            if any(elements[i].state in ALIVE for i in open_):
                return None
            # an exit code may have come after the directory was read and before the scheduler was asked: look twice
            before, sure = sure, all(leaves_nothing(elements[i], evidence, i) for i in open_)
            patience = self.grace_s if account.complete else 10 * self.grace_s
            late = account.heard and waited > patience
            certain = not open_ or (sure and before and waited >= CERTAIN_AFTER_S) or not evidence.present
            # a job that the site ran again leaves another one before the scheduler says how it ended: look twice
            heard, spoken = spoken, settled(self.scheduler, evidence, elements, waited, patience)
            if (certain or late) and spoken and (heard or not odd):
                break
            if not account.heard and progress is not None:
                progress(Progress(total, total - len(open_), unknown=account.problem))
            await asyncio.sleep(pause)
            pause = min(10.0, pause * 2)
        results = results_of(self.scheduler, directory, ids, meta, evidence, account, elements)
        if ids and any(result.state is JobState.LOST for result in results):
            evidence = await self._withdraw_lost(directory, ids, total, evidence)
        return await self._results(directory, ids, meta, evidence, account, elements)

    async def _withdraw_lost(self, directory: str, ids: tuple[str, ...], total: int, evidence: Evidence) -> Evidence:
        """See to it that what nobody knows of does not run beside its next attempt.

        :return: the evidence, with exit codes that came meanwhile; those of jobs that were ended by this do not count.
        """
        log.warning("%s: jobs of %s are lost; what may be left of them is ended", self.host.title, directory)
        pause = 1.0
        while True:
            await self._patiently(lambda: self._cancel_ids(ids))
            account = await self._account(ids, total)
            if account.heard and not any(element.state in ALIVE for element in account.elements.values()):
                break
            log.warning("%s: %s may still run; looking again in %g s", self.host.title, directory, pause)
            await asyncio.sleep(pause)
            pause = min(30.0, pause * 2)
        latest = await self._evidence(directory, total)
        came = {i: ending for i, ending in latest.endings.items() if i in evidence.endings or not doubtful(ending)}
        return replace(latest, endings=came, present=evidence.present)

    async def _drop_left_elements(self, ids: tuple[str, ...]) -> None:
        """Take elements out of the queue that nobody needs any more; that it fails is no harm."""
        try:
            await self.host.run(commands.withdraw_command(self.scheduler, ids), label="tidy the queue")
        except SiteError as error:
            log.info("%s: elements that are not needed may still be in the queue: %s", self.host.title, error)

    async def _withdraw(
        self, directory: str, ids: tuple[str, ...], meta: Mapping[str, Any], reason: str
    ) -> list[JobResult]:
        """Take what can never run out of the queue: its jobs failed, for the scheduler's reason."""
        log.warning("%s: %s can never run and is withdrawn: %s", self.host.title, directory, reason)

        await self._patiently(lambda: self._cancel_ids(ids))
        evidence = await self._evidence(directory, len(meta["keys"]))
        never = ElementState(JobState.FAILED, f"it can never run as it is and was withdrawn: {reason}")
        elements = {i: never for i in range(len(meta["keys"])) if i not in evidence.endings}
        return await self._results(directory, ids, meta, evidence, Account({}, complete=True), elements)

    async def _cancel_ids(self, ids: tuple[str, ...]) -> None:
        answer = await self.host.run(commands.withdraw_command(self.scheduler, ids), label="withdraw")
        verdict, message, _ = answers.parse_answer(answer.out)
        if verdict != "done":
            self._check(verdict, message, answer)

    async def _results(
        self,
        directory: str,
        ids: tuple[str, ...],
        meta: Mapping[str, Any],
        evidence: Evidence,
        account: Account,
        elements: Mapping[int, ElementState],
    ) -> list[JobResult]:
        results = results_of(self.scheduler, directory, ids, meta, evidence, account, elements)
        full = [i for i, result in enumerate(results) if result.state is JobState.DISK_FULL]
        if full:
            space = await self._space(directory)
            for index in full:
                results[index] = replace(results[index], reason=f"{results[index].reason}: {space}")
        if evidence.disk_full and len(full) < len(results):
            log.warning("%s: the file system of %s was full while its jobs ran", self.host.title, directory)
        failed = [i for i, r in enumerate(results) if r.state is not JobState.COMPLETED][:MOST_TAILS]
        for index, tail in zip(
            failed, await self.tails(directory, [results[i].stderr_path for i in failed]), strict=False
        ):
            results[index] = replace(results[index], stderr_tail=tail)
        return results

    # --- questions, waited out ------------------------------------------------------------------------------------

    async def _evidence(self, directory: str, jobs: int | None, seen: str | None = None) -> Evidence:
        """What a batch directory says.

        :param jobs: how many the batch has; None: that is to be read as well, with the batch's description.
        """
        most = answer_bytes(jobs, JOB_BYTES) if jobs is not None else META_BYTES
        if seen is not None:
            try:
                return answers.parse_evidence(seen)
            except ValueError as error:
                log.info("%s: %s: reading %s again", self.host.title, error, directory)

        async def ask() -> Evidence:
            command = commands.evidence_command(directory, jobs is None)
            with answers_up_to(most):
                answer = await self.host.run(command, label=f"read {directory}")
            try:
                return answers.parse_evidence(answer.out)
            except ValueError as error:
                raise StatusUnknownError(f"{error}: {answer.err[-500:]}", where=self.host.title) from None

        return await self._patiently(ask)

    async def _account(self, ids: tuple[str, ...], jobs: int) -> Account:
        """What the queue, in which others of the user's jobs may be, and the accounting say of a batch."""
        try:
            with answers_up_to(answer_bytes(jobs, JOB_BYTES, STATUS_BYTES)):
                answer = await self.host.run(
                    self.scheduler.account_command(ids), label=f"{self.scheduler.name} accounting"
                )
        except SiteError as error:
            if not error.retryable:
                raise
            return Account({}, complete=False, problem=error.message, heard=False)
        return self.scheduler.parse_account(answer.out, ids)

    async def _space(self, directory: str) -> str:
        """What is left of the file system, and whose folder it is, for a message."""
        try:
            answer = await self.host.run(commands.space_command(directory), label="free space")
        except SiteError as error:
            log.warning("%s: how much space is left could not be asked: %s", self.host.title, error)
            return directory
        space = answers.parse_space(answer.out)
        return f"now {space} ({directory})" if space else directory

    async def tails(self, directory: str, paths: Sequence[str]) -> list[str]:
        """The ends of some files of a batch's jobs, in one command; an empty list where they cannot be read."""
        if not paths:
            return []
        try:
            with answers_up_to(TAILS_BYTES):
                answer = await self.host.run(commands.tails_command(directory, paths), label="read stderr of jobs")
            return [readable(tail) for tail in answers.parse_tails(answer.stdout)]
        except (SiteError, ValueError) as error:
            log.warning("%s: the stderr of jobs could not be read: %s", self.host.title, error)
            return []

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Repeat a question until it is answered; only errors that no repetition heals come through."""
        pause = 1.0
        while True:
            try:
                return await ask()
            except SiteError as error:
                if not error.retryable:
                    raise
                log.warning("%s: asking again in %g s: %s", self.host.title, pause, error)
            await asyncio.sleep(pause)
            pause = min(30.0, pause * 2)

    # --- cancel, inspect, facts -----------------------------------------------------------------------------------

    async def cancel(self, task_directory: str, attempt: int | None = None) -> None:
        """Cancel every batch under a task directory; nothing is submitted there any more, and running jobs end.

        :param attempt: only batches of this try and of earlier ones; later ones may be submitted.
        :raises SiteError: it could not be done (retryable); the marker stands if the host could be reached.
        """
        command = commands.cancel_command(task_directory, self.scheduler, attempt)
        answer = await self.host.run(command, timeout_s=SUBMIT_TIMEOUT_S, label=f"cancel {task_directory}")
        verdict, message, _ = answers.parse_answer(answer.out)
        if verdict != "done":
            self._check(verdict, message, answer)

    async def end_all(self, task_directory: str, wait_s: float) -> list[str]:
        """Cancel every batch under a task directory that has jobs left, and wait until they have ended.

        :return: tokens of batches whose jobs have not ended within ``wait_s`` seconds.
        :raises SiteError: the host or the scheduler gave no answer (retryable).
        """
        reports = await self.inspect(task_directory)
        left = [report for report in reports if len(report.results) < len(report.keys)]
        if not left:
            return []
        await self.cancel(task_directory)
        waits = [asyncio.ensure_future(self.wait(report.directory)) for report in left]
        try:
            await asyncio.wait(waits, timeout=wait_s)
        finally:
            for wait in waits:
                wait.cancel()
            ends = await asyncio.gather(*waits, return_exceptions=True)
        for end in ends:
            if isinstance(end, SiteError):
                raise end
        return [report.token for report, end in zip(left, ends, strict=True) if isinstance(end, asyncio.CancelledError)]

    async def inspect(self, task_directory: str, token: str | None = None) -> list[BatchReport]:
        """What is under a task directory: every batch that was submitted or begun, whoever did it.

        :raises SiteError: the host or the scheduler gave no answer (retryable).
        """
        command = commands.inspect_command(task_directory, self.scheduler, token)
        with answers_up_to(TASK_BYTES):
            answer = await self.host.run(command, timeout_s=SUBMIT_TIMEOUT_S, label=f"inspect {task_directory}")
        verdict, message, lines = answers.parse_answer(answer.out)
        if verdict != "done":
            self._check(verdict, message, answer)
        return answers.parse_reports(lines, task_directory)

    async def facts(self, questions: Sequence[Question] = (), *, trees: Sequence[str] = ()) -> SiteFacts:
        """Answers about the location's files in one command; see :func:`airflow_hybrid.sites.hosts.probe.facts`.

        :param trees: output directories of jobs (``<batch directory>/<key>/out``), to be listed with everything below,
            sizes, checksums and realpaths.
        """
        # the job directory itself is the job's own: where it leads is to be seen
        batches = {posixpath.dirname(posixpath.dirname(tree)) for tree in trees}
        bases = self._bases | {parent for path in batches for parent in _ancestors(path)}
        return await probe.facts(self.host, questions, trees=trees, bases=sorted(bases))


def _ancestors(path: str) -> list[str]:
    """A folder and those above it, without the root."""
    found = []
    while path not in ("/", ""):
        found.append(path)
        path = posixpath.dirname(path)
    return found


def _submit_error(message: str, where: str, for_good: bool, hint: str | None = None) -> SubmitError:
    return SubmitError(message, where=where, hint=hint, retryable=not for_good)
