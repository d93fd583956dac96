# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Batches are submitted once to a Slurm that misbehaves on command, and cancelled."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from airflow_hybrid.errors import CancelledError, StatusUnknownError, SubmitError
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches import queue as queue_
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.patience import pace
from tests.raising import raising
from tests.unit.sites.batches.slurm.fake_slurm import FakeSlurm
from tests.unit.sites.shell_hosts import ShellHost, batch, label


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


async def test_submissions_keep_to_a_limit_per_minute(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "WINDOW_S", 0.5)
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__LOGIN_DIR", str(tmp_path / "logins"))
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__SUBMISSIONS_PER_MINUTE", "2")
    began = time.monotonic()
    await asyncio.gather(*(queue.submit(batch(f"{tmp_path}/T{n}/a", 1)) for n in range(5)))
    assert len(slurm.calls("sbatch")) == 5
    assert time.monotonic() - began >= 1.0


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
    unclear = f"test (dash): {label(made)}: slurm gave no clear answer: "
    with raising(StatusUnknownError, unclear + "slurm_load_jobs error: Unable to contact slurm controller"):
        await queue.submit(made)
    assert len(slurm.calls("sbatch")) == 1
    slurm.unset("squeue_fails")
    slurm.set("names", "")  # the queue has forgotten it, and the database is down
    slurm.set("sacct_fails", "sacct: error: Problem talking to the database: Connection refused\n")
    with raising(StatusUnknownError, unclear + "sacct: error: Problem talking to the database: Connection refused"):
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
    made = batch(f"{tmp_path}/T/a", 2)
    message = (
        f"test (dash): {label(made)}: slurm refused the batch: {words}"
        "\n  -> there is no partition of that name: correct `partition` of the service in the hybrid file; `sinfo -s`"
        " at the site lists them"
    )
    with raising(SubmitError, message) as caught:
        await queue.submit(made)
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
    needed = ["sh", "tar", "sed", "xargs", "find", "grep", "ln", "readlink", "stat", "mkdir", "chmod", "id", "mv", "rm"]
    for name in [*needed, "cat"]:
        (tools / name).symlink_to(Path("/usr/bin") / name)
    host = ShellHost("dash", {**slurm.environment, "PATH": f"{slurm.folder}/bin:{tools}"})
    with pytest.raises(SubmitError) as caught:
        await JobQueue(host, SlurmScheduler()).submit(batch(f"{tmp_path}/T/a"))
    assert re.sub(r"step-[0-9a-f]{12}", "step", str(caught.value)) == (
        "test (dash): submit step: the program `sbatch` is not installed\n  -> is this the right host? `config.path` "
        "or `config.profile` of the deployment say where programs are that only login shells find (`airflow hybrid "
        "check` looks there)"
    )
    assert not caught.value.retryable


async def test_batches_of_an_earlier_try_are_reported_and_nothing_is_submitted(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.set("run")
    await queue.submit(batch(f"{tmp_path}/T/a1-x", 2, lambda i: ("sh", "-c", f"exit {i}")))
    second = batch(f"{tmp_path}/T/a2-y", 1)
    (report,) = await queue.submit(second)
    assert (report.name, report.attempt, report.keys) == ("a1-x", 1, ("00000", "00001"))
    assert report.results == {"00000": 0, "00001": 1} and len(slurm.calls("sbatch")) == 1
    (report,) = await queue.submit(batch(f"{tmp_path}/T/a2-y", 1, known_batches=("a1-x",)))
    assert report.name == "a2-y"
    assert [r.name for r in await queue.inspect(f"{tmp_path}/T")] == ["a1-x", "a2-y"]


async def test_cancel_ends_what_runs_and_what_would_come(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    await queue.submit(batch(f"{tmp_path}/T/a", 2))
    await queue.cancel(f"{tmp_path}/T")
    assert slurm.calls("scancel") == ["101"]
    with pytest.raises(CancelledError):
        await queue.submit(batch(f"{tmp_path}/T/b", 1, known_batches=("a",)))
    await queue.cancel(f"{tmp_path}/never begun")
    with pytest.raises(CancelledError):
        await queue.submit(batch(f"{tmp_path}/never begun/b", 1))


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


async def test_a_name_that_a_full_disk_has_cut_off_cancels_nothing_of_others(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    made = batch(f"{tmp_path}/T/a1-x", 1)
    folder = Path(made.directory)
    (folder / "c").mkdir(parents=True)
    (folder / "manifest").write_text("00000\n")
    (folder / "submitting.0").write_text("")
    # as the real one does with an empty name: all jobs of the user
    sacct = slurm.folder / "bin" / "sacct"
    sacct.write_text('#!/bin/sh\ncase " $* " in *" --name= "*) echo 42 ;; esac\n')
    await queue.cancel(f"{tmp_path}/T")
    assert slurm.calls("scancel") == []
