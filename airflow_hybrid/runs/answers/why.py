# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why steps of a run wait or failed: for each that is no plain success, a sentence and a remedy."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.records import PROBLEM_XCOM, BatchProgress, JobRecord
from airflow_hybrid.operators.values import INPUTS_TASK, OUTPUTS_TASK
from airflow_hybrid.overviews.overview import RunFacts
from airflow_hybrid.overviews.tasks import TaskState
from airflow_hybrid.overviews.usage import is_success, last_tries
from airflow_hybrid.printable import printable
from airflow_hybrid.reasons.actions import LOG_DOES, LOG_SAYS_HOW_FAR, for_job
from airflow_hybrid.reasons.errors import of_error
from airflow_hybrid.reasons.explanation import Explanation
from airflow_hybrid.reasons.failed import Ended, failed
from airflow_hybrid.reasons.pending import pending
from airflow_hybrid.reasons.tasks import LOGIN, LOGIN_TRIGGER, Other, Waiting, not_run, queued_run, waiting
from airflow_hybrid.runs.answers.holds import Holds, Placed, TaskOfDag, holds_of_run
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.overview import facts_of_run
from airflow_hybrid.runs.xcoms import plain

ENDED_WELL = frozenset({"success", "skipped", "removed"})
_FAILED = frozenset({"failed", "up_for_retry"})
_PREPARING = Explanation(
    "its jobs are being prepared: inputs are brought to its site, images are pulled, or what is there is looked at",
    LOG_SAYS_HOW_FAR,
    passes=True,
)
_UNSAID = Explanation("it failed, and Airflow's database does not say why", LOG_DOES, known=False)
_PLANNING = Explanation(
    "its jobs are being planned: how many there are, and with which inputs", "it goes on by itself", passes=True
)
_TITLES = {
    "": "the run",
    INPUTS_TASK: f"the run's inputs (task {INPUTS_TASK})",
    OUTPUTS_TASK: f"the run's outputs (task {OUTPUTS_TASK})",
}
"""what tasks that belong to no step are called, for people who know the document's steps"""
_COLLECTING = Explanation(
    "its outputs are being collected, or its next jobs are being prepared",
    LOG_SAYS_HOW_FAR,
    passes=True,
)


@dataclass(frozen=True)
class Answer:
    """Why something in a run waits or failed.

    :ivar step: path of the step; the task's id, if it belongs to none; empty: the run itself.
    :ivar state: ``waits``, ``runs``, ``failed`` or ``not run``.
    :ivar jobs: how many jobs it is about; 0: the whole step. ``total``: jobs of the step that are known.
    :ivar first: the first of these jobs (``[17]``), where it is known.
    :ivar place: where they are.
    :ivar job: name of a failed job that has a log, the first of them; empty: there is none.
    """

    step: str
    state: str
    sentence: str
    remedy: str = ""
    known: bool = True
    jobs: int = 0
    total: int = 0
    first: str = ""
    place: str = ""
    job: str = ""

    @property
    def title(self) -> str:
        """What it is about, for people."""
        return _TITLES.get(self.step, self.step)

    def to_json(self) -> JsonValue:
        return {**asdict(self), "title": self.title}


@dataclass(frozen=True)
class Context:
    """A run, and what holds it up.

    :ivar problems: errors of tasks as JSON, by task id and map index.
    """

    facts: RunFacts
    holds: Holds
    problems: Mapping[tuple[str, int], Mapping[str, Any]]

    def step(self, task_id: str) -> str:
        """The path of the step that a task runs or plans, or else the task's id."""
        steps = self.facts.outline.steps
        return next((step.path for step in steps if task_id in (step.task_id, step.plan_id)), task_id)

    def title(self, task_id: str) -> str:
        """What others wait for: the path of the step that a task runs, or what else the task does."""
        path = self.step(task_id)
        return f"the planning of {path}" if self.is_plan(task_id) else _TITLES.get(path, path)

    def is_plan(self, task_id: str) -> bool:
        """Whether a task says which jobs a step has."""
        return any(step.plan_id == task_id for step in self.facts.outline.steps)

    def plan_of(self, task_id: str) -> frozenset[str]:
        """The task that says which jobs a task runs, if there is one."""
        return frozenset(s.plan_id for s in self.facts.outline.steps if s.task_id == task_id and s.plan_id)


