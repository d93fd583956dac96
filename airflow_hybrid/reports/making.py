# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run's sums as a report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.overviews.files import RunFile
from airflow_hybrid.overviews.overview import RunFacts, StepOverview, overview_of
from airflow_hybrid.overviews.replays import MadeAgain, RenewedFile
from airflow_hybrid.overviews.tasks import in_order
from airflow_hybrid.overviews.usage import last_tries
from airflow_hybrid.printable import redacted
from airflow_hybrid.reasons.tasks import state_in_words
from airflow_hybrid.reports.values import NOT_RUN, AgainPart, OutputPart, RenewedPart, RunReport, SitePart, StepPart


def report_of(facts: RunFacts, outputs: Iterable[RunFile], at: float, *, is_last_task: bool = False) -> RunReport:
    """All that a report about a run has.

    :param outputs: the files that the run has published.
    :param at: now, in seconds since the epoch.
    :param is_last_task: the run's last task writes it, and so the run has not ended.
    """
    overview = overview_of(facts)
    jobs = last_tries(record for task in in_order(facts.jobs.tasks) for record in task.report.records)
    of_step: dict[str, list[JobRecord]] = defaultdict(list)
    for job in jobs:
        if not job.reused:
            of_step[job.step].append(job)
    return RunReport(
        dag_id=overview.run.dag_id,
        run_id=overview.run.run_id,
        state=overview.run.state,
        document=overview.outline.document,
        began=overview.run.began,
        ended=overview.run.ended,
        user=overview.run.user,
        steps=tuple(_step(step, of_step, _failed_beside(step, overview.steps)) for step in overview.steps),
        sites=tuple(SitePart(s.name, s.kinds, s.jobs, s.failed, s.nodes, s.core_s) for s in overview.sites),
        transfers=tuple(overview.transfers),
        jobs=tuple(jobs),
        outputs=tuple(OutputPart(_where(file), file.size, file.checksum) for file in outputs),
        problems=overview.problems,
        made_at=at,
        by_last_task=is_last_task,
        title=overview.outline.title_of(overview.run.dag_id),
        made_again=tuple(map(_again, facts.replays.made_again)),
        renewed=tuple(map(_renewed, facts.replays.files)),
    )


def _again(made: MadeAgain) -> AgainPart:
    return AgainPart(made.replay.task, made.missed_by, made.replay.jobs, made.reason)


def _renewed(file: RenewedFile) -> RenewedPart:
    return RenewedPart(file.task, file.missed_by, redacted(file.before), redacted(file.now), file.size, file.checksum)


def _where(file: RunFile) -> str:
    """The path of an output; of one in an object store or on the web, with its bucket or host."""
    return redacted(f"{file.site}{file.path}") if "://" in file.site else file.path


def _failed_beside(step: StepOverview, steps: Iterable[StepOverview]) -> str:
    """Why a step of a shared task had no jobs: those of another step of it failed; empty: it had some, or none did."""
    if not step.outline.shares_task or step.state.state != "failed" or step.ended:
        return ""
    others = [other for other in steps if other.outline.task_id == step.outline.task_id and other.failed]
    return f"because {others[0].outline.path} failed" if others else ""


def _step(step: StepOverview, of_step: Mapping[str, Sequence[JobRecord]], failed_beside: str) -> StepPart:
    """:param failed_beside: see :func:`_failed_beside`."""
    jobs = of_step.get(step.outline.path, ())
    return StepPart(
        path=step.outline.path,
        state=NOT_RUN if failed_beside else state_in_words(step.state.state),
        total=step.total,
        succeeded=step.succeeded,
        failed=step.failed,
        reused=step.reused,
        submitted=step.submitted,
        began=step.began,
        finished=step.finished,
        core_s=step.usage.core_s if step.usage is not None else 0.0,
        cores=tuple(job.cpu_s / job.seconds for job in jobs if job.cpu_s is not None and job.seconds),
        cores_asked=max((job.cores for job in jobs if job.cores is not None), default=None),
        memory_mib=tuple(float(job.memory_used_mib) for job in jobs if job.memory_used_mib is not None),
        memory_asked_mib=max((float(job.memory_mib) for job in jobs if job.memory_mib is not None), default=None),
        seconds=tuple(job.seconds for job in jobs if job.seconds is not None),
        kind=step.outline.kind,
        because=failed_beside,
    )
