# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""JobQueue on a real Slurm by SSH: what is down, full, slow or lost."""

from __future__ import annotations

import asyncio
import os
import re
import time

import pytest

from airflow_hybrid.errors import SubmitError
from airflow_hybrid.model import JobState
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from tests.system.queues import ends, until, wrapped
from tests.testbed.fixture import Testbed
from tests.unit.sites.shell_hosts import batch


async def test_a_submit_that_dies_after_sbatch_is_found_again(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 3, lambda i: ("sh", "-c", f"echo {i} >>'{folder}/ran'"))
    once = '[ -e /run/lost ] && exec /usr/bin/sbatch "$@"; : >/run/lost; /usr/bin/sbatch "$@"; kill -9 $PPID'
    testbed.exec("hpc", "sh", "-c", "rm -f /run/lost; chmod 777 /run")
    with wrapped(testbed, "hpc", "sbatch", once), testbed.counting("hpc", "squeue", "sacct"):
        (report,) = await queue.submit(made)
    assert len(report.scheduler_ids) == 1
    assert ends(await queue.wait(made.directory)) == [(JobState.COMPLETED, 0)] * 3
    assert sorted(testbed.run("hpc", f"cat '{folder}/ran'").split()) == ["0", "1", "2"]
    testbed.exec("hpc", "chmod", "755", "/run")


async def test_a_connection_lost_in_mid_submit_doubles_nothing(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 3, lambda i: ("sh", "-c", f"echo {i} >>'{folder}/ran'"))
    with wrapped(testbed, "hpc", "sbatch", 'sleep 4; exec /usr/bin/sbatch "$@"'):
        submitting = asyncio.ensure_future(queue.submit(made))
        await asyncio.sleep(2)
        # the server's side of our connection, by its process ids
        testbed.exec("hpc", "sh", "-c", "kill $(ps -u hpcuser -o pid=,comm= | sed -n 's/ *\\([0-9]*\\) sshd.*/\\1/p')")
        (report,) = await submitting
    assert len(report.scheduler_ids) == 1
    assert ends(await queue.wait(made.directory)) == [(JobState.COMPLETED, 0)] * 3
    assert sorted(testbed.run("hpc", f"cat '{folder}/ran'").split()) == ["0", "1", "2"]


@pytest.mark.faults
async def test_a_controller_that_is_down_for_a_while_loses_nothing(
    queue: JobQueue, testbed: Testbed, folder: str
) -> None:
    # longer than the controller's stop and a few polls take on a busy machine
    made = batch(f"{folder}/T/a", 2, lambda i: ("sleep", "40"))
    await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running == 2)
    testbed.exec("hpc", "slurmsite", "stop", "slurmctld")
    try:
        await until(seen, lambda p: p.unknown)
        assert not waiting.done()
    finally:
        testbed.exec("hpc", "slurmsite", "start", "slurmctld")
    assert ends(await waiting) == [(JobState.COMPLETED, 0)] * 2


async def test_a_site_that_is_cut_off_for_a_while_loses_nothing(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 2, lambda i: ("sleep", "3"))
    await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory))
    await asyncio.sleep(1)
    with testbed.partition("hpc"):
        await asyncio.sleep(6)
        assert not waiting.done()
    assert ends(await asyncio.wait_for(waiting, 120)) == [(JobState.COMPLETED, 0)] * 2


@pytest.mark.slow
@pytest.mark.faults
async def test_a_dead_node_has_its_name(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 1, lambda i: ("sleep", "300"), options={"nodelist": "node2"})
    await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running == 1)
    testbed.exec("hpc", "slurmsite", "kill", "node2")
    try:
        (result,) = await asyncio.wait_for(waiting, 120)
    finally:
        testbed.exec("hpc", "slurmsite", "start", "node2")
    assert (result.state, result.exit_code) == (JobState.NODE_FAIL, None) and "node2" in result.reason


@pytest.mark.slow
@pytest.mark.faults
async def test_a_requeued_job_is_waited_for_and_counted_once(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    script = f"echo x >>'{folder}/ran'; [ $(wc -l <'{folder}/ran') -gt 1 ] || sleep 300; ls >seen"
    made = batch(f"{folder}/T/a", 1, lambda i: ("sh", "-c", f"touch left; {script}"), options={"requeue": True})
    (report,) = await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running == 1)
    await asyncio.sleep(1)
    testbed.run("hpc", f"scontrol requeue {report.scheduler_ids[0]}")
    (result,) = await asyncio.wait_for(waiting, 300)
    assert (result.state, result.exit_code) == (JobState.COMPLETED, 0)
    assert testbed.run("hpc", f"wc -l <'{folder}/ran'").strip() == "2"


