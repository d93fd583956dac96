# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The life of a batch under a Slurm that misbehaves on command."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.errors import CancelledError, StatusUnknownError, SubmitError
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.schedulers import slurm as slurm_
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches import queue as queue_
from airflow_hybrid.sites.batches import settling
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from airflow_hybrid.sites.closing import close_all
from tests.unit.sites.batches.fake_slurm import FakeSlurm
from tests.unit.sites.shell_hosts import ShellHost, batch


@pytest.fixture
def slurm(tmp_path: Path) -> FakeSlurm:
    return FakeSlurm(tmp_path / "fake")


@pytest.fixture
def host(slurm: FakeSlurm) -> ShellHost:
    return ShellHost("dash", slurm.environment)


@pytest.fixture
async def queue(host: ShellHost) -> AsyncIterator[JobQueue]:
    yield JobQueue(host, SlurmScheduler(), grace_s=1.0)
    await close_all()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(queue_, "SUBMIT_PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(settling, "CERTAIN_AFTER_S", 0.5)
    monkeypatch.setattr(SlurmScheduler, "status_interval_s", 0.6)
    queue_._max_arrays.clear()
    yield
    queue_._max_arrays.clear()


async def test_a_batch_is_one_array_and_its_results_come_in_order(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.set("run")
    made = batch(f"{tmp_path}/T/a1-x", 5, lambda i: ("sh", "-c", f"echo e{i} >&2; exit {i % 2}"))
    (report,) = await queue.submit(made)
    assert report.scheduler_ids == ("101",) and report.attempt == 1
    results = await queue.wait(made.directory)
    assert [r.exit_code for r in results] == [0, 1, 0, 1, 0]
    assert [r.state for r in results[:2]] == [JobState.COMPLETED, JobState.FAILED]
    assert results[1].stderr_tail == "e1\n" and results[1].stderr_path == f"{made.directory}/00001/stderr"
    assert results[0].scheduler_id == "101_0"
    (call,) = slurm.calls("sbatch")
    assert "--array=0-4 " in call and "--no-requeue" in call and "--mem" not in call and "--time" not in call


async def test_resources_and_options_reach_sbatch(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    resources = Resources(cores=2.5, ram_mib=3000, explicit=frozenset({"cores", "ram_mib"}))
    options = {"partition": "main", "maxConcurrentJobs": 3, "exclusive": True, "pollingInterval": 5}
    await queue.submit(batch(f"{tmp_path}/T/a", 9, resources=resources, options=options, job={"walltime_s": 100}))
    (call,) = slurm.calls("sbatch")
    for word in ("--mem=3000M", "--time=3", "--partition=main", "--exclusive", "--array=0-8%3"):
        assert word in call.split(), call


async def test_submitting_again_submits_nothing(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("run")
    made = batch(f"{tmp_path}/T/a", 2)
    await asyncio.gather(*(queue.submit(made) for _ in range(3)))
    (report,) = await queue.submit(made)
    assert report.results == {"00000": 0, "00001": 0} and len(slurm.calls("sbatch")) == 1


async def test_a_lost_answer_is_looked_up_by_name(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("lose")
    (report,) = await queue.submit(batch(f"{tmp_path}/T/a", 2))
    assert report.scheduler_ids == ("101",) and len(slurm.calls("sbatch")) == 1


async def test_nothing_is_submitted_while_it_is_unknown_whether_it_was(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.set("lose")
    slurm.set("squeue_fails")
    made = batch(f"{tmp_path}/T/a", 2)
    with pytest.raises(StatusUnknownError, match="Unable to contact"):
        await queue.submit(made)
    assert len(slurm.calls("sbatch")) == 1
    slurm.unset("squeue_fails")
    slurm.set("names", "")  # the queue has forgotten it, and the database is down
    slurm.set("sacct_fails", "sacct: error: Problem talking to the database: Connection refused\n")
    with pytest.raises(StatusUnknownError, match="Connection refused"):
        await queue.submit(made)
    assert len(slurm.calls("sbatch")) == 1
    slurm.unset("sacct_fails")  # nobody knows it, and everybody was asked: it never was
    await queue.submit(made)
    assert len(slurm.calls("sbatch")) == 2


async def test_a_job_that_ran_and_was_forgotten_without_accounting_is_not_run_again(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.set("run")
    slurm.set("lose")
    slurm.set("squeue_fails")
    made = batch(f"{tmp_path}/T/a", 2)
    with pytest.raises(StatusUnknownError):
        await queue.submit(made)
    slurm.unset("squeue_fails")
    slurm.set("names", "")
    slurm.set("sacct_fails", "Slurm accounting storage is disabled\n")
    (report,) = await queue.submit(made)
    assert report.results == {"00000": 0, "00001": 0} and len(slurm.calls("sbatch")) == 1
    assert [r.state for r in await queue.wait(made.directory)] == [JobState.COMPLETED] * 2


async def test_a_refusal_is_told_in_the_schedulers_words_and_leaves_nothing(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    words = "sbatch: error: Batch job submission failed: Invalid partition name specified"
    slurm.set("refuse", words)
    with pytest.raises(SubmitError, match="Invalid partition name") as caught:
        await queue.submit(batch(f"{tmp_path}/T/a", 2))
    assert not caught.value.retryable and not (tmp_path / "T/a").exists()
    slurm.set("refuse", "sbatch: error: QOSMaxSubmitJobPerUserLimit\nJob violates accounting/QOS policy")
    with pytest.raises(SubmitError) as caught:
        await queue.submit(batch(f"{tmp_path}/T/a", 2))
    assert caught.value.retryable


async def test_a_batch_larger_than_an_array_is_split(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("max_array", "501")
    slurm.set("run")
    made = batch(f"{tmp_path}/T/a", 1100, lambda i: ("true",))
    (report,) = await queue.submit(made)
    assert report.scheduler_ids == ("101", "102", "103")
    assert [w for c in slurm.calls("sbatch") for w in c.split() if w.startswith("--array")] == [
        "--array=0-499", "--array=0-499", "--array=0-99",
    ]  # fmt: skip
    assert {r.exit_code for r in await queue.wait(made.directory)} == {0}
    assert queue_._max_arrays == {("test", "test (dash)"): 500}


async def test_a_site_with_smaller_arrays_is_learned_from_its_refusal(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.set("max_array", "11")
    (report,) = await queue.submit(batch(f"{tmp_path}/T/a", 25))
    assert len(report.scheduler_ids) == 3
    (report,) = await queue.submit(batch(f"{tmp_path}/U/a", 11))
    assert len(report.scheduler_ids) == 2
    assert len(slurm.calls("sbatch")) == 1 + 3 + 2


async def test_banners_of_the_site_are_not_ids(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("banner", "Welcome to the 2026 cluster!\n--> project 42 ok\n")
    (report,) = await queue.submit(batch(f"{tmp_path}/T/a", 1))
    assert report.scheduler_ids == ("101",)


async def test_a_missing_sbatch_is_named_with_what_to_do(tmp_path: Path) -> None:
    slurm = FakeSlurm(tmp_path / "fake")
    (slurm.folder / "bin/sbatch").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ["sh", "flock", "tar", "sed", "xargs", "find", "grep", "mkdir", "chmod", "id", "mv", "rm", "cat"]:
        (tools / name).symlink_to(Path("/usr/bin") / name)
    host = ShellHost("dash", {**slurm.environment, "PATH": f"{slurm.folder}/bin:{tools}"})
    with pytest.raises(SubmitError) as caught:
        await JobQueue(host, SlurmScheduler()).submit(batch(f"{tmp_path}/T/a"))
    assert re.sub(r"step-[0-9a-f]{12}", "step", str(caught.value)) == (
        "test (dash): submit step: the program `sbatch` is not there\n  -> is this the right host? `config.path` or "
        "`config.profile` of the deployment say where programs are that only login shells find (`airflow hybrid check` "
        "looks there)"
    )
    assert not caught.value.retryable


async def test_batches_of_an_earlier_try_are_reported_and_nothing_is_submitted(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.set("run")
    await queue.submit(batch(f"{tmp_path}/T/a1-x", 2, lambda i: ("sh", "-c", f"exit {i}")))
    second = batch(f"{tmp_path}/T/a2-y", 1)
    (report,) = await queue.submit(second)
    assert (report.token, report.attempt, report.keys) == ("a1-x", 1, ("00000", "00001"))
    assert report.results == {"00000": 0, "00001": 1} and len(slurm.calls("sbatch")) == 1
    (report,) = await queue.submit(batch(f"{tmp_path}/T/a2-y", 1, known=("a1-x",)))
    assert report.token == "a2-y"
    assert [r.token for r in await queue.inspect(f"{tmp_path}/T")] == ["a1-x", "a2-y"]


async def test_cancel_ends_what_runs_and_what_would_come(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    await queue.submit(batch(f"{tmp_path}/T/a", 2))
    await queue.cancel(f"{tmp_path}/T")
    assert slurm.calls("scancel") == ["101"]
    with pytest.raises(CancelledError):
        await queue.submit(batch(f"{tmp_path}/T/b", 1, known=("a",)))
    await queue.cancel(f"{tmp_path}/never begun")
    with pytest.raises(CancelledError):
        await queue.submit(batch(f"{tmp_path}/never begun/b", 1))


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


async def test_the_template_is_what_is_submitted(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("run")
    template = "#!/bin/bash\r\n#SBATCH --time=5 -p long --mem=1G\r\nexport LOADED=gcc\r\n{{streamflow_command}}\r\n"
    made = batch(
        f"{tmp_path}/T/a", 1, lambda i: ("printenv", "LOADED"), options={"template": template},
        resources=Resources(ram_mib=9, explicit=frozenset({"ram_mib"})), job={"walltime_s": 60},
    )  # fmt: skip
    await queue.submit(made)
    await queue.wait(made.directory)
    assert (tmp_path / "T/a/00000/stdout").read_text() == "gcc\n"
    assert "--mem" not in slurm.calls("sbatch")[0] and "--time" not in slurm.calls("sbatch")[0]


# --- what makes an exit code doubtful -------------------------------------------------------------------------------


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
        ("FAILED|0:15", 0, (JobState.FAILED, None, "its runner got SIGTERM while it ran, and its exit code was 0; "
                            "slurm: FAILED, exit code 0:15, on node1")),
    ],
)  # fmt: skip
async def test_the_scheduler_has_its_word_where_the_runner_was_signalled(
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
    said = "its runner got SIGTERM while it ran, and its exit code was 0; nobody says who ended it"
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
        (JobState.DISK_FULL, None, f"the file system was full, and it could not be begun: now {space}"),
        (JobState.DISK_FULL, None, f"the file system was full, and it could not be begun: now {space}"),
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


# --- lost -----------------------------------------------------------------------------------------------------------


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
