# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The progress of a step's jobs at one place."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.model import AskedResources, JobResult, JobScript
from airflow_hybrid.model.containers import ReadyImage
from airflow_hybrid.model.jobs import JobState
from airflow_hybrid.sites.batches.directory import attempt_of, resubmission_of


@dataclass
class JobProgress:
    """The progress of one job.

    :ivar built_for: the job directory that it was last built for; ``script``: what runs there.
    :ivar ran_in: the job directory that it ran in; ``result``: how it ended there. None until it has ended.
    :ivar staging_began: when its inputs began to be staged, in seconds since the epoch; None: another process did that.
    :ivar refusal: why its outputs are not taken, though it ended well.
    :ivar causes: names of the rules by which it was submitted again, each as often as that was done, in all tries.
    :ivar resubmitted: how often that was done in this try.
    :ivar excluded: nodes on which it is not to run.
    :ivar failed: how it had ended before it was submitted again, and ``failed_with``, what it had asked for then.
    :ivar rule_note: what the rule about its last failure did, or why it did nothing; empty: no rule is about that.
    """

    job: PendingJob
    built_for: str = ""
    script: JobScript | None = None
    ran_in: str = ""
    result: JobResult | None = None
    staging_began: float | None = None
    refusal: str = ""
    causes: list[str] = field(default_factory=list)
    resubmitted: int = 0
    excluded: tuple[str, ...] = ()
    failed: JobResult | None = None
    failed_with: AskedResources = field(default_factory=AskedResources)
    rule_note: str = ""

    @property
    def key(self) -> str:
        """Name of its job directory."""
        return self.job.key

    @property
    def exit_code(self) -> int | None:
        """None if no exit code decides, or the job has not ended."""
        return None if self.result is None else self.result.exit_code

    @property
    def status(self) -> str:
        """CWL's word for how it ended."""
        return "permanentFail" if self.exit_code is None else self.job.status(self.exit_code)

    @property
    def declared(self) -> str | None:
        """What the document declares about its exit code: CWL's word, or None."""
        return self.job.declared(self.exit_code)

    @property
    def succeeded(self) -> bool:
        return self.exit_code is not None and self.status == "success"

    @property
    def end_state(self) -> str:
        """``success``, ``failed``, or the reason for which it was ended (``timeout``, ``lost``); for monitoring."""
        return end_state(self.job, self.result)

    @property
    def attempt(self) -> int:
        """The task's try that submitted it; 0 before it has ended."""
        return attempt_of(posixpath.basename(posixpath.dirname(self.ran_in)))

    @property
    def resubmission(self) -> int:
        """How often that try had submitted it before."""
        return resubmission_of(posixpath.basename(posixpath.dirname(self.ran_in)))

    @property
    def outdir(self) -> str:
        """Where its outputs are."""
        return posixpath.join(self.ran_in, "out")

    def end(self, result: JobResult, batch_directory: str) -> None:
        """Record how it ended, and in which batch."""
        self.ran_in = posixpath.join(batch_directory, self.key)
        self.result = result


@dataclass
class StepRun:
    """Jobs of one step with the same needs at one place.

    :ivar peers: the other locations that each job has, where the place has no queue.
    :ivar paths: where each input file is there, by its URI.
    :ivar image: of their containers.
    :ivar jobs: by key, without those whose outputs were reused.
    :ivar adopted: names of the batches of others whose jobs were taken over.
    :ivar inputs_changed: inputs that the jobs may change where they are differ from their records.
    :ivar staging_began: when the staging of its inputs began, in seconds since the epoch; ``collected``: when the
        outputs of its jobs were known.
    """

    place: Place
    peers: Sequence[Place]
    paths: Mapping[str, str]
    image: ReadyImage | None
    jobs: dict[str, JobProgress]
    adopted: set[str] = field(default_factory=set)
    inputs_changed: bool = False
    staging_began: float | None = None
    collected: float | None = None

    @property
    def waiting(self) -> list[JobProgress]:
        """Jobs that have not ended."""
        return [progress for progress in self.jobs.values() if progress.result is None]

    def waiting_of(self, keys: Sequence[str]) -> list[JobProgress]:
        """The jobs among these, ours or others', that have not ended."""
        return [self.jobs[key] for key in keys if key in self.jobs and self.jobs[key].result is None]


def end_state(job: PendingJob, result: JobResult | None) -> str:
    """How a job with this result has ended; see :attr:`JobProgress.end_state`."""
    if result is None or result.exit_code is None:
        return "failed" if result is None else str(result.state.value).lower()
    if job.status(result.exit_code) == "success":
        return "success"
    return "failed" if result.state is JobState.COMPLETED else str(result.state.value).lower()


def title(jobs: Sequence[JobProgress]) -> str:
    """The step of some jobs and, in a loop, the iteration: ``/count: iteration 3``."""
    iterations = sorted({progress.job.iteration for progress in jobs}, key=_numbers)
    if not jobs:
        return ""
    step_path = jobs[0].job.step_path
    if iterations == [""]:
        return step_path
    some = ", ".join(iterations[:3]) + (" ..." if len(iterations) > 3 else "")
    return f"{step_path}: iteration{'s' if len(iterations) > 1 else ''} {some}"


def _numbers(iteration: str) -> list[int]:
    return [int(number) for number in iteration.split(".") if number]