def why_run(session: Session, run: RunKey) -> list[Answer]:
    """Why a run is not over, or has failed; an empty list: everything went well.

    :raises HybridError: there is no such run, or its DAG is none of this package.
    """
    return answers(Context(facts_of_run(session, run), holds_of_run(session, run), problems_of_run(session, run)))


def answers(context: Context) -> list[Answer]:
    """What waits or failed in a run, in the order of its steps."""
    run, holds = context.facts.run, context.holds
    if run.state == "queued":
        why = queued_run(holds.runs_active, holds.most_runs, holds.airflow)
        return [_answer("", "waits", why)]
    tasks_by_id: dict[str, list[TaskState]] = defaultdict(list)
    for task in context.facts.tasks:
        tasks_by_id[task.task_id].append(task)
    found: list[Answer] = []
    for task_id in _in_order(context, tasks_by_id):
        found.extend(_of_task(context, task_id, tasks_by_id))
    return merged(found)


def merged(found: Iterable[Answer]) -> list[Answer]:
    """Answers with the same sentence about the same step and place become one: about all their jobs together."""
    alike: dict[tuple[str, str, str, str], Answer] = {}
    for answer in found:
        key = (answer.step, answer.state, answer.place, answer.sentence)
        known = alike.get(key)
        if known is None:
            alike[key] = answer
        else:
            alike[key] = replace(known, jobs=known.jobs + answer.jobs, total=known.total + answer.total)
    return list(alike.values())


def _in_order(context: Context, task_ids: Mapping[str, object]) -> list[str]:
    """Tasks of steps in the order of the document; others where the DAG has them: what comes first, first."""
    ordered: dict[str, None] = dict.fromkeys(task_id for task_id in task_ids if not context.holds.tasks)
    done: set[str] = set()

    def visit(task_id: str) -> None:
        if task_id in done:
            return
        done.add(task_id)
        task = context.holds.tasks.get(task_id)
        for before in sorted(task.before) if task is not None else ():
            visit(before)
        if task_id in task_ids:
            ordered[task_id] = None

    for task_id in sorted(task_ids):
        visit(task_id)
    return list(ordered)


def _of_task(context: Context, task_id: str, tasks_by_id: Mapping[str, Sequence[TaskState]]) -> Iterator[Answer]:
    """The answers about a task, whatever the number of its instances."""
    instances = [task for task in tasks_by_id[task_id] if task.state not in ENDED_WELL]
    if not instances:
        return
    name = context.step(task_id)
    of_failed = [task for task in instances if task.state in _FAILED]
    if of_failed:
        yield from _of_failures(context, name, of_failed)
    if any(task.state == "upstream_failed" for task in instances):
        causes = _failed_before(context, task_id, tasks_by_id)
        if context.plan_of(task_id).isdisjoint(causes):  # else the failed plan's answer is about the same step
            yield _answer(name, "not run", not_run([context.title(cause) for cause in causes]))
    for task in instances:
        if task.state not in (*_FAILED, "upstream_failed"):
            yield from _of_instance(context, name, task, tasks_by_id)


# --- failed -----------------------------------------------------------------------------------------------------


def _of_failures(context: Context, name: str, tasks: Sequence[TaskState]) -> Iterator[Answer]:
    """Of instances of a task that failed: their failed jobs, or else the errors of the instances."""
    bad: list[JobRecord] = []
    without_jobs: list[TaskState] = []
    for task in tasks:
        of_task = [record for record in last_tries(_records_of(context, task)) if not is_success(record)]
        bad.extend(of_task)
        if not of_task:
            without_jobs.append(task)
    yield from _of_records(context.facts.run.run_id, bad, _totals(context, tasks[0].task_id))
    for task in without_jobs:
        problem = context.problems.get((task.task_id, task.map_index))
        why = _UNSAID if problem is None else of_error(problem)
        if context.is_plan(task.task_id):
            why = replace(why, sentence=f"its jobs could not be planned: {why.sentence}")
        yield _answer(name, "failed", why)
    if any(task.state == "up_for_retry" for task in tasks):
        yield _answer(name, "waits", Explanation("it failed, and is tried again", "it starts by itself", passes=True))


