# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How jobs ended under a Slurm that misbehaves on command: exit codes, and what makes them doubtful."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.sites.batches.queue import JobQueue
from tests.unit.sites.batches.slurm.fake_slurm import FakeSlurm
from tests.unit.sites.shell_hosts import batch


@pytest.mark.parametrize("state", ["TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "CANCELLED by 0"])
async def test_accounting_names_how_a_job_without_exit_code_ended(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path, state: str
) -> None:
    slurm.set("sacct", f"101_0|COMPLETED|0:0|node1\n101_1|{state}|0:15|node2\n")
    made = batch(f"{tmp_path}/T/a", 2)
    await queue.submit(made)
    (tmp_path / "T/a/ec/0").write_text("0 1\n")
    first, second = await queue.wait(made.directory)
    assert first.state is JobState.COMPLETED
    assert (second.state.value, second.exit_code) == (state.split()[0], None)
    assert state in second.reason and "node2" in second.reason


async def test_without_accounting_scontrol_is_asked(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("sacct_fails", "Slurm accounting storage is disabled\n")
    slurm.set("scontrol", "JobId=101 JobName=x JobState=NODE_FAIL Reason=NodeDown ExitCode=0:0 NodeList=node2\n")
    made = batch(f"{tmp_path}/T/a")
    await queue.submit(made)
    (result,) = await queue.wait(made.directory)
    assert result.state is JobState.NODE_FAIL and "NodeDown" in result.reason


async def test_the_claim_tells_which_element_had_the_job(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("sacct", "101_0|TIMEOUT|0:0|node1\n101_1|COMPLETED|0:0|node1\n")
    made = batch(f"{tmp_path}/T/a", 2)
    await queue.submit(made)
    (tmp_path / "T/a/ec/0").write_text("0 1\n")
    (tmp_path / "T/a/c/1").write_text("101_0\n")
    first, second = await queue.wait(made.directory)
    assert (first.state, second.state, second.scheduler_id) == (JobState.COMPLETED, JobState.TIMEOUT, "101_0")


async def test_a_killed_tool_gets_the_name_that_the_scheduler_has_for_it(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.set("sacct", "101_0|OUT_OF_MEMORY|0:125|node1\n101_1|COMPLETED|0:0|node1\n")
    made = batch(f"{tmp_path}/T/a", 2)
    await queue.submit(made)
    for index in (0, 1):
        (tmp_path / f"T/a/ec/{index}").write_text("137 5\n")
    first, second = await queue.wait(made.directory)
    assert (first.state, first.exit_code) == (JobState.OUT_OF_MEMORY, None)
    assert first.reason == "OUT_OF_MEMORY, exit code 0:125, on node1; its exit code was 137"
    assert (second.state, second.exit_code) == (JobState.FAILED, 137)


async def ended(queue: JobQueue, tmp_path: Path, *endings: str, **more: Any) -> list[tuple[JobState, int | None, str]]:
    """How the jobs of a batch end of which the runners have left these exit codes."""
    made = batch(f"{tmp_path}/T/a", len(endings), **more)
    await queue.submit(made)
    for index, ending in enumerate(endings):
        (tmp_path / f"T/a/c/{index}").write_text(f"101_{index}\n" if len(endings) > 1 else "101\n")
        if ending:
            (tmp_path / f"T/a/ec/{index}").write_text(ending + "\n")
    results = await queue.wait(made.directory)
    return [(r.state, r.exit_code, r.reason) for r in results]


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("CANCELLED by 0|0:0", 0, (JobState.CANCELLED, None, "CANCELLED by 0, on node1; its exit code was 0")),
        ("CANCELLED by 0|0:0", 1, (JobState.CANCELLED, None, "CANCELLED by 0, on node1; its exit code was 1")),
        ("PREEMPTED|0:0", 0, (JobState.PREEMPTED, None, "PREEMPTED, on node1; its exit code was 0")),
        ("TIMEOUT|0:0", 0, (JobState.TIMEOUT, None, "TIMEOUT, on node1; its exit code was 0")),
        ("COMPLETED|0:0", 0, (JobState.COMPLETED, 0, "")),
        ("COMPLETED|0:0", 4, (JobState.FAILED, 4, "exit code 4")),
        ("FAILED|4:0", 4, (JobState.FAILED, 4, "exit code 4")),
        ("FAILED|0:15", 0, (JobState.FAILED, None, "its runner got SIGTERM while it was running, and its exit code was "
                            "0; slurm: FAILED, exit code 0:15, on node1")),
    ],
)  # fmt: skip
async def test_the_scheduler_has_its_word_where_the_runner_was_signalled(  # noqa: PLR0913 - fixtures and cases
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path, state: str, code: int, expected: tuple[JobState, int | None, str]
) -> None:
    slurm.set("sacct", f"101|{state}|node1\n")
    assert await ended(queue, tmp_path, f"{code} 12 TERM") == [expected]


async def test_a_job_that_the_site_ran_again_is_judged_by_its_last_exit_code(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    """The first run's exit code is read; then the second run ends; then the accounting says how."""
    program = slurm.folder / "bin/sacct"
    program.write_text(f"#!/bin/sh\necho '0 7' >{shlex.quote(f'{tmp_path}/T/a/ec/0')}\necho '101|COMPLETED|0:0|n1'\n")
    assert await ended(queue, tmp_path, "143 12 TERM") == [(JobState.COMPLETED, 0, "")]


async def test_without_the_schedulers_word_a_signalled_job_has_not_succeeded(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    said = "its runner got SIGTERM while it was running, and its exit code was 0; it is unknown who ended it"
    assert await ended(queue, tmp_path, "0 12 TERM") == [(JobState.CANCELLED, None, said)]


async def test_the_schedulers_word_is_waited_for_while_the_job_is_alive(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.set("queue", "101|N/A|COMPLETING|None\n")
    waiting = asyncio.ensure_future(ended(queue, tmp_path, "0 12 TERM"))
    await asyncio.sleep(4)  # longer than the grace period
    assert not waiting.done()
    slurm.set("queue", "")
    slurm.set("sacct", "101|CANCELLED by 0|0:0|node1\n")
    assert (await waiting)[0][0] is JobState.CANCELLED


async def test_ordinary_exit_codes_cost_no_question_to_the_accounting(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    assert await ended(queue, tmp_path, "0 1", "3 1") == [
        (JobState.COMPLETED, 0, ""), (JobState.FAILED, 3, "exit code 3"),
    ]  # fmt: skip
    assert slurm.calls("sacct_calls") == []


async def test_a_process_killed_for_lack_of_memory_is_no_success(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    resources = Resources(ram_mib=512, explicit=frozenset({"ram_mib"}))
    more = "ask for more than 512 MiB (ResourceRequirement, ramMin)"
    assert await ended(queue, tmp_path, "0 12 oom=1", "2 12 oom=3", "137 5", "0 1", resources=resources) == [
        (JobState.OUT_OF_MEMORY, None,
         f"the kernel killed a process of it for lack of memory; its exit code was 0; {more}"),
        (JobState.OUT_OF_MEMORY, None,
         f"the kernel killed 3 processes of it for lack of memory; its exit code was 2; {more}"),
        (JobState.FAILED, 137, f"exit code 137 (killed by SIGKILL, perhaps for lack of memory; {more})"),
        (JobState.COMPLETED, 0, ""),
    ]  # fmt: skip


async def test_a_full_disk_has_its_name_at_once_and_finished_neighbours_keep_their_results(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    queue.grace_s = 300
    made = batch(f"{tmp_path}/T/a", 5)
    await queue.submit(made)
    slurm.set("sacct", "".join(f"101_{i}|{'COMPLETED|0:0' if i else 'FAILED|74:0'}|node1\n" for i in range(5)))
    folder = tmp_path / "T/a"
    (folder / "disk").write_text("full\n")
    for index, claim in enumerate(["101_0\nended 1 500\n", "101_1\nended 0 700\n", "101_2\n", ""]):
        (folder / f"c/{index}").write_text(claim)
        (folder / f"ec/{index}").touch()
    (folder / "ec/2").write_text("0 1\n")
    results = await queue.wait(made.directory)
    space = results[0].reason.partition(": now ")[2]
    assert re.fullmatch(rf"/\S* has \d+ of \d+ MiB free( and \d+ of \d+ inodes)? \({re.escape(str(folder))}\)", space)
    assert [(r.state, r.exit_code, r.reason) for r in results] == [
        (JobState.DISK_FULL, None, f"the file system was full when it ended with exit code 1: now {space}"),
        (JobState.COMPLETED, 0, ""),
        (JobState.COMPLETED, 0, ""),
        (JobState.DISK_FULL, None, f"the file system was full, and it could not be started: now {space}"),
        (JobState.DISK_FULL, None, f"the file system was full, and it could not be started: now {space}"),
    ]
    assert [r.seconds for r in results] == [5.0, 7.0, 0.01, None, None]


async def test_an_element_that_failed_by_itself_has_exit_codes_on_their_way(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    queue.grace_s = 60
    slurm.set("sacct", "101|FAILED|3:0|node1\n")
    waiting = asyncio.ensure_future(ended(queue, tmp_path, ""))
    await asyncio.sleep(4)  # a file system of the network shows it late
    assert not waiting.done()
    (tmp_path / "T/a/ec/0").write_text("3 12\n")
    assert await waiting == [(JobState.FAILED, 3, "exit code 3")]
