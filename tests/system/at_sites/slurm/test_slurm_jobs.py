# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""JobQueue on a real Slurm by SSH: how many commands it takes, what jobs are granted, and how they end."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from airflow_hybrid.engine.failures import ended_of
from airflow_hybrid.errors import SubmitError
from airflow_hybrid.model import JobResult, JobState, Resources
from airflow_hybrid.reasons.failed import failed
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from tests.system.queues import ends, until
from tests.testbed.fixture import Testbed
from tests.unit.sites.shell_hosts import always, batch


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


async def test_the_accounting_tells_what_a_job_used(queue: JobQueue, folder: str) -> None:
    eats = always("python3", "-c", "import time; a = bytearray(90 << 20); time.sleep(3)")
    made = batch(f"{folder}/T/a", 1, eats, resources=Resources(ram_mib=300, explicit=frozenset({"ram_mib"})))
    await queue.submit(made)
    results = await queue.wait(made.directory)
    assert results[0].memory_used_mib is None and results[0].cpu_s is not None  # its site has no cgroups
    deadline = time.monotonic() + 60
    while (measured := await queue.measured(results))[0].memory_used_mib is None:  # it lags behind
        assert time.monotonic() < deadline
    used = measured[0].memory_used_mib
    assert used is not None and 90 <= used <= 130 and measured[0].cpu_s == results[0].cpu_s


async def test_jobs_cancelled_by_hand_are_cancelled(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 2, lambda i: ("sleep", "300"))
    (report,) = await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running == 2)
    testbed.run("hpc", f"scancel {report.scheduler_ids[0]}")
    assert [r.state for r in await asyncio.wait_for(waiting, 240)] == [JobState.CANCELLED] * 2


async def test_cancel_ends_running_and_waiting_jobs(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 40, lambda i: ("sleep", "300"))
    (report,) = await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running and p.pending)
    await queue.cancel(f"{folder}/T")
    assert {r.state for r in await asyncio.wait_for(waiting, 240)} == {JobState.CANCELLED}
    left = f"squeue -h -t R,PD -u hpcuser -o %F | grep -x {report.scheduler_ids[0]} || true"
    assert testbed.run("hpc", left) == ""


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
    assert seen[-1].words == ("PartitionTimeLimit",)
    assert (
        seen[-1]
        .reasons[0]
        .startswith("PartitionTimeLimit: it asks for more time than the partition allows, so it will")
    )


async def test_resources_are_granted(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    resources = Resources(cores=2, ram_mib=700, explicit=frozenset({"cores", "ram_mib"}))
    made = batch(
        f"{folder}/T/a", 1, lambda i: ("sh", "-c", "scontrol show job $SLURM_JOB_ID"), resources=resources,
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


@pytest.mark.parametrize(
    ("options", "resources", "word", "sentence"),
    [
        (
            {"time": 120},
            Resources(),
            "PartitionTimeLimit",
            "it asks for more time than the partition allows, so it will never start",
        ),
        (
            {},
            Resources(cores=99, explicit=frozenset({"cores"})),
            "PartitionConfig",
            "no node of the partition has what it asks for, so it will never start",
        ),
    ],
)
async def test_what_sbatch_accepts_and_can_never_start_is_withdrawn(  # noqa: PLR0913 - fixtures and cases
    queue: JobQueue,
    testbed: Testbed,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, int],
    resources: Resources,
    word: str,
    sentence: str,
) -> None:
    monkeypatch.setattr("airflow_hybrid.sites.batches.poller.HOPELESS_S", 3.0)
    made = batch(f"{folder}/T/a", 2, options=options, resources=resources)
    (report,) = await queue.submit(made)
    results = await asyncio.wait_for(queue.wait(made.directory), 240)
    assert {r.state for r in results} == {JobState.FAILED} and word in results[0].reason
    why = failed(ended_of(results[0], resources))
    assert why.known and why.sentence == f"it could never run, and was withdrawn: {sentence}"
    left = f"squeue -h -t R,PD -u hpcuser -o %F | grep -x {report.scheduler_ids[0]} || true"
    assert testbed.run("hpc", left) == ""


async def test_more_than_the_site_has_is_refused_in_its_own_words(queue: JobQueue, folder: str) -> None:
    for resources, words, sentence in (
        (
            Resources(ram_mib=10**7, explicit=frozenset({"ram_mib"})),
            "not available|[Mm]emory",
            "no node of the partition has (as much memory as|what) it asks for",
        ),
        (
            Resources(gpus=1, explicit=frozenset({"gpus"})),
            "(?i)gres|gpu",
            "the site has no such special resources|no node of the partition has what it asks for",
        ),
    ):
        with pytest.raises(SubmitError, match=words) as caught:
            await queue.submit(batch(f"{folder}/T/a", 2, resources=resources))
        assert not caught.value.retryable
        assert re.match(sentence, str(caught.value.hint))


async def test_processes_are_tasks_that_srun_starts(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    resources = Resources(processes=3, ram_mib=300, explicit=frozenset({"processes", "ram_mib"}))
    command = ("srun", "-n", "3", "sh", "-c", f"echo $SLURM_PROCID >>'{folder}/ran'")
    made = batch(f"{folder}/T/a", 1, lambda i: command, resources=resources)
    await queue.submit(made)
    assert ends(await queue.wait(made.directory)) == [(JobState.COMPLETED, 0)]
    assert sorted(testbed.run("hpc", f"cat '{folder}/ran'").split()) == ["0", "1", "2"]


async def test_a_tool_that_ends_well_when_it_is_cancelled_has_not_succeeded(
    queue: JobQueue, testbed: Testbed, folder: str
) -> None:
    script = f"trap 'exit 0' TERM; echo part >out; echo x >>'{folder}/began'; while :; do sleep 0.1; done"
    made = batch(f"{folder}/T/a", 2, lambda i: ("sh", "-c", script if i else "exit 0"))
    (report,) = await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory))
    one_left = f"squeue -hr -j {report.scheduler_ids[0]} | grep -c . || true"
    while testbed.run("hpc", one_left).strip() != "1" or not testbed.run("hpc", f"cat '{folder}/began' || true"):
        await asyncio.sleep(0.3)
    await asyncio.sleep(2)  # a signal in the first second of a job may have been meant for the one before
    testbed.exec("hpc", "scancel", report.scheduler_ids[0])  # by an administrator
    first, second = await asyncio.wait_for(waiting, 240)
    assert (first.state, first.exit_code) == (JobState.COMPLETED, 0)
    assert testbed.run("hpc", f"cat '{made.directory}/ec/1'").split()[0:3:2] == ["0", "TERM"]
    assert (second.state, second.exit_code) == (JobState.CANCELLED, None)
    assert re.fullmatch(r"CANCELLED( by 0)?(, exit code 0:15)?, on node\d; its exit code was 0", second.reason)


async def test_the_accounting_of_the_site_sees_failures(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    codes = (3, 124, 127, 0)
    ids = []
    for code in codes:
        made = batch(f"{folder}/T{code}/a", 1, always("sh", "-c", f"exit {code}"))
        ids.append((await queue.submit(made))[0].scheduler_ids[0])
        assert ends(await queue.wait(made.directory)) == [(JobState.FAILED if code else JobState.COMPLETED, code)]
    packed = batch(f"{folder}/T/a", 4, lambda i: ("sh", "-c", f"exit {i}"), options={"maxConcurrentJobs": 1})
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
