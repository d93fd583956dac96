# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why jobs of a run wait or failed, as their reports say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_hybrid.model import JobState
from airflow_hybrid.model.outline import DagOutline, StepOutline
from airflow_hybrid.model.records import BatchProgress, JobRecord, JobsReport
from airflow_hybrid.overviews.lineage import RunLineage
from airflow_hybrid.overviews.overview import RunFacts
from airflow_hybrid.overviews.tasks import RunJobs, RunState, TaskJobs, TaskState
from airflow_hybrid.reasons.tasks import Airflow
from airflow_hybrid.runs.answers.holds import Holds, Placed, TaskOfDag
from airflow_hybrid.runs.answers.why import Answer, Context, answers

OUTLINE = DagOutline(
    "a.cwl",
    (
        StepOutline("/align", "tool", task_id="align", plan_id="plan_align", scatter=("reads",)),
        StepOutline("/call", "tool", task_id="call"),
    ),
)
TASKS = {
    "align": TaskOfDag("align", frozenset({"plan_align"})),
    "plan_align": TaskOfDag("plan_align"),
    "call": TaskOfDag("call", frozenset({"align"})),
}
LOGIN = {
    "kind": "LoginRefusedError", "message": "the host refused the certificate", "where": "hpc", "hint": "renew it",
}  # fmt: skip


def task(task_id: str, map_index: int, state: str | None, tries: int = 1) -> TaskState:
    return TaskState(task_id, map_index, state, tries, None, None, None, None, "default_pool")


def context(
    tasks: list[TaskState], reports: list[TaskJobs], problems: Mapping[tuple[str, int], Mapping[str, Any]] | None = None
) -> Context:
    run = RunState("d", "r", "running", None, None, None)
    facts = RunFacts(run, OUTLINE, RunJobs(tuple(reports)), RunLineage(()), tuple(tasks), {"plan_align": 10_000})
    trigger = "airflow_hybrid.triggers.hybrid.HybridTrigger"
    placed = {(t.task_id, t.map_index): Placed("default", trigger) for t in tasks}
    return Context(facts, Holds(Airflow(), TASKS, {}, placed, {}, 1, 16), problems or {})


def record(index: int, state: JobState = JobState.FAILED, **more: Any) -> JobRecord:
    return JobRecord("/align", f"[{index}]", "hpc", "long", "login", state, **more)


def test_jobs_that_failed_for_the_same_reason_are_one_answer_over_all_chunks() -> None:
    good = [record(n, JobState.COMPLETED, exit_code=0) for n in range(5)]
    memory = [record(n, JobState.OUT_OF_MEMORY, memory_mib=2048, reason="OUT_OF_MEMORY") for n in (17, 18)]
    other = [record(700, JobState.OUT_OF_MEMORY, memory_mib=2048, reason="oom-kill"), record(701, exit_code=127)]
    reports = [
        TaskJobs("align", 0, JobsReport((*good, *memory))),
        TaskJobs("align", 1, JobsReport(tuple(other))),
    ]
    found = answers(context([task("align", 0, "failed"), task("align", 1, "failed")], reports))
    assert found[0] == Answer(
        "/align", "failed", "it ran out of memory",
        "it asked for 2048 MiB: raise `ramMin` of the step's ResourceRequirement or of its binding's `resources`",
        jobs=3, total=10_000, first="[17]", place="hpc/long",
    )  # fmt: skip
    assert [(a.jobs, a.first, a.sentence) for a in found[1:]] == [
        (1, "[701]", "its command was not found (exit code 127)")
    ]


def test_a_job_that_ran_again_counts_by_its_last_try() -> None:
    records = (record(1, exit_code=3), record(1, JobState.COMPLETED, exit_code=0, attempt=2), record(2, exit_code=3))
    found = answers(context([task("align", -1, "up_for_retry")], [TaskJobs("align", -1, JobsReport(records))]))
    assert [(a.state, a.jobs, a.first) for a in found] == [("failed", 1, "[2]"), ("waits", 0, "")]
    assert found[0].remedy == "its stderr may say more: `airflow hybrid logs r '/align[2]'`"


