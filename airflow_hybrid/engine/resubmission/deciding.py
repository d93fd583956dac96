# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Lets failed jobs wait again that a rule is about, and tells what it changes, in log, records and lineage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_hybrid.amounts import counted
from airflow_hybrid.config import bind
from airflow_hybrid.engine.common import in_cwl_thread
from airflow_hybrid.engine.placing.context import FragmentContext
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.resubmission.changes import Change, Refusal, change
from airflow_hybrid.engine.step_run import JobProgress, StepRun, title
from airflow_hybrid.errors import SubmitError
from airflow_hybrid.model import LineageEntry
from airflow_hybrid.model.files import RESUBMITTED

Record = Callable[[StepRun, Sequence[JobProgress]], None]


class Resubmissions:
    """The rules of a fragment's bindings.

    :param record: is given the jobs that a rule repeats, before they change; ``lineage`` gets what is changed.
    """

    def __init__(self, context: FragmentContext, record: Record, lineage: list[LineageEntry]) -> None:
        self._context = context
        self._record = record
        self._lineage = lineage

    async def decide(self, run: StepRun, jobs: Sequence[JobProgress], resubmission: int | None) -> None:
        """Let the jobs wait again, changed, that a rule is about.

        :param jobs: of one step, which ended in one batch.
        :param resubmission: how often the try that is going on had submitted them before; None: an earlier try's batch.
        """
        rules = bind(self._context.spec.bindings, jobs[0].job.step_path).on if jobs else ()
        failed = [job for job in jobs if job.result is not None and not job.succeeded]
        if not rules or not failed:
            return

        def decide() -> list[Change | Refusal | None]:
            return [change(job, rules, run.place) for job in failed]

        changes: dict[tuple[str, str], list[JobProgress]] = {}
        decided = list(zip(failed, await in_cwl_thread(decide), strict=True))
        for job, found in decided:
            if isinstance(found, Refusal):
                job.rule_note = found.words
            elif found is not None:
                job.rule_note = f"run again by `{found.rule.name}`: {found.words}"
                changes.setdefault((found.rule.name, found.words), []).append(job)
        self._record(run, [job for some in changes.values() for job in some])
        for (name, words), some in changes.items():
            self._tell(run, name, words, some)
        for job, found in decided:
            if isinstance(found, Change):
                _apply(found, job, 0 if resubmission is None else resubmission + 1)

    def _tell(self, run: StepRun, rule: str, words: str, jobs: Sequence[JobProgress]) -> None:
        """What is changed, in log and lineage."""
        first = jobs[0]
        what = first.job.label if len(jobs) == 1 else f"{counted(len(jobs), 'job')} of {title(jobs)}"
        state = "" if first.result is None else first.result.state.value
        self._context.log.warning("%s at %s: %s, run again by `%s`: %s", what, run.place.title, state, rule, words)
        where = run.place.uri(run.place.task_directory(self._context.spec.identity))
        self._lineage.append(LineageEntry(what, where, RESUBMITTED, 0, 0.0, note=f"{state}: {rule}: {words}"))


def _apply(found: Change, job: JobProgress, resubmitted: int) -> None:
    job.causes.append(found.rule.name)
    job.failed, job.failed_with = job.result, job.job.asked_again
    job.job.asked_again, job.excluded = found.asked, found.excluded
    job.resubmitted = resubmitted
    job.result, job.rule_note = None, ""


def keep_failures(jobs: Sequence[JobProgress], refusal: SubmitError) -> None:
    """The scheduler will never accept what jobs ask for by now: they stay as they had failed before."""
    for job in jobs:
        job.result, job.job.asked_again = job.failed, job.failed_with
        job.rule_note = f"`{job.causes[-1]}` asks for more than the scheduler accepts: {refusal.message}"


def options_without(nodes: Sequence[str], place: Place) -> Mapping[str, Any]:
    """The native options of a place for jobs that are not to run on some nodes."""
    if not nodes:
        return place.options
    return place.queue.scheduler.without_nodes(place.options, nodes)
