# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How far the jobs of a step are, at one place."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.model import JobResult, JobScript
from airflow_hybrid.model.containers import ReadyImage


@dataclass
class JobProgress:
    """How far one job is.

    :ivar built_for: the job directory that it was built for, last; ``script``: what is to be run there.
    :ivar ran_in: the job directory that it ran in; ``result``: how it ended there. None as long as it has not ended.
    """

    job: PendingJob
    built_for: str = ""
    script: JobScript | None = None
    ran_in: str = ""
    result: JobResult | None = None

    @property
    def key(self) -> str:
        """Name of its job directory."""
        return self.job.key

    @property
    def exit_code(self) -> int | None:
        """None where none decides, or it has not ended."""
        return None if self.result is None else self.result.exit_code

    @property
    def status(self) -> str:
        """CWL's word for how it ended."""
        return "permanentFail" if self.exit_code is None else self.job.status(self.exit_code)

    @property
    def succeeded(self) -> bool:
        return self.exit_code is not None and self.status == "success"

    @property
    def outdir(self) -> str:
        """Where its outputs are."""
        return posixpath.join(self.ran_in, "out")

    def end(self, result: JobResult, batch_directory: str) -> None:
        """Note how it ended, and in which batch."""
        self.ran_in = posixpath.join(batch_directory, self.key)
        self.result = result


@dataclass
class StepRun:
    """Jobs of one step that ask for the same, at one place.

    :ivar peers: the other locations that each job has, where the place has no queue.
    :ivar paths: where each input file is there, by its URI.
    :ivar image: of their containers.
    :ivar jobs: by key; those whose outputs were found elsewhere have left.
    :ivar adopted: tokens of the batches of others whose jobs were taken.
    """

    place: Place
    peers: Sequence[Place]
    paths: Mapping[str, str]
    image: ReadyImage | None
    jobs: dict[str, JobProgress]
    adopted: set[str] = field(default_factory=set)

    @property
    def waiting(self) -> list[JobProgress]:
        """Jobs that have not ended."""
        return [progress for progress in self.jobs.values() if progress.result is None]

    def waiting_of(self, keys: Sequence[str]) -> list[JobProgress]:
        """Those of some jobs, ours or others, that have not ended."""
        return [self.jobs[key] for key in keys if key in self.jobs and self.jobs[key].result is None]


def title(jobs: Sequence[JobProgress]) -> str:
    """The step of some jobs, and which iteration of its loop, if they are of one: ``/count: iteration 3``."""
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