def _records_of(context: Context, task: TaskState) -> list[JobRecord]:
    """The jobs of a task instance."""
    instance = (task.task_id, task.map_index)
    return [
        record
        for jobs in context.facts.jobs.tasks
        if (jobs.task_id, jobs.map_index) == instance
        for record in jobs.report.records
    ]


def _totals(context: Context, task_id: str) -> dict[str, int]:
    """How many jobs each step of a task has, as far as is known."""
    records = [r for jobs in context.facts.jobs.tasks if jobs.task_id == task_id for r in jobs.report.records]
    totals = dict(Counter(record.step for record in last_tries(records)))
    for step in context.facts.outline.steps:
        if step.task_id == task_id and step.path in totals and not step.shares_task:
            totals[step.path] = max(totals[step.path], context.facts.planned.get(step.plan_id, 0))
    return totals


def _of_records(run_id: str, records: Sequence[JobRecord], totals: Mapping[str, int]) -> Iterator[Answer]:
    """Failed jobs, one answer for those with the same explanation."""
    alike: dict[tuple[str, str, Explanation], list[JobRecord]] = defaultdict(list)
    for record in records:
        place = f"{record.deployment}/{record.service}" if record.service else record.deployment
        alike[record.step, place, failed(ended_of(record))].append(record)
    for (step, place, why), group in alike.items():
        first = group[0]
        words = f"{shlex.quote(run_id)} {shlex.quote(first.name)}"
        why = replace(why, remedy=for_job(why.remedy, printable(words)))
        total, job = totals.get(step, 0), first.name if first.directory else ""
        yield _answer(step, "failed", why, jobs=len(group), total=total, first=first.index, place=place, job=job)


def ended_of(record: JobRecord) -> Ended:
    """What the record of a failed job says, for :func:`airflow_hybrid.reasons.failed.failed`."""
    return Ended(record.state, record.exit_code, record.reason, memory_mib=record.memory_mib, rule=record.rule)


def _failed_before(context: Context, task_id: str, tasks_by_id: Mapping[str, Sequence[TaskState]]) -> list[str]:
    """The tasks that failed, for which a task was not run."""
    causes: dict[str, None] = {}
    seen, next_ones = {task_id}, [task_id]
    while next_ones:
        task = context.holds.tasks.get(next_ones.pop())
        for before in sorted(task.before) if task is not None else ():
            if before in seen:
                continue
            seen.add(before)
            if any(instance.state == "failed" for instance in tasks_by_id.get(before, ())):
                causes[before] = None
            else:
                next_ones.append(before)
    return list(causes)


# --- waiting and running ----------------------------------------------------------------------------------------


def _of_instance(
    context: Context, name: str, task: TaskState, tasks_by_id: Mapping[str, Sequence[TaskState]]
) -> Iterator[Answer]:
    """A task instance that has not ended."""
    holds = context.holds
    of_dag = holds.tasks.get(task.task_id, TaskOfDag(task.task_id))
    placed = holds.placed.get((task.task_id, task.map_index), Placed("", ""))
    plan = context.plan_of(task.task_id)
    others = tuple(_unfinished(context, of_dag.before - plan, tasks_by_id))
    if task.state is None and not others and any(_unfinished(context, of_dag.before & plan, tasks_by_id)):
        return  # the plan's answer is about the same step
    why = waiting(
        Waiting(
            state=task.state,
            before=others,
            pool_name=task.pool,
            pool=holds.pools.get(task.pool),
            queue=placed.queue,
            instances=holds.active.get(task.task_id, 0),
            most_instances=of_dag.most_instances,
            trigger=placed.trigger,
        ),
        holds.airflow,
    )
    problem = context.problems.get((task.task_id, task.map_index))
    is_login = problem is not None and problem.get("kind") == "LoginRefusedError"
    if is_login and problem is not None and task.state in ("deferred", "up_for_reschedule"):
        said = of_error(problem)
        yield _answer(
            name, "waits", Explanation(f"it waits for a login that works: {said.sentence}", said.remedy or LOGIN)
        )
        return
    if why is not None:
        yield _answer(name, "waits", why)
        if task.state != "deferred" or placed.trigger.endswith(LOGIN_TRIGGER):
            return
    yield from _of_work(context, name, task)


