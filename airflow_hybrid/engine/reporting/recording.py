# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Keeps what is known of a fragment's jobs, for people who look at its task while it runs and later."""

from __future__ import annotations

import contextlib
import posixpath
import time
from collections.abc import Iterator, Mapping, Sequence

from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.failures import Failure
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.reporting.sizes import InputSizes, size_of_outputs
from airflow_hybrid.engine.step_run import JobProgress, StepRun, title
from airflow_hybrid.model import AskedResources, CwlObject, JobResult, JobState, Resources
from airflow_hybrid.model.records import Activity, BatchProgress, JobRecord, JobsReport
from airflow_hybrid.printable import printable, shortened
from airflow_hybrid.reasons.clues import clue_in
from airflow_hybrid.reasons.failed import REFUSED_OUTPUTS, SITE_FAULT
from airflow_hybrid.sites.batches.poller import Progress
from airflow_hybrid.sites.batches.queue import BatchReport

_LONGEST_REASON = 300
_MOST_REASONS = 5
_DAEMONS = frozenset({"docker", "podman"})
"""their containers are no children of the job: what the runner counts is the processor time of a client"""


class Recorder:
    """The jobs of one fragment: records of those that have ended, and how far running batches are.

    :ivar changes: grows with each change.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._records: list[JobRecord] = []
        self._places_of_records: dict[str, int] = {}
        """by job directory: an attempt has one record, whatever is learnt of it later"""
        self._batches: dict[str, BatchProgress] = {}
        self._activities: dict[object, Activity] = {}

    def report(self) -> JobsReport:
        """What is known now."""
        return JobsReport(tuple(self._records), tuple(self._batches.values()), time.time())

    @property
    def places(self) -> frozenset[tuple[str, str | None]]:
        """Deployments and services of the jobs that have ended."""
        return frozenset((record.deployment, record.service or None) for record in self._records)

    def records_since(self, count: int) -> Sequence[JobRecord]:
        """The records after the first ``count``."""
        return self._records[count:]

    @property
    def batches(self) -> tuple[BatchProgress, ...]:
        """How far the batches are that have not ended."""
        return tuple(self._batches.values())

    @property
    def activities(self) -> tuple[Activity, ...]:
        """What is done here at the moment. No report has it: it passes in seconds."""
        return tuple(self._activities.values())

    @property
    def is_empty(self) -> bool:
        return not self._records and not self._batches

    @property
    def waits(self) -> bool:
        """Whether a batch has not ended."""
        return bool(self._batches)

    @contextlib.contextmanager
    def doing(self, what: str, place: Place, jobs: Sequence[PendingJob]) -> Iterator[None]:
        """Something is done for jobs of one step, none of which has been submitted yet."""
        activity = object()
        self._activities[activity] = Activity(jobs[0].step_path, place.title, what, len(jobs))
        try:
            yield
        finally:
            del self._activities[activity]

    # --- running batches ----------------------------------------------------------------------------------------

    def begun(self, place: Place, report: BatchReport, jobs: Sequence[JobProgress]) -> None:
        """Some of a batch's jobs are waited for."""
        self.changes += 1
        counts_failures = all(_only_0_is_success(progress) for progress in jobs[:1])  # all are jobs of one tool
        self._batches[report.directory] = BatchProgress(
            step=title(jobs),
            place=place.title,
            total=len(report.keys),
            scheduler_ids=report.scheduler_ids,
            directory=report.directory,
            since=round(time.time(), 2),
            failed=0 if counts_failures else None,
        )

    def progressed(self, report: BatchReport, progress: Progress) -> None:
        """What a poll has seen of a batch."""
        known = self._batches[report.directory]
        reasons = progress.words[:_MOST_REASONS]
        self._batches[report.directory] = BatchProgress(
            step=known.step,
            place=known.place,
            total=progress.total,
            ended=progress.finished,
            running=progress.running,
            pending=progress.pending,
            reasons=tuple(_line(reason) for reason in reasons) if progress.pending else (),
            unknown=_line(progress.unknown),
            scheduler_ids=known.scheduler_ids,
            directory=known.directory,
            since=known.since,
            failed=None if known.failed is None else progress.failed,
        )
        self.changes += 1

    def over(self, report: BatchReport) -> None:
        """A batch has ended; the records of its jobs follow."""
        batch = self._batches.pop(report.directory, None)
        if batch is not None:
            self._activities[report.directory] = Activity(
                batch.step, batch.place, "collecting outputs", batch.total, batch.total, batch.failed or 0
            )
        self.changes += 1

    # --- jobs that have ended -----------------------------------------------------------------------------------

    def ended(
        self,
        run: StepRun,
        jobs: Sequence[JobProgress],
        outputs: Mapping[str, CwlObject],
        failures: Sequence[Failure] = (),
    ) -> None:
        """Jobs have ended.

        :param outputs: by key, of those whose outputs were collected.
        :param failures: of those that failed, as far as they were looked into.
        """
        if not jobs:
            return
        self.changes += 1
        for batch_directory in {posixpath.dirname(progress.ran_in) for progress in jobs}:
            self._activities.pop(batch_directory, None)
        failure_by_directory = {failure.directory: failure for failure in failures}
        makers: dict[AskedResources, _RecordMaker] = {}
        for progress in jobs:
            asked = progress.job.asked_again
            if asked not in makers:
                makers[asked] = _RecordMaker(run, progress.job.resources, failure_by_directory)
            if progress.result is not None:
                self._keep(makers[asked].record(progress, progress.result, outputs.get(progress.key)))

    def _keep(self, record: JobRecord) -> None:
        number = self._places_of_records.get(record.directory)
        if number is not None:
            self._records[number] = record
            return
        if record.directory:
            self._places_of_records[record.directory] = len(self._records)
        self._records.append(record)

    def reused(self, run: StepRun, jobs: Sequence[JobProgress], outputs: Mapping[str, CwlObject]) -> None:
        """Jobs did not run: outputs of earlier ones, by key, are theirs."""
        self.changes += 1
        sizes = InputSizes(run)
        now = round(time.time(), 2)
        for progress in jobs:
            self._records.append(
                JobRecord(
                    deployment=run.place.target.deployment,
                    service=run.place.target.service or "",
                    location=run.place.host.title,
                    step=progress.job.step_path,
                    index=progress.job.suffix,
                    state=JobState.COMPLETED,
                    reused=True,
                    bytes_in=sizes.of(progress),
                    bytes_out=size_of_outputs(outputs[progress.key], run.place),
                    staging_began=_rounded(run.staging_began),
                    collected=now,
                )
            )