def batch(**more: Any) -> BatchProgress:
    return BatchProgress("/align", "hpc/long", **{"total": 100, "scheduler_ids": ("4711",), **more})


def test_jobs_that_wait_for_the_same_reason_are_one_answer_over_all_batches() -> None:
    reports = [
        TaskJobs("align", 0, JobsReport((), (batch(ended=10, running=20, pending=70, reasons=("Priority",)),))),
        TaskJobs("align", 1, JobsReport((), (batch(pending=100, reasons=("Priority",)),))),
    ]
    found = answers(context([task("align", 0, "deferred"), task("align", 1, "deferred")], reports))
    assert [(a.state, a.sentence, a.jobs, a.total, a.place) for a in found] == [
        ("waits", "jobs with a higher priority come first", 170, 200, "hpc/long"),
        ("runs", "its jobs run", 20, 100, "hpc/long"),
    ]
    assert "squeue --start -j 4711" in found[0].remedy


def test_several_reasons_an_unknown_one_and_a_site_that_does_not_answer() -> None:
    batches = (
        batch(pending=3, reasons=("Licenses", "SomethingNew")),
        batch(ended=40, unknown="slurm did not answer", reasons=()),
    )
    found = answers(context([task("align", -1, "deferred")], [TaskJobs("align", -1, JobsReport((), batches))]))
    assert [(a.sentence, a.known, a.jobs) for a in found] == [
        ("the licenses that it asks for are in use (one of 2 reasons that the site gives)", True, 3),
        ("SomethingNew (one of 2 reasons that the site gives)", False, 3),
        ("its site does not say how its jobs are: slurm did not answer", True, 60),
    ]


def test_a_task_without_batches_prepares_them_or_waits_for_a_login() -> None:
    (answer,) = answers(context([task("call", -1, "deferred")], []))
    assert answer.sentence == (
        "its jobs are being prepared: inputs are brought to its site, images are pulled, or what is there is looked at"
    )
    (answer,) = answers(context([task("call", -1, "deferred")], [], {("call", -1): LOGIN}))
    assert (answer.sentence, answer.remedy) == (
        "it waits for a login that works: hpc: the host refused the certificate", "renew it"
    )  # fmt: skip


def test_failed_tasks_without_failed_jobs() -> None:
    error = {"kind": "TransferError", "message": "x arrived changed", "where": "hpc", "hint": None}
    found = answers(context([task("call", -1, "failed")], [], {("call", -1): error}))
    assert [(a.step, a.sentence, a.remedy) for a in found] == [
        ("/call", "hpc: x arrived changed", "the task's log says more")
    ]
    (answer,) = answers(context([task("call", -1, "failed")], []))
    assert (answer.sentence, answer.known) == ("it failed, and Airflow's database does not say why", False)


def test_a_step_and_the_task_that_plans_its_jobs_are_one_for_people() -> None:
    found = answers(context([task("align", -1, None), task("plan_align", -1, "running"), task("call", -1, None)], []))
    assert [(a.step, a.sentence) for a in found] == [
        ("/align", "its jobs are being planned: how many there are, and with which inputs"),
        ("/call", "it waits for data of /align (not started)"),
    ]
    error = {"kind": "CwlError", "message": "reads is no list", "where": None, "hint": None}
    tasks = [
        task("plan_align", -1, "failed"),
        task("align", -1, "upstream_failed"),
        task("call", -1, "upstream_failed"),
    ]
    found = answers(context(tasks, [], {("plan_align", -1): error}))
    assert [(a.step, a.state, a.sentence) for a in found] == [
        ("/align", "failed", "its jobs could not be planned: reads is no list"),
        ("/call", "not run", "because the planning of /align failed"),
    ]
    found = answers(context([task("plan_align", -1, "upstream_failed"), task("align", -1, "upstream_failed")], []))
    assert [(a.step, a.state, a.sentence) for a in found] == [
        ("/align", "not run", "because something before it failed"),
    ]
