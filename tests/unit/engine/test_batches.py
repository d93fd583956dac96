# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Batches of one fragment: what an earlier try left there is taken, whoever of its steps meets it first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import FragmentExecution, TaskIdentity
from airflow_hybrid.engine.batches import BatchRunner
from airflow_hybrid.engine.reporting.progress import ProgressLog
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from airflow_hybrid.sites.closing import close_all
from tests.unit.engine.execution import Log, spec_of

DOCUMENT = """\
cwlVersion: v1.2
$graph:
- id: main
  class: Workflow
  requirements: {{SubworkflowFeatureRequirement: {{}}}}
  inputs: []
  outputs: []
  steps:
    both: {{run: '#both', in: [], out: []}}
- id: both
  class: Workflow
  inputs: []
  outputs: []
  steps:
    quick: {{run: '#quick', in: [], out: []}}
    slow: {{run: '#slow', in: [], out: []}}
- {{class: CommandLineTool, id: quick, inputs: [], outputs: [], baseCommand: [sh, -c, 'sleep 1;echo quick >>{record}']}}
- {{class: CommandLineTool, id: slow, inputs: [], outputs: [], baseCommand: [sh, -c, 'sleep 1;echo slow >>{record}']}}
"""


@dataclass(frozen=True)
class TwoJobs:
    """The document as a task, whose jobs keep a record."""

    folder: Path
    record: Path

    def attempt(self, number: int) -> FragmentExecution:
        document = self.folder / "two.cwl"
        document.write_text(DOCUMENT.format(record=self.record))
        sites = {"site": {"type": "local", "config": {}, "workdir": str(self.folder / "site")}}
        identity = TaskIdentity("dag", "run", "both", try_number=number, origin="origin")
        spec = spec_of(document, {}, sites, {"/both": {"target": "site"}}, identity)
        return FragmentExecution(replace(spec, reuse=False), Log())


SUBMIT = JobQueue.submit
BUILD = BatchRunner._build


async def killed_when_both_are_submitted(attempt: FragmentExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is killed is the task: its jobs go on."""
    submitted: set[str] = set()

    async def count(queue: JobQueue, batch: Any) -> Any:
        reports = await SUBMIT(queue, batch)
        submitted.update(report.name for report in reports if report.name == batch.name)
        return reports

    monkeypatch.setattr(JobQueue, "submit", count)
    task = asyncio.ensure_future(attempt.run())
    while len(submitted) < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def make_slow_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step ``slow`` comes when ``quick`` has met what is there."""
    quick_met_them = asyncio.Event()

    async def meet(queue: JobQueue, batch: Any) -> Any:
        reports = await SUBMIT(queue, batch)
        quick_met_them.set()
        return reports

    async def build_late(runner: BatchRunner, run: Any, directories: Any) -> None:
        if directories and next(iter(run.jobs.values())).job.step_path == "/both/slow":
            await quick_met_them.wait()
        await BUILD(runner, run, directories)

    monkeypatch.setattr(JobQueue, "submit", meet)
    monkeypatch.setattr(BatchRunner, "_build", build_late)


async def test_a_step_that_comes_late_does_not_run_again_what_another_step_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    jobs = TwoJobs(tmp_path, tmp_path / "record")
    try:
        await killed_when_both_are_submitted(jobs.attempt(1), monkeypatch)
        make_slow_late(monkeypatch)
        await jobs.attempt(2).run()
    finally:
        await close_all()
    assert sorted(jobs.record.read_text().split()) == ["quick", "slow"]


async def test_the_progress_of_quick_jobs_is_a_line_or_two_and_the_last_word_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("airflow_hybrid.engine.reporting.progress.PAUSE_S", 0.2)
    log = Log()
    progress = ProgressLog("/echo at here", log)
    for ended in range(50):
        progress.tell(Progress(100, ended))
    assert log.lines == ["/echo at here: 0 of 100 jobs ended"]
    await asyncio.sleep(0.3)
    assert log.lines[1:] == ["/echo at here: 49 of 100 jobs ended"]
    progress.tell(Progress(100, 99))
    progress.tell(Progress(100, 100))
    progress.close()
    await asyncio.sleep(0.3)
    # 99 has a line of its own where the machine was slow
    assert len(log.lines) <= 4 and log.lines[-1] == "/echo at here: 100 of 100 jobs ended"
