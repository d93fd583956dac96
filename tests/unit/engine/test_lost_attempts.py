# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a task's log says of an earlier attempt: whether it is taken over, or was lost and is made again."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.engine import FragmentExecution
from airflow_hybrid.engine.recovery.again import Again
from airflow_hybrid.engine.reporting.job_logs import attempted_again, ended
from airflow_hybrid.model import JobResult, JobState
from airflow_hybrid.sites.closing import close_all
from tests.unit.engine.fragments import Log, execution, spec

TOOL = "{cwlVersion: v1.2, class: CommandLineTool, baseCommand: [echo, a], inputs: [], outputs: {o: stdout}}"


async def test_outputs_that_are_lost_are_said_to_be_lost_and_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path / "cache"))
    sites = parse_deployments({"here": {"type": "local", "config": {}, "workdir": str(tmp_path / "site")}})
    one = replace(spec(tmp_path, sites, {"target": "here"}, [{}], TOOL), reuse=False)
    try:
        first, _ = execution(one)
        await first.run()
        (batch,) = tmp_path.glob("site/**/a1-*")
        (job,) = batch.glob("00000-*")
        shutil.rmtree(job / "out")
        log = Log()
        await FragmentExecution(one, log, Again({job.name: batch.name})).run()
    finally:
        await close_all()
    assert (next(batch.parent.glob("a2-*/00000-*/out/*"))).read_text() == "a\n"
    lines = [re.sub(r"\S+/(a\d)-\w+", r"\1", line) for line in log.lines]
    assert [line for line in lines if " attempt" in line or "lost" in line] == [
        "an earlier attempt has 1 job in a1 at here (localhost)",
        "the outputs of 1 job in a1 at here (localhost) are lost: made again",
    ]


def result(state: JobState, node: str = "") -> JobResult:
    return JobResult(state, node=node)


def test_lost_jobs_have_not_ended() -> None:
    over = [result(JobState.COMPLETED, "n1"), result(JobState.FAILED, "n2")]
    assert ended(over) == "2 jobs ended on n1, n2"
    assert ended([*over, result(JobState.LOST)]) == "2 jobs ended on n1, n2, 1 job was lost"
    assert ended([result(JobState.LOST)] * 2) == "2 jobs were lost"


def test_what_happened_to_jobs_that_are_run_again() -> None:
    assert attempted_again(["failed"]) == "1 job that failed in an earlier attempt: run again"
    assert attempted_again(["lost", "lost"]) == "2 jobs that were lost in an earlier attempt: run again"
    mixed = "1 job that was lost, 2 jobs that failed in an earlier attempt: run again"
    assert attempted_again(["failed", "lost", "timeout"]) == mixed
