# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Batches of one fragment: what an earlier try left there is taken, whoever of its steps meets it first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import parse_bindings, parse_deployments
from airflow_hybrid.cwl.documents.cache import read_document
from airflow_hybrid.cwl.documents.graphs import load_graph
from airflow_hybrid.engine import FragmentExecution, FragmentSpec, TaskIdentity
from airflow_hybrid.engine.batches import BatchRunner
from airflow_hybrid.engine.progress import ProgressLog
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from airflow_hybrid.sites.closing import close_all
from tests.unit.engine.execution import Log

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


def test_a_step_that_comes_late_does_not_run_again_what_another_step_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path / "cache"))
    record = tmp_path / "record"
    document = tmp_path / "two.cwl"
    document.write_text(DOCUMENT.format(record=record))
    (step,) = load_graph(str(document)).steps
    site = {"type": "local", "config": {}, "workdir": str(tmp_path / "site")}
    submit = JobQueue.submit

    def execution(attempt: int) -> FragmentExecution:
        spec = FragmentSpec(
            step_path=step.path,
            leaves=("/both/quick", "/both/slow"),
            document=read_document(step.document),
            instances=({},),
            bindings=tuple(parse_bindings({"/both": {"target": "site"}})),
            deployments=parse_deployments({"site": site}),
            identity=TaskIdentity("dag", "run", "both", try_number=attempt, origin="origin"),
            reuse=False,
        )
        return FragmentExecution(spec, Log())

    async def killed_and_tried_again() -> None:
        submitted: set[str] = set()

        async def count(queue: JobQueue, batch: Any) -> Any:
            reports = await submit(queue, batch)
            submitted.update(report.name for report in reports if report.name == batch.name)
            return reports

        monkeypatch.setattr(JobQueue, "submit", count)
        first = asyncio.ensure_future(execution(1).run())
        while len(submitted) < 2:
            await asyncio.sleep(0.01)
        first.cancel()  # the jobs go on
        await asyncio.gather(first, return_exceptions=True)

        quick_met_them = asyncio.Event()
        build = BatchRunner._build

        async def meet(queue: JobQueue, batch: Any) -> Any:
            reports = await submit(queue, batch)
            quick_met_them.set()
            return reports

        async def build_late(runner: BatchRunner, run: Any, directories: Any) -> None:
            if directories and next(iter(run.jobs.values())).job.step_path == "/both/slow":
                await quick_met_them.wait()
            await build(runner, run, directories)

        monkeypatch.setattr(JobQueue, "submit", meet)
        monkeypatch.setattr(BatchRunner, "_build", build_late)
        try:
            await execution(2).run()
        finally:
            await close_all()

    asyncio.run(killed_and_tried_again())
    assert sorted(record.read_text().split()) == ["quick", "slow"]


async def test_the_progress_of_quick_jobs_is_a_line_or_two_and_the_last_word_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("airflow_hybrid.engine.progress.PAUSE_S", 0.2)
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
    assert log.lines[2:] == ["/echo at here: 100 of 100 jobs ended"]