class _RecordMaker:
    """Makes the records of jobs with the same needs at one place."""

    def __init__(
        self,
        run: StepRun,
        resources: Resources,
        failures: Mapping[str, Failure],
    ) -> None:
        """:param failures: by job directory."""
        self._failures = failures
        self._place = run.place
        self._collected = _rounded(run.collected)
        self._is_process = run.place.queue.scheduler.on_host
        self._sizes = InputSizes(run)
        asked = resources.explicit
        self._cores = resources.all_cores if "cores" in asked or resources.processes else None
        self._processes = resources.processes
        self._memory_mib = resources.ram_mib if "ram_mib" in asked else None

    def _id(self, scheduler_id: str) -> str:
        """On a plain host, the number of the process that started the batch's jobs (``BOOT:PROCESS:TIME``)."""
        parts = scheduler_id.split(":")
        return parts[1] if self._is_process and len(parts) == 3 else scheduler_id

    def record(self, progress: JobProgress, result: JobResult, output: CwlObject | None) -> JobRecord:
        return JobRecord(
            deployment=self._place.target.deployment,
            service=self._place.target.service or "",
            location=self._place.host.title,
            step=progress.job.step_path,
            index=progress.job.suffix,
            state=_state(progress, result),
            reason=self._reason(progress, result),
            exit_code=result.exit_code,
            attempt=progress.attempt,
            scheduler_id=printable(self._id(result.scheduler_id or "")),
            node=printable(result.node),
            submitted=result.submitted,
            began=result.began,
            seconds=result.seconds,
            cpu_s=None if _runs_in_daemon(progress) else result.cpu_s,
            cores=self._cores,
            # rules may have been edited since it was submitted
            memory_mib=self._memory_mib if result.memory_asked_mib is None else result.memory_asked_mib,
            bytes_in=self._sizes.of(progress),
            bytes_out=None if output is None else size_of_outputs(output, self._place),
            directory=progress.ran_in,
            memory_used_mib=None if _runs_in_daemon(progress) else result.memory_used_mib,
            staging_began=_rounded(progress.staging_began),
            collected=None if output is None else self._collected,
            processes=self._processes,
            resubmission=progress.resubmission,
            rule="" if progress.refusal or progress.succeeded else _line(progress.rule_note),
        )

    def _reason(self, progress: JobProgress, result: JobResult) -> str:
        """In the site's words, with the line of the job's stderr that tells most; or why its outputs are refused."""
        if progress.refusal:
            return _line(REFUSED_OUTPUTS + progress.refusal)
        if progress.succeeded:
            return ""
        return _line(self._of_failure(progress, result))

    def _of_failure(self, progress: JobProgress, result: JobResult) -> str:
        failure = self._failures.get(progress.ran_in)
        if failure is not None and failure.site_fault:
            return SITE_FAULT + failure.site_fault
        if result.state is JobState.COMPLETED and not result.reason:
            return f"exit code {result.exit_code} is in `{progress.declared}Codes` of its document"
        clue = clue_in(result.stderr_tail) if result.state is JobState.FAILED else ""
        return f"{result.reason}: {clue}" if clue else result.reason


def _only_0_is_success(progress: JobProgress) -> bool:
    """Whether the site's count of exit codes other than 0 is that of failures."""
    return not [code for code in range(256) if (progress.job.status(code) == "success") != (code == 0)]


async def measure(run: StepRun) -> None:
    """Complete the results of jobs that have ended by what the place's accounting says that they used."""
    ended = {p.key: p.result for p in run.jobs.values() if p.result is not None and not _runs_in_daemon(p)}
    is_mpi = any(progress.job.resources.processes for progress in run.jobs.values())  # they have the same needs
    results = await run.place.queue.measured(list(ended.values()), is_mpi=is_mpi)
    for key, result in zip(ended, results, strict=True):
        run.jobs[key].result = result


def _runs_in_daemon(progress: JobProgress) -> bool:
    container = progress.script.container if progress.script is not None else None
    return container is not None and container.image.runtime in _DAEMONS


def _state(progress: JobProgress, result: JobResult) -> JobState:
    """CWL's successCodes may make a success of any exit code, and a failure of 0."""
    if progress.succeeded and not progress.refusal:
        return JobState.COMPLETED
    return JobState.FAILED if result.state is JobState.COMPLETED else result.state


def _rounded(time_s: float | None) -> float | None:
    return None if time_s is None else round(time_s, 2)


def _line(text: str) -> str:
    return shortened(printable(" ".join(text.split())), _LONGEST_REASON)
