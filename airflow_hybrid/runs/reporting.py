# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run as a report (:mod:`airflow_hybrid.reports`), from Airflow's database."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy.orm import Session

from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.operators.values import OUTPUTS_TASK
from airflow_hybrid.reports.making import report_of
from airflow_hybrid.reports.values import NOT_RUN, ReasonPart, RunReport
from airflow_hybrid.runs.answers.holds import holds_of_run
from airflow_hybrid.runs.answers.why import Answer, Context, answers, problems_of_run
from airflow_hybrid.runs.answers.words import jobs_in_words
from airflow_hybrid.runs.data import data_of_run
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.overview import facts_of_run


def report_of_run(session: Session, run: RunKey) -> RunReport:
    """All that a report about a run has.

    :raises HybridError: there is no such run, or its DAG is none of this package.
    """
    facts = facts_of_run(session, run)
    published = [file for file in data_of_run(session, run).files if file.task_id == OUTPUTS_TASK]
    context = Context(facts, holds_of_run(session, run), problems_of_run(session, run))
    return _with_reasons(report_of(facts, published, time.time()), context)


def _with_reasons(report: RunReport, context: Context) -> RunReport:
    """The report, with why steps wait, failed or were not run."""
    found = answers(context)
    not_run = {answer.step: answer.sentence for answer in found if answer.state == NOT_RUN}
    why = {path: not_run.get(first, "") for path, first in _first_of_tasks(context.facts.outline).items()}
    steps = [
        replace(step, because=step.because or why[step.path]) if step.state == NOT_RUN else step
        for step in report.steps
    ]
    reasons = [_reason(answer) for answer in found if answer.state != "runs"]
    return replace(report, steps=tuple(steps), reasons=tuple(reasons))


def _first_of_tasks(outline: DagOutline) -> dict[str, str]:
    """By the path of each step, the first step of its task, by which answers about the task go. A sub-workflow has the
    first one of the steps in it.
    """
    first: dict[str, str] = {}
    for step in outline.steps:
        first.setdefault(step.task_id or step.plan_id, step.path)
    tasks = {step.path: step.task_id or step.plan_id for step in outline.steps}
    return {path: first[task or _task_below(path, tasks)] for path, task in tasks.items()}


def _task_below(path: str, tasks: Mapping[str, str]) -> str:
    return next((task for other, task in tasks.items() if task and other.startswith(f"{path}/")), "")


def _reason(answer: Answer) -> ReasonPart:
    return ReasonPart(
        answer.title or "the run", answer.state, jobs_in_words(answer), answer.place, answer.sentence, answer.remedy
    )
