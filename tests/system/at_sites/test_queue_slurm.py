# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""JobQueue on a real Slurm by ssh: counts, and what goes wrong on real clusters."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator

import pytest

from airflow_hybrid.errors import SubmitError
from airflow_hybrid.model import JobResult, JobState, Resources
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from tests.system import sites
from tests.system.queues import ends, until, wrapped
from tests.testbed.fixture import Testbed
from tests.unit.sites.shell_hosts import batch

SH = "sh"


@pytest.fixture
async def host(testbed: Testbed) -> AsyncIterator[SshHost]:
    made = sites.host("hpc")
    yield made
    await made.close()


@pytest.fixture
async def queue(host: SshHost, folder: str) -> AsyncIterator[JobQueue]:
    made = JobQueue(host, SlurmScheduler(), grace_s=20)
    yield made
    await made.cancel(f"{folder}/T")


@pytest.fixture
def folder(testbed: Testbed) -> str:
    return f"{testbed.sites['hpc'].home}/q {os.urandom(4).hex()}"


async def test_a_thousand_jobs_take_few_commands(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = [batch(f"{folder}/T{i}/a", 63) for i in range(16)]

    async def run(index: int) -> list[JobResult]:
        await queue.submit(made[index])
        return await queue.wait(made[index].directory)

    began = time.monotonic()
    with testbed.counting("hpc", "sbatch", "squeue", "sacct", "scontrol") as calls:
        results = await asyncio.gather(*map(run, range(16)))
        seconds = time.monotonic() - began
        counts = {name: calls[name] for name in ("sbatch", "squeue", "sacct", "scontrol")}
    print(f"16 batches of 63: {seconds:.1f} s, {counts}")
    assert {end for one in results for end in ends(one)} == {(JobState.COMPLETED, 0)}
    assert counts["sbatch"] == 16 and counts["squeue"] <= 2 + seconds / 2 and not counts["scontrol"]


async def test_a_submit_that_dies_after_sbatch_is_found_again(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 3, lambda i: (SH, "-c", f"echo {i} >>'{folder}/ran'"))
    once = '[ -e /run/lost ] && exec /usr/bin/sbatch "$@"; : >/run/lost; /usr/bin/sbatch "$@"; kill -9 $PPID'
    testbed.exec("hpc", SH, "-c", "rm -f /run/lost; chmod 777 /run")
    with wrapped(testbed, "hpc", "sbatch", once), testbed.counting("hpc", "squeue", "sacct"):
        (report,) = await queue.submit(made)
    assert len(report.scheduler_ids) == 1
    assert ends(await queue.wait(made.directory)) == [(JobState.COMPLETED, 0)] * 3
    assert sorted(testbed.run("hpc", f"cat '{folder}/ran'").split()) == ["0", "1", "2"]
    testbed.exec("hpc", "chmod", "755", "/run")


async def test_a_connection_lost_in_mid_submit_doubles_nothing(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 3, lambda i: (SH, "-c", f"echo {i} >>'{folder}/ran'"))
    with wrapped(testbed, "hpc", "sbatch", 'sleep 4; exec /usr/bin/sbatch "$@"'):
        submitting = asyncio.ensure_future(queue.submit(made))
        await asyncio.sleep(2)
        # the server's side of our connection, by its process ids
        testbed.exec("hpc", SH, "-c", "kill $(ps -u hpcuser -o pid=,comm= | sed -n 's/ *\\([0-9]*\\) sshd.*/\\1/p')")
        (report,) = await submitting
    assert len(report.scheduler_ids) == 1
    assert ends(await queue.wait(made.directory)) == [(JobState.COMPLETED, 0)] * 3
    assert sorted(testbed.run("hpc", f"cat '{folder}/ran'").split()) == ["0", "1", "2"]


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
async def test_the_schedulers_time_limit_has_its_name(queue: JobQueue, folder: str) -> None:
    made = batch(f"{folder}/T/a", 2, lambda i: ("sleep", "300") if i else ("true",), options={"time": 1})
    await queue.submit(made)
    first, second = await asyncio.wait_for(queue.wait(made.directory), 200)
    assert (first.state, second.state) == (JobState.COMPLETED, JobState.TIMEOUT), second


async def test_tool_time_limit_ends_one_job_and_not_its_neighbours(queue: JobQueue, folder: str) -> None:
    made = batch(f"{folder}/T/a", 3, lambda i: ("sleep", "60") if i == 1 else ("true",), job={"walltime_s": 2})
    await queue.submit(made)
    results = await queue.wait(made.directory)
    assert [r.state for r in results] == [JobState.COMPLETED, JobState.TIMEOUT, JobState.COMPLETED]


async def test_jobs_cancelled_by_hand_are_cancelled(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 2, lambda i: ("sleep", "300"))
    (report,) = await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running == 2)
    testbed.run("hpc", f"scancel {report.scheduler_ids[0]}")
    assert [r.state for r in await asyncio.wait_for(waiting, 60)] == [JobState.CANCELLED] * 2


