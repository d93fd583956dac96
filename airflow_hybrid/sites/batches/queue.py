# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A scheduler at a host: submits batches, waits for their jobs, cancels them. All I/O about batches is here."""

from __future__ import annotations

import asyncio
import logging
import posixpath
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from airflow_hybrid import settings
from airflow_hybrid.errors import SiteError, StatusUnknownError, SubmitError
from airflow_hybrid.model import JobResult, JobState, Question, SiteFacts
from airflow_hybrid.schedulers.base import Account, ElementState, Scheduler
from airflow_hybrid.sites.batches import answers, commands
from airflow_hybrid.sites.batches import directory as directory_
from airflow_hybrid.sites.batches.answers import Verdict, VerdictKind
from airflow_hybrid.sites.batches.archive import archive
from airflow_hybrid.sites.batches.commands import Prepared
from airflow_hybrid.sites.batches.directory import Batch, BatchReport, Evidence
from airflow_hybrid.sites.batches.poller import SLOWEST_S, NeverStartsError, Progress, poller
from airflow_hybrid.sites.batches.questions import Questions
from airflow_hybrid.sites.batches.refusals import command_error, submit_error
from airflow_hybrid.sites.batches.results import Case, doubtful, unmeasured, with_usage, without_usage
from airflow_hybrid.sites.batches.settling import ALIVE, NO_LOOK, Decision, Step, settle
from airflow_hybrid.sites.batches.submitted import SubmittedBatch
from airflow_hybrid.sites.hosts import claims
from airflow_hybrid.sites.hosts.base import (
    JOB_BYTES,
    TASK_BYTES,
    Command,
    CommandResult,
    Host,
    answer_bytes,
    answers_up_to,
)
from airflow_hybrid.sites.hosts.joining import run_joined
from airflow_hybrid.sites.hosts.probing import probe
from airflow_hybrid.sites.patience.backoff import Backoff
from airflow_hybrid.sites.patience.pace import submission_turn

log = logging.getLogger(__name__)

DEFAULT_MAX_ARRAY = 1000
SUBMIT_PAUSES_S = (1.0, 5.0, 15.0)
"""between attempts of a submit whose answer was lost or unclear; the later ones are longer than schedulers' timeouts"""
MOST_TAILS = 20
OUR_OPTIONS = frozenset({"template", "mpi", "maxConcurrentJobs", "pollingInterval"})

_max_arrays: dict[tuple[str, str], int] = {}

__all__ = ["Batch", "BatchReport", "JobQueue", "Progress"]


