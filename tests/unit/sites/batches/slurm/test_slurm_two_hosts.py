# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Two login hosts of one name, whose locks hold per host: a batch is submitted once, by whichever of them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from pathlib import Path

import pytest

from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches import commands
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.hosts import claims
from tests.raising import raising
from tests.unit.sites.batches.slurm.fake_slurm import FakeSlurm
from tests.unit.sites.other_hosts import OtherHost
from tests.unit.sites.shell_hosts import EVERY_SHELL, batch, label

NO_LOCKS = '#!/bin/sh\necho "flock: 9: No locks available" >&2\nexit 71\n'
TELLS = 'echo "$$ $PPID" >"$FAKE/asked"\nwhile [ ! -e "$FAKE/go" ]; do sleep 0.05; done\n'
"""sbatch tells that it was called, and waits"""


def login(tmp_path: Path, slurm: FakeSlurm, name: str, shell: str = "dash", flock: str | None = None) -> JobQueue:
    return JobQueue(OtherHost(tmp_path / name, shell, slurm.environment, flock), SlurmScheduler(), grace_s=1.0)


def slow_sbatch(slurm: FakeSlurm) -> None:
    program = slurm.folder / "bin/sbatch"
    program.write_text(program.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{TELLS}"))


async def asked(slurm: FakeSlurm) -> list[int]:
    """sbatch's process, and that of the submit, once it was called."""
    path = slurm.folder / "asked"
    while not path.exists() or not path.read_text():
        await asyncio.sleep(0.02)
    return [int(word) for word in path.read_text().split()]


def aged(folder: Path, seconds: int) -> None:
    for link in folder.glob("lock.*"):
        os.utime(link, (time.time() - seconds,) * 2, follow_symlinks=False)


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_two_hosts_without_a_common_lock_submit_a_batch_once(
    shell: str, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.set("run")
    queues = [login(tmp_path, slurm, "login1", shell), login(tmp_path, slurm, "login2", "dash", NO_LOCKS)]
    made = batch(f"{tmp_path}/T/a", 3)
    reports = await asyncio.gather(*(queue.submit(made) for queue in queues for _ in range(2)))
    assert [report[0].scheduler_ids for report in reports] == [("101",)] * 4
    assert len(slurm.calls("sbatch")) == 1 and [path for path in (tmp_path / "T").iterdir() if path.is_symlink()] == []


async def test_a_file_system_without_locks_is_told_once(
    slurm: FakeSlurm, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_told", set())
    queue = login(tmp_path, slurm, "login1", flock=NO_LOCKS)
    with caplog.at_level(logging.WARNING):
        await queue.submit(batch(f"{tmp_path}/T/a", 1))
        await queue.submit(batch(f"{tmp_path}/U/a", 1))
    assert [record.getMessage() for record in caplog.records] == [
        f"test (dash): files cannot be locked in {tmp_path}/T (flock: 9: No locks available): "
        "claims alone keep apart what two processes must not do at once"
    ]
    assert len(slurm.calls("sbatch")) == 2


async def test_a_submit_that_is_killed_before_sbatch_is_taken_over(slurm: FakeSlurm, tmp_path: Path) -> None:
    slow_sbatch(slurm)
    one, other = login(tmp_path, slurm, "login1"), login(tmp_path, slurm, "login2")
    made = batch(f"{tmp_path}/T/a", 2)
    first = asyncio.create_task(one.submit(made))
    for pid in await asked(slurm):  # the shell, and sbatch, which had asked nobody yet
        os.kill(pid, signal.SIGKILL)
    slurm.set("go")
    (report,) = await first  # the next attempt, by the same host
    assert report.scheduler_ids == ("101",) and len(slurm.calls("sbatch")) == 1
    assert [again.attached for again in await other.submit(made)] == [True]


async def test_another_host_takes_over_the_submit_of_a_host_that_is_gone(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "LOCK_WAIT_S", 1)
    slow_sbatch(slurm)
    one, other = login(tmp_path, slurm, "login1"), login(tmp_path, slurm, "login2")
    made = batch(f"{tmp_path}/T/a", 2)
    first = asyncio.create_task(one.submit(made))
    program, shell = await asked(slurm)
    first.cancel()
    os.kill(shell, signal.SIGKILL)
    os.kill(program, signal.SIGKILL)
    slurm.set("go")
    message = f"test (dash): {label(made)}: the task directory is claimed by process {shell} on login1"
    hint = "\n  -> a claim of another host, whose process may live, is taken over after 10 minutes"
    with raising(StatusUnknownError, message + hint):
        await other.submit(made)
    aged(tmp_path / "T", claims.GRACE_S + 5)
    (report,) = await other.submit(made)
    assert report.scheduler_ids == ("101",) and len(slurm.calls("sbatch")) == 1
    assert len(slurm.calls("squeue")) == 1  # it looked for what the other one may have submitted


async def test_what_a_slow_host_submits_besides_is_followed_and_cancelled(slurm: FakeSlurm, tmp_path: Path) -> None:
    slow_sbatch(slurm)
    one, other = login(tmp_path, slurm, "login1"), login(tmp_path, slurm, "login2")
    made = batch(f"{tmp_path}/T/a", 2)
    first = asyncio.create_task(one.submit(made))
    await asked(slurm)
    aged(tmp_path / "T", claims.GRACE_S + 5)
    slurm.unset("asked")
    taking_over = asyncio.create_task(other.submit(made))
    await asked(slurm)
    slurm.set("go")
    (report,) = await taking_over
    (late,) = await first  # it tells that it was late, tries again, and finds the other's
    ids = sorted(late.scheduler_ids)
    assert ids == ["101", "102"] and late.scheduler_ids[0] == report.scheduler_ids[0] and late.attached
    assert (await other.inspect(f"{tmp_path}/T"))[0].scheduler_ids == late.scheduler_ids
    await other.cancel(f"{tmp_path}/T")
    assert sorted(slurm.calls("scancel")) == ids


async def test_of_two_arrays_of_one_name_both_are_followed(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("lose")
    queue = login(tmp_path, slurm, "login1")
    made = batch(f"{tmp_path}/T/a", 2)
    slurm.set("squeue_fails")
    with pytest.raises(StatusUnknownError):
        await queue.submit(made)
    slurm.unset("squeue_fails")
    name = slurm.folder.joinpath("names").read_text().split()[1]
    slurm.set("names", f"99 {name}\n101 {name}\n101 {name}\n")
    (report,) = await queue.submit(made)
    assert report.scheduler_ids == ("101", "99") and len(slurm.calls("sbatch")) == 1
    await queue.cancel(f"{tmp_path}/T")
    assert slurm.calls("scancel") == ["101", "99"]