async def test_cancel_ends_running_and_waiting_jobs(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 40, lambda i: ("sleep", "300"))
    (report,) = await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running and p.pending)
    await queue.cancel(f"{folder}/T")
    assert {r.state for r in await asyncio.wait_for(waiting, 60)} == {JobState.CANCELLED}
    left = f"squeue -h -t R,PD -u hpcuser -o %F | grep -x {report.scheduler_ids[0]} || true"
    assert testbed.run("hpc", left) == ""


@pytest.mark.slow
@pytest.mark.faults
async def test_a_requeued_job_is_waited_for_and_counted_once(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    script = f"echo x >>'{folder}/ran'; [ $(wc -l <'{folder}/ran') -gt 1 ] || sleep 300; ls >seen"
    made = batch(f"{folder}/T/a", 1, lambda i: (SH, "-c", f"touch left; {script}"), options={"requeue": True})
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
        results = await asyncio.wait_for(queue.wait(made.directory, seen.append), 60)
    assert ends(results) == [(JobState.COMPLETED, 0)] * 2
    assert any("not found" in p.unknown for p in seen)


async def test_without_accounting_the_controller_names_the_end(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 1, lambda i: ("sleep", "300"))
    with wrapped(testbed, "hpc", "sacct", 'echo "Slurm accounting storage is disabled" >&2; exit 1'):
        (report,) = await queue.submit(made)
        waiting = asyncio.ensure_future(queue.wait(made.directory))
        await asyncio.sleep(3)
        testbed.run("hpc", f"scancel {report.scheduler_ids[0]}")
        assert [r.state for r in await asyncio.wait_for(waiting, 60)] == [JobState.CANCELLED]


async def test_what_slurm_refuses_is_told_in_its_words(queue: JobQueue, folder: str) -> None:
    for options, words in (
        ({"partition": "nosuch"}, "invalid partition"),
        ({"nosuchOption": 1}, "unrecognized option"),
    ):
        with pytest.raises(SubmitError, match=words) as caught:
            await queue.submit(batch(f"{folder}/T/a", 1, options=options))
        assert not caught.value.retryable


async def test_a_job_that_cannot_start_is_explained(queue: JobQueue, folder: str) -> None:
    made = batch(f"{folder}/T/a", 1, options={"partition": "short", "time": 30})
    await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.reasons)
    waiting.cancel()
    assert "PartitionTimeLimit" in seen[-1].reasons[0] and "partition allows" in seen[-1].reasons[0]


async def test_resources_are_granted(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    resources = Resources(cores=2, ram_mib=700, explicit=frozenset({"cores", "ram_mib"}))
    made = batch(
        f"{folder}/T/a", 1, lambda i: (SH, "-c", "scontrol show job $SLURM_JOB_ID"), resources=resources,
        job={"walltime_s": 60},
    )  # fmt: skip
    await queue.submit(made)
    (result,) = await queue.wait(made.directory)
    shown = testbed.run("hpc", f"cat '{result.stdout_path}'")
    assert "NumCPUs=2 " in shown and "mem=700M" in shown and "TimeLimit=00:02:00" in shown and "Requeue=0" in shown


@pytest.mark.slow
async def test_a_batch_larger_than_an_array_is_split(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 1100, lambda i: ("true",))
    with testbed.counting("hpc", "sbatch") as calls:
        (report,) = await queue.submit(made)
        assert calls["sbatch"] == 2
    assert len(report.scheduler_ids) == 2
    assert set(ends(await queue.wait(made.directory))) == {(JobState.COMPLETED, 0)}


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


@pytest.mark.parametrize(
    ("options", "resources", "word"),
    [
        ({"time": 120}, Resources(), "PartitionTimeLimit"),
        ({}, Resources(cores=99, explicit=frozenset({"cores"})), "PartitionConfig"),
    ],
)
async def test_what_sbatch_accepts_and_can_never_start_is_withdrawn(
    queue: JobQueue,
    testbed: Testbed,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, int],
    resources: Resources,
    word: str,
) -> None:
    monkeypatch.setattr("airflow_hybrid.sites.batches.poller.HOPELESS_S", 3.0)
    made = batch(f"{folder}/T/a", 2, options=options, resources=resources)
    (report,) = await queue.submit(made)
    results = await asyncio.wait_for(queue.wait(made.directory), 60)
    assert {r.state for r in results} == {JobState.FAILED} and word in results[0].reason
    left = f"squeue -h -t R,PD -u hpcuser -o %F | grep -x {report.scheduler_ids[0]} || true"
    assert testbed.run("hpc", left) == ""


async def test_more_than_the_site_has_is_refused_in_its_own_words(queue: JobQueue, folder: str) -> None:
    for resources, words in (
        (Resources(ram_mib=10**7, explicit=frozenset({"ram_mib"})), "not available|[Mm]emory"),
        (Resources(gpus=1, explicit=frozenset({"gpus"})), "(?i)gres|gpu"),
    ):
        with pytest.raises(SubmitError, match=words) as caught:
            await queue.submit(batch(f"{folder}/T/a", 2, resources=resources))
        assert not caught.value.retryable