class JobQueue:
    """Batches at one host under one scheduler.

    Some keys of ``Batch.options`` are ours, not the scheduler's: ``template`` (text of the service's Jinja2 template),
    ``mpi`` (how the jobs' commands were built), ``maxConcurrentJobs`` (of one batch) and ``pollingInterval`` (the
    longest, in seconds).

    :param pack_s: an array element that has run for less than this takes another job.
    :param grace_s: how long an exit code or the accounting may lag behind the queue.
    """

    makes_containers: bool = False
    """its elements are containers already, of the ``image`` in ``Batch.options``"""

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
        self._questions = Questions(host, scheduler)
        self._known: dict[str, SubmittedBatch] = {}

    # --- submit -------------------------------------------------------------------------------------------------

    async def submit(self, batch: Batch) -> list[BatchReport]:
        """Submit the batch, or report its state if it was submitted before. May be called again at any time.

        :returns: the report of this batch; or, if there are batches that are not in ``batch.known_batches`` (of an
            earlier try, or of a process that was killed), their reports, and then nothing was submitted.
        :raises SubmitError: the scheduler refused it, in its own words, or its programs are missing.
        :raises CancelledError: the task directory was cancelled.
        :raises SiteError: unreachable, disk full, or no clear answer after several attempts (retryable; nothing is
            lost).
        """
        problem: SiteError | None = None
        max_array = await self._max_array(len(batch.jobs))
        self._slowest_s = float(batch.options.get("pollingInterval") or SLOWEST_S)
        self._bases.update(directory_.ancestors(batch.task_directory))
        for pause in (0.0, *SUBMIT_PAUSES_S):
            await asyncio.sleep(pause)
            prepared = await asyncio.to_thread(self._prepare, batch, max_array)
            label = f"submit {prepared.submission.name}"
            if not self.scheduler.on_host:
                parts = self.scheduler.parts(prepared.submission)
                await submission_turn(self.scheduler.name, self.host.account, parts)
            try:
                with answers_up_to(answer_bytes(len(batch.jobs), JOB_BYTES, TASK_BYTES)):
                    command = Command(prepared.command, prepared.archive, settings.current().submit_timeout, label)
                    answer = await run_joined(self.host, "submit", command)
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
            log.warning("%s: %s: it is tried again: %s", self.host.title, label, problem)
        assert problem is not None
        raise problem

    @property
    def _site(self) -> tuple[str, str]:
        return (self.host.deployment, self.host.key)

    async def _max_array(self, jobs: int | None) -> int:
        """The largest number of elements of one array; asked once per host and process, and only if it may matter."""
        limits = self.scheduler.limits_command()
        if jobs is not None and (jobs <= DEFAULT_MAX_ARRAY or not limits):
            return min(_max_arrays.get(self._site, DEFAULT_MAX_ARRAY), DEFAULT_MAX_ARRAY)
        if not limits:
            return DEFAULT_MAX_ARRAY
        if self._site not in _max_arrays:
            answer = await self.host.run(limits, label="largest array")
            largest = self.scheduler.parse_max_array(answer.out) if answer.exit_code == 0 else None
            if largest is None:
                return DEFAULT_MAX_ARRAY
            _max_arrays[self._site] = largest
        return _max_arrays[self._site]

    def _prepare(self, batch: Batch, max_array: int) -> Prepared:
        submission = directory_.submission(
            batch,
            options={key: value for key, value in batch.options.items() if key not in OUR_OPTIONS},
            template=batch.options.get("template"),
            pack_s=self.pack_s,
            max_concurrent=batch.options.get("maxConcurrentJobs"),
            max_array=max_array,
            deployment=self.host.deployment,
            host_cores=self.host.cores,
        )
        stream = archive(batch, self.scheduler, submission)
        restarts = self.scheduler.restarts(submission)
        return Prepared(
            submission, stream, commands.submit_command(batch, self.scheduler, submission, stream, restarts)
        )

    def _submitted(self, batch: Batch, answer: CommandResult, max_array: int) -> list[BatchReport]:
        verdict = answers.parse_answer(answer.out)
        claims.tell_of_locks(self.host, batch.task_directory, verdict.lines)
        reports = answers.parse_reports(verdict.lines, batch.task_directory)
        if verdict.kind is VerdictKind.CONFLICT:
            return reports
        if verdict.kind is VerdictKind.ATTACHED and reports:
            return [replace(reports[-1], attached=True)]
        if verdict.kind is VerdictKind.SUBMITTED and reports:
            ids = reports[-1].scheduler_ids
            meta = directory_.description(batch, max_array)
            self._known[batch.directory] = SubmittedBatch(batch.directory, ids, meta)
            return reports[-1:]
        raise submit_error(verdict, self.scheduler, answer, self.host.title)

    def _done(self, answer: CommandResult) -> Verdict:
        """The answer of a command that succeeded.

        :raises SiteError: it failed, or it is unknown whether it succeeded.
        """
        verdict = answers.parse_answer(answer.out)
        if verdict.kind is not VerdictKind.DONE:
            raise command_error(verdict, self.scheduler, answer, self.host.title)
        return verdict

    # --- wait ---------------------------------------------------------------------------------------------------

    async def wait(self, directory: str, progress: Callable[[Progress], None] | None = None) -> list[JobResult]:
        """Wait for all jobs of a batch, whoever submitted it; -> how each ended, in the order of the keys.

        It keeps waiting while connections are lost or status commands fail. May be cancelled and called again.

        :param directory: the batch directory.
        :raises SiteError: only errors that repetition does not heal: a wrong host key, a refused login.
        """
        batch = self._known.get(directory) or await self._describe(directory)
        backoff = Backoff(1.0, 10.0)
        while True:
            batch = self._known.get(directory, batch)
            polled = poller(self.host, self.scheduler, self._slowest_s)
            watch = polled.watch(directory, batch.ids, batch.total, progress)
            try:
                results = await self._judge(batch, await watch, progress)
            except NeverStartsError as error:
                results = await self._withdraw(batch, str(error))
            if results is not None:
                self._known.pop(directory, None)
                drained = directory in polled.drained
                polled.drained.discard(directory)
                if self.scheduler.leaves_elements and batch.total > 1 and not drained:
                    await self._drop_left_elements(batch)
                return results
            await backoff.pause()  # the queue does not list it, but another source says that it is alive

    async def _describe(self, directory: str) -> SubmittedBatch:
        """The batch that another process submitted."""
        task, name = posixpath.split(directory)
        # inspecting resolves lost submit replies
        await self._questions.patiently(lambda: self.inspect(task, name))
        self._known[directory] = await self._questions.describe(directory)
        return self._known[directory]

    async def _judge(
        self, batch: SubmittedBatch, already_read: str | None, progress: Callable[[Progress], None] | None
    ) -> list[JobResult] | None:
        """Results, or None if the batch turns out to be alive: the queue had only forgotten it for a moment.

        :param already_read: the content of the batch directory, if the poll has read it.
        """
        began, decision = time.monotonic(), Decision(Step.LOOK_AGAIN, NO_LOOK)
        backoff = Backoff(0.5, 10.0)
        while True:
            case = await self._look(batch, already_read)
            already_read, batch = None, case.batch
            decision = settle(case, decision.look, time.monotonic() - began, self.grace_s)
            if decision.step is not Step.LOOK_AGAIN:
                break
            if not case.account.heard and progress is not None:
                ended = batch.total - len(case.unended)
                progress(Progress(batch.total, ended, unknown=case.account.problem))
            await backoff.pause()
        self._known[batch.directory] = batch
        if decision.step is Step.WATCH:
            return None
        if decision.step is Step.WITHDRAW:
            case = replace(case, evidence=await self._withdraw_lost(batch, case.evidence))
            return await self._explained(case, case.results())
        return await self._explained(case, decision.results)

    async def _look(self, batch: SubmittedBatch, already_read: str | None) -> Case:
        """Read the batch directory, and ask the scheduler if that does not say enough."""
        evidence = await self._questions.evidence(batch, already_read)
        if len(evidence.ids) > len(batch.ids):  # two hosts have submitted it, and one of them was late
            batch = replace(batch, ids=evidence.ids)
        account = Account({}, complete=True)
        silent = any(index not in evidence.endings for index in range(batch.total))
        if batch.ids and (silent or any(doubtful(ending) for ending in evidence.endings.values())):
            account = await self._questions.account(batch)
        return Case.of(self.scheduler, batch, evidence, account)

    async def _withdraw_lost(self, batch: SubmittedBatch, evidence: Evidence) -> Evidence:
        """Make sure that lost jobs do not run beside their next attempt.

        :return: the evidence, with exit codes that have arrived since; those of jobs that this ended do not count.
        """
        log.warning("%s: jobs of %s are lost; what may be left of them is cancelled", self.host.title, batch.directory)
        backoff = Backoff(1.0, 30.0)
        while True:
            await self._questions.patiently(lambda: self._cancel_ids(batch))
            account = await self._questions.account(batch)
            if account.heard and not any(element.state in ALIVE for element in account.elements.values()):
                break
            again_s = backoff.next_s
            log.warning("%s: %s may still be running; next check in %g s", self.host.title, batch.directory, again_s)
            await backoff.pause()
        latest = await self._questions.evidence(batch)
        endings = {i: ending for i, ending in latest.endings.items() if i in evidence.endings or not doubtful(ending)}
        return replace(latest, endings=endings, present=evidence.present)

    async def _drop_left_elements(self, batch: SubmittedBatch) -> None:
        """Remove elements from the queue that are no longer needed; a failure does no harm."""
        try:
            await self.host.run(commands.withdraw_command(self.scheduler, batch.ids), label="tidy the queue")
        except SiteError as error:
            log.info("%s: elements that are no longer needed may still be in the queue: %s", self.host.title, error)

    async def _withdraw(self, batch: SubmittedBatch, reason: str) -> list[JobResult]:
        """Remove from the queue what can never run; its jobs fail for the scheduler's reason."""
        log.warning("%s: %s can never run and is withdrawn: %s", self.host.title, batch.directory, reason)
        await self._questions.patiently(lambda: self._cancel_ids(batch))
        evidence = await self._questions.evidence(batch)
        case = Case(self.scheduler, batch, evidence, Account({}, complete=True), {})
        never = ElementState(JobState.FAILED, f"it can never run as it is and was withdrawn: {reason}")
        case = replace(case, elements=dict.fromkeys(case.unended, never))
        return await self._explained(case, case.results())

    async def _cancel_ids(self, batch: SubmittedBatch) -> None:
        self._done(await self.host.run(commands.withdraw_command(self.scheduler, batch.ids), label="withdraw"))

    async def _explained(self, case: Case, judged: Sequence[JobResult]) -> list[JobResult]:
        """The results of a batch, with the site's details about failures: free space, and the ends of stderr."""
        results = list(judged)
        directory = case.batch.directory
        full = [index for index, result in enumerate(results) if result.state is JobState.DISK_FULL]
        if full:
            space = await self._questions.space(directory)
            for index in full:
                results[index] = replace(results[index], reason=f"{results[index].reason}: {space}")
        if case.evidence.disk_full and len(full) < len(results):
            log.warning("%s: the file system of %s was full while its jobs ran", self.host.title, directory)
        failed = [index for index, result in enumerate(results) if result.state is not JobState.COMPLETED]
        shown = failed[:MOST_TAILS]
        tails = await self.tails(directory, [results[index].stderr_path for index in shown])
        for index, tail in zip(shown, tails, strict=False):
            results[index] = replace(results[index], stderr_tail=tail)
        return results

    async def tails(self, directory: str, paths: Sequence[str]) -> list[str]:
        """The ends of some files of a batch's jobs, in one command; an empty list if they cannot be read."""
        return await self._questions.tails(directory, paths)

    async def measured(self, results: Sequence[JobResult], *, is_mpi: bool = False) -> list[JobResult]:
        """Results with what the accounting knows of use that runners did not tell; of MPI jobs they cannot."""
        told = without_usage(results) if is_mpi else results
        used = await self._questions.usage(unmeasured(told))
        return [with_usage(one, used.get(one.scheduler_id or ""), is_mpi=is_mpi) for one in told]

    # --- cancel, inspect, facts -----------------------------------------------------------------------------------

    async def cancel(self, task_directory: str, attempt: int | None = None) -> None:
        """Cancel every batch under a task directory: running jobs end, and nothing more is submitted there.

        :param attempt: only batches of this try and of earlier ones; later ones may be submitted.
        :raises SiteError: it failed (retryable); if the host could be reached, the marker was written.
        """
        command = commands.cancel_command(task_directory, self.scheduler, attempt)
        answer = await self.host.run(
            command, timeout_s=settings.current().submit_timeout, label=f"cancel {task_directory}"
        )
        self._done(answer)

    async def end_all(self, task_directory: str, wait_s: float) -> list[str]:
        """Cancel every batch under a task directory that has jobs left, and wait until they have ended.

        :return: names of batches whose jobs have not ended within ``wait_s`` seconds.
        :raises SiteError: the host or the scheduler did not answer (retryable).
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
        return [report.name for report, end in zip(left, ends, strict=True) if isinstance(end, asyncio.CancelledError)]

    async def inspect(self, task_directory: str, name: str | None = None) -> list[BatchReport]:
        """Every batch under a task directory that was submitted or begun, by any process.

        :raises SiteError: the host or the scheduler did not answer (retryable).
        """
        command = commands.inspect_command(task_directory, self.scheduler, name)
        with answers_up_to(TASK_BYTES):
            answer = await self.host.run(
                command, timeout_s=settings.current().submit_timeout, label=f"inspect {task_directory}"
            )
        return answers.parse_reports(self._done(answer).lines, task_directory)

    async def facts(self, questions: Sequence[Question] = (), *, trees: Sequence[str] = ()) -> SiteFacts:
        """Answers about the location's files in one command; see
        :func:`airflow_hybrid.sites.hosts.probing.probe.facts`.

        :param trees: output directories of jobs (``<batch directory>/<key>/out``), which are listed with everything
            below them, sizes, checksums and real paths.
        """
        # not the job directory itself: the job may have replaced it, and that must show
        batches = {posixpath.dirname(posixpath.dirname(tree)) for tree in trees}
        bases = self._bases | {parent for path in batches for parent in directory_.ancestors(path)}
        return await probe.facts(self.host, questions, trees=trees, bases=sorted(bases))