async def test_without_squeue_the_exit_codes_still_tell(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 2, lambda i: ("sleep", "5"))
    await queue.submit(made)
    seen: list[Progress] = []
    with wrapped(testbed, "hpc", "squeue", 'echo "sh: 1: squeue: not found" >&2; exit 127'):
        results = await asyncio.wait_for(queue.wait(made.directory, seen.append), 240)
    assert ends(results) == [(JobState.COMPLETED, 0)] * 2
    assert any("not found" in p.unknown for p in seen)


async def test_without_accounting_the_controller_names_the_end(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 1, lambda i: ("sleep", "300"))
    with wrapped(testbed, "hpc", "sacct", 'echo "Slurm accounting storage is disabled" >&2; exit 1'):
        (report,) = await queue.submit(made)
        waiting = asyncio.ensure_future(queue.wait(made.directory))
        await asyncio.sleep(3)
        testbed.run("hpc", f"scancel {report.scheduler_ids[0]}")
        assert [r.state for r in await asyncio.wait_for(waiting, 240)] == [JobState.CANCELLED]


async def test_a_full_disk_is_named_and_leaves_nothing(queue: JobQueue, testbed: Testbed) -> None:
    from airflow_hybrid.errors import SiteError

    folder = f"/scratch/{os.urandom(4).hex()}"
    testbed.run("hpc", "fallocate -l 256M /scratch/big || dd if=/dev/zero of=/scratch/big bs=1M; true", check=False)
    try:
        with pytest.raises(SiteError, match="No space left"):
            await queue.submit(batch(f"{folder}/T/a", 300, lambda i: ("echo", "x" * 3000)))
        assert testbed.run("hpc", f"ls {folder}/T 2>/dev/null | grep -v lock || true") == ""
    finally:
        testbed.run("hpc", "rm -f /scratch/big")


async def test_a_disk_that_is_full_when_jobs_end_is_named_and_finished_ones_keep_their_results(
    queue: JobQueue, testbed: Testbed
) -> None:
    folder = f"/scratch/{os.urandom(4).hex()}"
    fill = "until [ -e ../../../go ]; do sleep 0.1; done; dd if=/dev/zero of=big bs=1M"
    commands = {0: "echo first", 1: fill, 2: f"until [ -e {folder}/T/full ]; do sleep 0.1; done; exit 0"}
    made = batch(f"{folder}/T/a", 3, lambda i: ("sh", "-c", commands[i]))
    try:
        await queue.submit(made)
        waiting = asyncio.ensure_future(queue.wait(made.directory))
        while testbed.run("hpc", f"cd '{made.directory}/c' && ls 1 2 2>/dev/null || true").split() != ["1", "2"]:
            await asyncio.sleep(0.3)
        testbed.run("hpc", f"touch {folder}/T/go")
        while "100%" not in testbed.run("hpc", "df -P /scratch | tail -n 1"):
            await asyncio.sleep(0.2)
        began = time.monotonic()
        await asyncio.sleep(2)
        testbed.run("hpc", f"touch {folder}/T/full")
        results = await asyncio.wait_for(waiting, 240)
        assert time.monotonic() - began < 45
        assert ends(results) == [(JobState.COMPLETED, 0), (JobState.DISK_FULL, None), (JobState.COMPLETED, 0)]
        assert re.fullmatch(
            r"the file system was full when it ended with exit code 1: now /scratch has 0 of 256 MiB free"
            rf" and \d+ of \d+ inodes \({made.directory}\)",
            results[1].reason,
        )
    finally:
        testbed.run("hpc", f"rm -rf {folder}")


@pytest.mark.faults
async def test_a_queue_that_shows_nothing_ends_no_living_job(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    queue.grace_s = 3
    made = batch(f"{folder}/T/a", 1, lambda i: ("sleep", "25"))
    await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running == 1)
    broken = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
    with wrapped(testbed, "hpc", "squeue", "exit 0"), wrapped(testbed, "hpc", "scontrol", broken):
        assert ends(await asyncio.wait_for(waiting, 240)) == [(JobState.COMPLETED, 0)]


@pytest.mark.faults
async def test_a_squeue_that_hangs_hides_no_finished_job(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 2, lambda i: ("sleep", "3"))
    await queue.submit(made)
    with wrapped(testbed, "hpc", "squeue", "sleep 300"):
        began = time.monotonic()
        assert ends(await queue.wait(made.directory)) == [(JobState.COMPLETED, 0)] * 2
    assert time.monotonic() - began < 40


@pytest.mark.parametrize("state", ["INACTIVE", "DRAIN"])
async def test_a_partition_that_is_closed_for_a_while_refuses_nothing_for_good(
    queue: JobQueue, testbed: Testbed, folder: str, state: str
) -> None:
    testbed.exec("hpc", "scontrol", "update", "partitionname=main", f"state={state}")
    try:
        with pytest.raises(SubmitError, match="inactive or drain") as caught:
            await queue.submit(batch(f"{folder}/T/a", 1))
    finally:
        testbed.exec("hpc", "scontrol", "update", "partitionname=main", "state=UP")
    assert caught.value.retryable