async def test_processes_are_tasks_that_srun_starts(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    resources = Resources(processes=3, ram_mib=300, explicit=frozenset({"processes", "ram_mib"}))
    command = ("srun", "-n", "3", SH, "-c", f"echo $SLURM_PROCID >>'{folder}/ran'")
    made = batch(f"{folder}/T/a", 1, lambda i: command, resources=resources)
    await queue.submit(made)
    assert ends(await queue.wait(made.directory)) == [(JobState.COMPLETED, 0)]
    assert sorted(testbed.run("hpc", f"cat '{folder}/ran'").split()) == ["0", "1", "2"]


async def test_a_tool_that_ends_well_when_it_is_cancelled_has_not_succeeded(
    queue: JobQueue, testbed: Testbed, folder: str
) -> None:
    script = f"trap 'exit 0' TERM; echo part >out; echo x >>'{folder}/began'; while :; do sleep 0.1; done"
    made = batch(f"{folder}/T/a", 2, lambda i: (SH, "-c", script if i else "exit 0"))
    (report,) = await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory))
    while not testbed.run("hpc", f"cat '{folder}/began' 2>/dev/null || true"):
        await asyncio.sleep(0.3)
    testbed.exec("hpc", "scancel", report.scheduler_ids[0])  # by an administrator
    first, second = await asyncio.wait_for(waiting, 90)
    assert (first.state, first.exit_code) == (JobState.COMPLETED, 0)
    assert testbed.run("hpc", f"cat '{made.directory}/ec/1'").split()[0::2] == ["0", "TERM"]
    assert (second.state, second.exit_code) == (JobState.CANCELLED, None)
    assert re.fullmatch(r"CANCELLED( by 0)?(, exit code 0:15)?, on node\d; its exit code was 0", second.reason)


async def test_the_accounting_of_the_site_sees_failures(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    codes = (3, 124, 127, 0)
    ids = []
    for code in codes:
        made = batch(f"{folder}/T{code}/a", 1, lambda i, code=code: (SH, "-c", f"exit {code}"))  # type: ignore[misc]
        ids.append((await queue.submit(made))[0].scheduler_ids[0])
        assert ends(await queue.wait(made.directory)) == [(JobState.FAILED if code else JobState.COMPLETED, code)]
    packed = batch(f"{folder}/T/a", 4, lambda i: (SH, "-c", f"exit {i}"), options={"maxConcurrentJobs": 1})
    ids.append((await queue.submit(packed))[0].scheduler_ids[0])
    assert [code for _, code in ends(await queue.wait(packed.directory))] == [0, 1, 2, 3]
    rows: list[str] = []
    for _ in range(30):  # it lags behind
        rows = testbed.run("hpc", f"sacct -n -X -P -j {','.join(ids)} -o JobID,State,ExitCode").splitlines()
        ended = [row for row in rows if not re.search("RUNNING|PENDING", row)]
        if len(ended) == len(rows) and any(row.startswith(f"{ids[4]}_0|") for row in rows):
            break
        await asyncio.sleep(1)
    found = dict(row.split("|", 1) for row in rows)
    assert [found[id_] for id_ in ids[:4]] == ["FAILED|3:0", "FAILED|124:0", "FAILED|127:0", "COMPLETED|0:0"]
    # one element took all of them: job 0, and then from the end
    assert found[f"{ids[4]}_0"] == "FAILED|3:0"


async def test_a_disk_that_is_full_when_jobs_end_is_named_and_finished_ones_keep_their_results(
    queue: JobQueue, testbed: Testbed
) -> None:
    folder = f"/scratch/{os.urandom(4).hex()}"
    fill = "until [ -e ../../../go ]; do sleep 0.1; done; dd if=/dev/zero of=big bs=1M"
    commands = {0: "echo first", 1: fill, 2: f"until [ -e {folder}/T/full ]; do sleep 0.1; done; exit 0"}
    made = batch(f"{folder}/T/a", 3, lambda i: (SH, "-c", commands[i]))
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
        results = await asyncio.wait_for(waiting, 60)
        assert time.monotonic() - began < 45
        assert ends(results) == [(JobState.COMPLETED, 0), (JobState.DISK_FULL, None), (JobState.COMPLETED, 0)]
        assert re.fullmatch(
            r"the file system was full when it ended with exit code 1: now /scratch has 0 of 256 MiB free"
            rf" and \d+ of \d+ inodes \({made.directory}\)",
            results[1].reason,
        )
    finally:
        testbed.run("hpc", f"rm -rf {folder}")


async def test_a_queue_that_shows_nothing_ends_no_living_job(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    queue.grace_s = 3
    made = batch(f"{folder}/T/a", 1, lambda i: ("sleep", "25"))
    await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running == 1)
    broken = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
    with wrapped(testbed, "hpc", "squeue", "exit 0"), wrapped(testbed, "hpc", "scontrol", broken):
        assert ends(await asyncio.wait_for(waiting, 90)) == [(JobState.COMPLETED, 0)]


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
