# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is known of a run while it goes on, from the recorders of its tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_hybrid.engine.reporting.recording import Recorder
from airflow_hybrid.model import JobState
from airflow_hybrid.model.outline import DagOutline, StepOutline
from airflow_hybrid.model.records import Activity, BatchProgress, JobRecord
from airflow_hybrid.runner.progress.following import RunProgress
from airflow_hybrid.runner.progress.view import StepLine
from airflow_hybrid.triggers.reports import JobReports
from tests.unit.engine.execution import Log

OUTLINE = DagOutline(
    "main.cwl",
    (
        StepOutline("/align", "tool", "align", "plan_align", scatter=("reads",)),
        StepOutline("/one", "tool", "one__two", shares_task=True),
        StepOutline("/two", "tool", "one__two", shares_task=True),
        StepOutline("/sub", "workflow", "", "plan_sub"),
        StepOutline("/sub/count", "tool", "sub.count", loop=True),
    ),
)


class Task:
    """A task's recorder, as its engine fills it."""

    def __init__(self, task_id: str, leaves: tuple[str, ...], index: int = -1) -> None:
        self.recorder = Recorder()
        identity = SimpleNamespace(task_id=task_id, map_index=index)
        context = SimpleNamespace(spec=SimpleNamespace(identity=identity, leaves=leaves))
        execution: Any = SimpleNamespace(context=context, batches=self)

        async def publish(key: str, value: Any) -> None:
            pass

        self.reports = JobReports(lambda: execution, publish, Log())

    def runs(self, batch: BatchProgress) -> None:
        self.recorder._batches[batch.directory] = batch

    def over(self, *records: JobRecord) -> None:
        self.recorder._batches.clear()
        self.recorder._records.extend(records)


def record(step: str, index: int, state: JobState = JobState.COMPLETED, attempt: int = 1) -> JobRecord:
    return JobRecord(step, f"[{index}]", "hpc", "", "node", state, attempt=attempt, submitted=time.time() - 60)


def instances(**states: str | None) -> list[Any]:
    return [SimpleNamespace(task_id=task.replace("__dot__", "."), state=state) for task, state in states.items()]


@pytest.fixture
def planned() -> dict[str, int]:
    return {}


@pytest.fixture
def run(planned: Mapping[str, int]) -> RunProgress:
    return RunProgress(OUTLINE, lambda: dict(planned))


async def while_at_work(run: RunProgress, task: Task, look: Any) -> None:
    with run.following():
        async with task.reports.kept_up_to_date():
            look()


def line(run: RunProgress, path: str) -> StepLine:
    (found,) = [step for step in run.view().steps if step.path == path]
    return found


def test_counts_are_those_of_the_recorders(run: RunProgress, planned: dict[str, int]) -> None:
    planned["plan_align"] = 40
    run.saw(instances(plan_align="success", align="deferred", one__two=None, sub__dot__count=None))
    first, second = (Task("align", ("/align",), index) for index in (0, 1))
    first.over(record("/align", 0), record("/align", 1, JobState.FAILED))
    batch = BatchProgress("/align", "hpc (node)", 8, 3, 2, 3, ("Priority",), since=time.time() - 30, failed=1)
    second.runs(batch)

    async def both() -> None:
        with run.following():
            async with first.reports.kept_up_to_date(), second.reports.kept_up_to_date():
                seen = line(run, "/align")
                assert (seen.progress.total, seen.progress.ended, seen.failed) == (40, 5, 2)
                assert (seen.progress.running, seen.progress.pending, seen.progress.reasons) == (2, 3, ("Priority",))
                assert seen.places == ("hpc (node)",) and 59 <= (seen.seconds or 0) <= 70
                whole = run.view()
                assert (whole.ended, whole.failed, whole.running, whole.pending) == (5, 2, 2, 3)
                assert (whole.done, whole.total) == (0, 4)
        second.over()
        assert run.view().steps == ()
        assert (run.view().ended, run.view().failed) == (2, 1)

    asyncio.run(both())


def test_of_a_job_that_ran_again_the_last_try_counts(run: RunProgress) -> None:
    task = Task("align", ("/align",))

    def look() -> None:
        task.over(record("/align", 0, JobState.FAILED), record("/align", 1))
        assert (run.view().ended, run.view().failed) == (2, 1)
        task.over(record("/align", 0, attempt=2))
        assert (run.view().ended, run.view().failed) == (2, 0)

    asyncio.run(while_at_work(run, task, look))


def test_steps_of_one_task_have_lines_of_their_own_and_loops_one_for_all_iterations(run: RunProgress) -> None:
    fused, loop = Task("one__two", ("/one", "/two")), Task("sub.count", ("/sub/count",))
    fused.over(record("/one", 0))
    fused.runs(BatchProgress("/two", "hpc", 1, running=1, directory="b"))
    loop.over(record("/sub/count", 0), record("/sub/count", 1))
    loop.runs(BatchProgress("/sub/count: iteration 3", "hpc", 1, pending=1))

    async def both() -> None:
        with run.following():
            async with fused.reports.kept_up_to_date(), loop.reports.kept_up_to_date():
                lines = {step.path: step.progress for step in run.view().steps}
                assert list(lines) == ["/two", "/sub/count"]
                assert (lines["/two"].total, lines["/two"].running) == (1, 1)
                assert (lines["/sub/count"].total, lines["/sub/count"].ended) == (3, 2)

    asyncio.run(both())


def test_jobs_that_are_staged_or_collected_are_known(run: RunProgress) -> None:
    task = Task("one__two", ("/one", "/two"))
    task.recorder._activities["a"] = Activity("/one", "hpc", "staging inputs", 5)
    task.recorder._activities["b"] = Activity("/one", "hpc", "collecting outputs", 4, 4, 1)

    def look() -> None:
        seen = line(run, "/one")
        assert seen.doing == ("staging inputs", "collecting outputs")
        assert (seen.progress.total, seen.progress.ended, seen.failed) == (9, 4, 1)

    asyncio.run(while_at_work(run, task, look))


def test_it_says_what_the_run_itself_does(run: RunProgress) -> None:
    assert run.view().doing == "making the run ready"
    run.saw(instances(inputs="running", align=None))
    for task, words in (
        ("inputs", "checking the inputs"),
        ("outputs", "bringing the outputs to the output folder"),
        ("deploy_hpc", "task deploy_hpc"),
    ):
        with run.working_on(task):
            assert run.view().doing == words
    assert run.view().doing == ""
    with run.working_on("plan_align"):
        assert line(run, "/align").doing == ("finding its jobs",)
    run.saw(instances(align="up_for_retry", one__two="success"))
    assert line(run, "/align").doing == ("failed: is tried again",)
    assert (run.view().done, run.view().total) == (2, 4)
    run.does("interrupted: its jobs are cancelled")
    assert run.view().doing == "interrupted: its jobs are cancelled"


def test_a_task_that_has_ended_is_let_go(run: RunProgress) -> None:
    task = Task("align", ("/align",))
    asyncio.run(while_at_work(run, task, run.view))
    run.view()
    assert all(jobs.reports is None and jobs._recorder is None for jobs in run._jobs.values())
    assert JobReports.follower is None