def _unfinished(
    context: Context, task_ids: Iterable[str], tasks_by_id: Mapping[str, Sequence[TaskState]]
) -> Iterator[Other]:
    """Those of the tasks that have not ended."""
    for before in sorted(task_ids):
        states = [instance.state for instance in tasks_by_id.get(before, ())]
        unfinished = [state for state in states if state not in (*ENDED_WELL, "failed", "upstream_failed")]
        if unfinished or not states:
            deploys = before in context.holds.tasks and context.holds.tasks[before].deploys
            state = next((state for state in unfinished if state is not None), None)
            yield Other(context.title(before), state, deploys)


def _of_work(context: Context, name: str, task: TaskState) -> Iterator[Answer]:
    """A task that runs: how its batches are."""
    instance = (task.task_id, task.map_index)
    reports = [jobs.report for jobs in context.facts.jobs.tasks if (jobs.task_id, jobs.map_index) == instance]
    batches = [batch for report in reports for batch in report.batches]
    for batch in batches:
        yield from _of_batch(batch)
    is_step = any(step.task_id == task.task_id for step in context.facts.outline.steps)
    of_try = [record for record in _records_of(context, task) if record.attempt == task.try_number]
    records = last_tries(of_try)
    bad = [record for record in records if not is_success(record)]
    yield from _of_records(context.facts.run.run_id, bad, _totals(context, task.task_id))
    if not batches and is_step:
        yield _answer(name, "runs", _COLLECTING if records else _PREPARING)
    elif not batches and context.is_plan(task.task_id):
        yield _answer(name, "runs", _PLANNING)
    elif not batches:
        yield _answer(name, "runs", Explanation("it runs", passes=True))


def _of_batch(batch: BatchProgress) -> Iterator[Answer]:
    step = batch.step.partition(": ")[0]
    if batch.unknown:
        why = Explanation(
            f"its site does not say how its jobs are: {batch.unknown}",
            "it is asked again by itself, and nothing is lost; `airflow hybrid check FILE` tries the site",
        )
        left = batch.total - batch.ended
        yield _answer(step, "waits", why, jobs=left, total=batch.total, place=batch.place)
        return
    job_id = batch.scheduler_ids[0] if batch.scheduler_ids else ""
    if batch.pending:
        for reason in batch.reasons or ("",):
            why = pending(reason, job_id=job_id)
            if len(batch.reasons) > 1:
                sentence = f"{why.sentence} (one of {len(batch.reasons)} reasons that the site gives)"
                why = replace(why, sentence=sentence)
            yield _answer(step, "waits", why, jobs=batch.pending, total=batch.total, place=batch.place)
    if batch.running:
        why = Explanation("its jobs run", passes=True)
        yield _answer(step, "runs", why, jobs=batch.running, total=batch.total, place=batch.place)
    if not batch.running and not batch.pending:
        why = Explanation("its jobs have ended or were just submitted: their site is asked", passes=True)
        yield _answer(step, "runs", why, total=batch.total, place=batch.place)


def _answer(step: str, state: str, why: Explanation, **more: Any) -> Answer:
    return Answer(step, state, why.sentence, why.remedy, why.known, **more)


def problems_of_run(session: Session, run: RunKey) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Errors as JSON (:meth:`airflow_hybrid.errors.HybridError.to_json`), by task id and map index."""
    query = select(XComModel.task_id, XComModel.map_index, XComModel.value).where(
        XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id, XComModel.key == PROBLEM_XCOM
    )
    problems: dict[tuple[str, int], Mapping[str, Any]] = {}
    for task_id, map_index, value in session.execute(query):
        error = plain(value)
        if isinstance(error, Mapping):  # a user may have changed it
            problems[task_id, map_index] = error
    return problems
