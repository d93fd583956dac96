# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Jobs that nobody knows any more under a Slurm that misbehaves on command."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.sites.batches.queue import JobQueue
from tests.unit.sites.batches.slurm.fake_slurm import FakeSlurm
from tests.unit.sites.shell_hosts import batch


async def test_a_job_that_nobody_knows_is_lost_after_the_grace_period(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    made = batch(f"{tmp_path}/T/a", 2)
    slurm.set("sacct", "101_0|COMPLETED|0:0|node1\n")
    await queue.submit(made)
    assert {r.state for r in await queue.wait(made.directory)} == {JobState.LOST}


async def test_an_empty_exit_code_file_is_no_evidence(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 1)
    await queue.submit(made)
    (tmp_path / "T/a/ec/0").touch()
    (result,) = await queue.wait(made.directory)
    assert result.state is JobState.LOST


async def test_a_source_that_failed_never_counts_as_not_there(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.set("sacct", "101|RUNNING|0:0|node1\n")  # and squeue shows nothing
    slurm.set("scontrol_fails", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
    made = batch(f"{tmp_path}/T/a")
    await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory))
    await asyncio.sleep(4)
    slurm.set("sacct", "")  # nobody knows it, and one could not be asked: unknown
    await asyncio.sleep(15)  # ten times the grace period
    assert not waiting.done() and slurm.calls("scancel") == []
    slurm.unset("scontrol_fails")
    (result,) = await waiting
    assert result.state is JobState.LOST


async def test_what_is_lost_is_ended_before_it_is_attempted_again(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    made = batch(f"{tmp_path}/T/a", 2)
    await queue.submit(made)
    (tmp_path / "T/a/ec/0").write_text("0 1\n")
    results = await queue.wait(made.directory)
    assert [r.state for r in results] == [JobState.COMPLETED, JobState.LOST]
    assert slurm.calls("scancel") == ["101"]


async def test_an_exit_code_that_comes_while_a_lost_job_is_ended_counts(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    made = batch(f"{tmp_path}/T/a", 2)
    await queue.submit(made)
    late = f"cd {shlex.quote(made.directory)} && echo '0 12' >ec/0 && echo '0 12 TERM' >ec/1\n"
    program = slurm.folder / "bin/scancel"
    program.write_text(program.read_text() + late)
    assert [(r.state, r.exit_code) for r in await queue.wait(made.directory)] == [
        (JobState.COMPLETED, 0), (JobState.LOST, None),
    ]  # fmt: skip
