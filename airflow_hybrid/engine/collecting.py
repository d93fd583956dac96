# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Collect ended jobs: the outputs of those that succeeded, the reasons of those that failed."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from airflow_hybrid.engine.common import Logger, in_cwl_thread
from airflow_hybrid.engine.failures import Failure, shown_command
from airflow_hybrid.engine.retrying.rules import StepRetries
from airflow_hybrid.engine.site_faults import site_faults, with_what_is_there
from airflow_hybrid.engine.step_run import JobProgress, StepRun
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import CwlObject, FactsNeeded, JsonValue, LineageEntry, Question
from airflow_hybrid.model.walking import files
from airflow_hybrid.printable import printable
from airflow_hybrid.sites.files.unchanged import note_updates

MOST_LEFT_OUT = 20
"""names listed per job"""


@dataclass(frozen=True)
class Collected:
    """The results of a step's jobs.

    :ivar outputs: outputs of the successful jobs, by job key; ``lineage``: of their files.
    :ivar failures: the failed jobs.
    """

    outputs: dict[str, CwlObject]
    lineage: list[LineageEntry]
    failures: list[Failure]


async def collect(run: StepRun, retries: StepRetries, log: Logger) -> Collected:
    """Bind the outputs of ended jobs, and tell cwltool how each one ended.

    :param retries: of the step.
    :raises CwlError: outputs do not fit the document.
    :raises SiteError: the place does not answer.
    """
    outputs = await _bind(run, log)
    _warn_of_left_out(run, [run.jobs[key] for key in outputs], log)
    failed = [progress for progress in run.jobs.values() if progress.key not in outputs]
    faults = await site_faults(run, failed, log)
    failures = [_failure(run, progress, retries, faults.get(progress.key, "")) for progress in failed]
    await in_cwl_thread(complete, list(run.jobs.values()), outputs)
    lineage = [entry for value in outputs.values() for entry in _produced(value)]
    return Collected(outputs, lineage, failures)


def complete(jobs: Sequence[JobProgress], outputs: Mapping[str, CwlObject]) -> None:
    """Tell cwltool how jobs ended; must run in cwltool's thread.

    :param outputs: by job key, of those that succeeded.
    """
    for progress in jobs:
        if progress.key in outputs:
            progress.job.complete(outputs[progress.key], "success")
        else:
            progress.job.complete(None, progress.status)


async def _bind(run: StepRun, log: Logger) -> dict[str, CwlObject]:
    """Outputs of the jobs that succeeded, by key."""
    place = run.place
    usable = [progress for progress in run.jobs.values() if progress.succeeded]
    place.facts.forget({path for progress in run.jobs.values() for path in progress.job.updated})
    if usable:
        trees = [progress.outdir for progress in usable]
        updated = {path: kind for progress in usable for path, kind in progress.job.updated.items()}
        questions = [Question("checksum" if kind == "File" else "stat", path) for path, kind in updated.items()]
        place.facts.merge(await place.patiently(functools.partial(place.queue.facts, questions, trees=trees)))
        await place.patiently(functools.partial(note_updates, place.host, list(updated)))
    refused: list[JobProgress] = []

    def bind_all() -> tuple[list[CwlObject], list[Question]]:
        outputs: list[CwlObject] = []
        questions: list[Question] = []
        for progress in usable:
            try:
                exit_code = progress.exit_code or 0
                outputs.append(progress.job.collect(exit_code, progress.ran_in, place.facts, place.uri))
            except FactsNeeded as needed:
                questions.extend(needed.questions)
            except CwlError as error:
                progress.refusal = error.message
                refused.append(progress)
                raise
        return outputs, questions

    try:
        outputs = await place.with_facts(bind_all)
    except CwlError as error:
        if not refused:
            raise
        raise await with_what_is_there(error, refused[-1], place) from error
    return {progress.key: value for progress, value in zip(usable, outputs, strict=True)}


def _warn_of_left_out(run: StepRun, jobs: Sequence[JobProgress], log: Logger) -> None:
    for progress in jobs:
        job = progress.job
        if job.left_out:
            more = len(job.left_out) - MOST_LEFT_OUT
            names = ", ".join(job.left_out[:MOST_LEFT_OUT]) + (f" and {more:,} more" if more > 0 else "")
            log.warning(
                "%s at %s: skipped in its output folders, neither files nor directories: %s",
                job.label, run.place.title, printable(names),
            )  # fmt: skip


def _failure(run: StepRun, progress: JobProgress, retries: StepRetries, site_fault: str) -> Failure:
    if progress.result is None:
        raise ValueError(f"{progress.job.label} has not ended")
    decision = retries.decide(progress.result, progress.declared, site_fault)
    if progress.rule_note and not decision.again:
        decision = replace(decision, reason=decision.reason or progress.rule_note)
    return Failure(
        label=progress.job.label,
        place=run.place.title,
        result=progress.result,
        status=progress.status,
        directory=progress.ran_in,
        command="" if progress.script is None else shown_command(progress.script),
        resources=progress.job.resources,
        site_fault=site_fault,
        decision=decision,
    )


def _produced(value: JsonValue) -> list[LineageEntry]:
    entries: list[LineageEntry] = []
    for item in files(value):
        if "location" in item:
            uri, size = item["location"], int(item.get("size") or 0)
            entries.append(LineageEntry(uri, uri, "produced", size, 0.0, item.get("checksum")))
    return entries
