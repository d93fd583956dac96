# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Batches are waited for under a Slurm that misbehaves on command."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers import slurm as slurm_
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from tests.unit.sites.batches.slurm.fake_slurm import FakeSlurm
from tests.unit.sites.shell_hosts import ShellHost, batch


async def test_a_failing_squeue_is_unknown_and_never_gone(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("squeue_fails")
    slurm.set("names", "")
    made = batch(f"{tmp_path}/T/a", 1)
    seen: list[Progress] = []
    await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await asyncio.sleep(3)
    assert not waiting.done() and "Unable to contact" in seen[-1].unknown
    slurm.unset("squeue_fails")
    slurm.set("queue", "101|N/A|RUNNING|None\n")
    await asyncio.sleep(5)
    assert not waiting.done() and (seen[-1].unknown, seen[-1].running) == ("", 1)
    (tmp_path / "T/a/ec/0").write_text("3 12\n")
    (result,) = await waiting
    assert (result.exit_code, result.seconds) == (3, 0.12)


async def test_a_squeue_that_hangs_holds_no_finished_job_back(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_, "STATUS_LIMIT_S", 1)
    slurm.set("squeue_hangs")
    made = batch(f"{tmp_path}/T/a", 2)
    seen: list[Progress] = []
    await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    (tmp_path / "T/a/ec/0").write_text("0 1\n")
    while not (seen and seen[-1].unknown):
        await asyncio.sleep(0.2)
    assert seen[-1] == Progress(2, 1, 0, 1, (), "slurm did not answer (exit code 137): no answer in time")
    (tmp_path / "T/a/ec/1").write_text("0 1\n")
    results = await waiting
    assert [r.state for r in results] == [JobState.COMPLETED] * 2


async def test_a_pending_reason_that_never_ends_is_explained(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("queue", "101|0-1|PENDING|PartitionTimeLimit\n")
    made = batch(f"{tmp_path}/T/a", 2)
    await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await asyncio.sleep(2.5)
    waiting.cancel()
    assert seen[-1].pending == 2 and "more time than the partition allows" in seen[-1].reasons[0]


async def test_a_queue_that_forgets_for_a_moment_ends_nothing(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.set("scontrol", "JobId=101 JobState=RUNNING Reason=None ExitCode=0:0 NodeList=node2\n")
    made = batch(f"{tmp_path}/T/a")
    await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory))
    await asyncio.sleep(2.5)  # squeue says: nothing
    slurm.set("queue", "101|N/A|RUNNING|None\n")
    await asyncio.sleep(2.5)
    assert not waiting.done()
    (tmp_path / "T/a/ec/0").write_text("0 1\n")
    assert (await waiting)[0].exit_code == 0


async def test_another_process_can_wait_for_a_batch(
    queue: JobQueue, slurm: FakeSlurm, host: ShellHost, tmp_path: Path
) -> None:
    slurm.set("run")
    made = batch(f"{tmp_path}/T/a", 2, job={"stdout": "o"})
    await queue.submit(made)
    results = await JobQueue(host, SlurmScheduler()).wait(made.directory)
    assert [r.exit_code for r in results] == [0, 0]
    assert results[0].stdout_path == f"{made.directory}/00000/out/o"


async def test_all_batches_share_one_status_command(
    queue: JobQueue, slurm: FakeSlurm, host: ShellHost, tmp_path: Path
) -> None:
    made = [batch(f"{tmp_path}/T{i}/a") for i in range(8)]
    for one in made:
        await queue.submit(one)
    slurm.set("queue", "".join(f"{101 + i}|N/A|RUNNING|None\n" for i in range(8)))
    before = len(host.commands)
    waiting = asyncio.gather(*(queue.wait(one.directory) for one in made))
    await asyncio.sleep(4)
    for i in range(8):
        (tmp_path / f"T{i}/a/ec/0").write_text("0 1\n")
    await waiting
    status = [c for c in host.commands[before:] if "#n" in c]
    assert len(status) <= 16 and len(slurm.calls("squeue")) <= 7, (len(status), slurm.calls("squeue"))
