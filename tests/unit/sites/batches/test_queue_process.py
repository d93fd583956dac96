# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The life of a batch on a plain host: this machine, really."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.errors import AuthenticationError, CancelledError, HostUnreachableError, SiteError
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.removal import MARKER
from airflow_hybrid.schedulers import process
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches import queue as queue_
from airflow_hybrid.sites.batches.directory import Batch
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from airflow_hybrid.sites.hosts.base import CommandResult
from tests.raising import raising
from tests.unit.sites.shell_hosts import SHELLS, ShellHost, batch, label


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_, "SUBMIT_PAUSES_S", (0.0, 0.0))


@pytest.fixture(params=SHELLS)
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobQueue]:
    made = JobQueue(ShellHost(request.param), ProcessScheduler(), grace_s=1.0)
    yield made
    await made.cancel(f"{tmp_path}/T")


def launcher(made: str) -> int:
    return int(Path(made, "jobid").read_text().split(":")[1])


async def test_jobs_run_and_results_come_in_order(queue: JobQueue, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a1-x", 40, lambda i: ("sh", "-c", f"exit {i % 3}"))
    seen: list[Progress] = []
    await queue.submit(made)
    results = await queue.wait(made.directory, seen.append)
    assert [r.exit_code for r in results] == [i % 3 for i in range(40)]
    assert seen[-1].finished == 40
    assert [r.state for r in results[:2]] == [JobState.COMPLETED, JobState.FAILED]


async def test_a_batch_that_waits_for_cores_says_who_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "HELD_S", 1)
    queue = JobQueue(ShellHost("dash", cores=1), ProcessScheduler(), grace_s=1.0)
    first, second = (batch(f"{tmp_path}/{name}/a1", 2, lambda i: ("sleep", "6")) for name in "TU")
    seen: list[Progress] = []
    try:
        await queue.submit(first)
        while not list(Path(first.directory, "c").glob("[0-9]*")):
            await asyncio.sleep(0.05)
        await queue.submit(second)
        waiting = asyncio.ensure_future(queue.wait(second.directory, seen.append))
        while not any("by process" in str(progress) for progress in seen):
            await asyncio.sleep(0.1)
            assert not waiting.done(), seen
        said = next(str(progress) for progress in seen if "by process" in str(progress))
        assert "0 of 2 jobs ended, 2 pending (they wait for cores that other jobs of this user have; since " in said
        assert f"{first.directory}/runner.sh" in said
        waiting.cancel()
    finally:
        for task in "UT":
            await queue.cancel(f"{tmp_path}/{task}")


async def test_many_submits_at_once_start_one_launcher(queue: JobQueue, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 3, lambda i: ("sh", "-c", f"echo {i} >>{shlex.quote(str(tmp_path))}/ran; sleep 1"))
    reports = await asyncio.gather(*(queue.submit(made) for _ in range(6)))
    assert len({r.scheduler_ids for (r,) in reports}) == 1
    await queue.wait(made.directory)
    assert sorted((tmp_path / "ran").read_text().split()) == ["0", "1", "2"]


async def test_jobs_do_not_see_the_workers_environment(tmp_path: Path) -> None:
    host = ShellHost("dash", {"SECRET": "x", "AIRFLOW__CORE__FERNET_KEY": "y"})
    made = batch(f"{tmp_path}/T/a", 1, lambda i: ("env",))
    queue = JobQueue(host, ProcessScheduler())
    await queue.submit(made)
    await queue.wait(made.directory)
    seen = (tmp_path / "T/a/00000/stdout").read_text()
    assert "SECRET" not in seen and "FERNET" not in seen and "PATH=" in seen


async def test_a_killed_launcher_and_its_jobs_are_lost(queue: JobQueue, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 2, lambda i: ("sleep", "100") if i else ("true",))
    await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory))
    while not Path(f"{made.directory}/ec/0").exists():
        await asyncio.sleep(0.1)
    os.killpg(launcher(made.directory), signal.SIGKILL)
    first, second = await waiting
    assert first.state is JobState.COMPLETED
    assert second.state is JobState.LOST and "launcher" in second.reason and second.exit_code is None


async def test_jobs_that_outlive_their_launcher_are_waited_for(queue: JobQueue, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 1, lambda i: ("sh", "-c", "sleep 3; exit 4"))
    await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory))
    await asyncio.sleep(0.7)
    os.kill(launcher(made.directory), signal.SIGKILL)
    assert [(r.state, r.exit_code) for r in await waiting] == [(JobState.FAILED, 4)]


async def test_a_restarted_host_is_not_waited_for(queue: JobQueue, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 1, lambda i: ("sleep", "100"))
    await queue.submit(made)
    jobid = Path(made.directory, "jobid.0")
    own = jobid.read_text()
    other = JobQueue(queue.host, ProcessScheduler(), grace_s=1.0)
    try:
        jobid.write_text("00000000-0000-0000-0000-000000000000:" + own.split(":", 1)[1])
        (result,) = await other.wait(made.directory)
    finally:
        jobid.write_text(own)
    assert result.state is JobState.LOST and "restarted" in result.reason


async def test_cancel_ends_the_jobs_at_once(queue: JobQueue, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; echo $$ >>{shlex.quote(str(pids))}; sleep 100 & wait; wait"
    made = batch(f"{tmp_path}/T/a", 2, lambda i: ("sh", "-c", script))
    await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory))
    while not pids.exists():
        await asyncio.sleep(0.05)
    await queue.cancel(f"{tmp_path}/T")
    results = await waiting
    assert {r.state for r in results} <= {JobState.CANCELLED, JobState.FAILED}
    for pid in pids.read_text().split():
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
    with pytest.raises(CancelledError):
        await queue.submit(batch(f"{tmp_path}/T/b", 1, known_batches=("a",)))


async def test_batches_of_one_host_share_its_cores(tmp_path: Path) -> None:
    host = ShellHost("dash", cores=2)
    queue = JobQueue(host, ProcessScheduler())
    log = shlex.quote(f"{tmp_path}/log")
    script = f"echo + >>{log}; sleep 0.4; echo x >>{log}"
    made = [
        batch(f"{tmp_path}/T{i}/a", 3, lambda i: ("sh", "-c", script), resources=Resources(cores=cores))
        for i, cores in enumerate((1, 2, 0.5))
    ]
    for one in made:
        await queue.submit(one)
    await asyncio.gather(*(queue.wait(one.directory) for one in made))
    running = most = 0
    for sign in (tmp_path / "log").read_text().split():
        running += 1 if sign == "+" else -1
        most = max(most, running)
    assert most <= 4  # four halves of a core, never more


async def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "tar").write_text("#!/bin/sh\nhead -c 99 >/dev/null\necho 'tar: x: No space left on device' >&2\nexit 2\n")
    (tools / "tar").chmod(0o755)
    host = ShellHost("dash", {"PATH": f"{tools}:{os.environ['PATH']}"})
    made = batch(f"{tmp_path}/T/a", 3)
    message = (
        f"test (dash): {label(made)}: the batch directory could not be written: tar: x: No space left on device\n"
        "  -> nothing was submitted and nothing is left; is the disk full (`df`, `df -i`, quota)?"
    )
    with raising(SiteError, message) as caught:
        await JobQueue(host, ProcessScheduler()).submit(made)
    assert caught.value.retryable and sorted(os.listdir(tmp_path / "T")) == [MARKER, "lock"]
    (report,) = await JobQueue(ShellHost("dash"), ProcessScheduler()).submit(made)
    assert report.scheduler_ids


async def test_a_task_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SiteError, match=r"cannot be created.*Not a directory"):
        await JobQueue(ShellHost("dash"), ProcessScheduler()).submit(batch(f"{tmp_path}/file/T/a"))


class FlakyHost(ShellHost):
    """Loses some answers: the command runs, its reply does not arrive."""

    lose = 0

    async def run(self, command: str, **more: Any) -> CommandResult:
        if self.lose < 0:
            raise AuthenticationError("refused")
        result = await super().run(command, **more)
        if self.lose:
            self.lose -= 1
            raise HostUnreachableError("connection lost")
        return result


async def test_lost_answers_change_nothing(tmp_path: Path) -> None:
    host = FlakyHost("dash")
    queue = JobQueue(host, ProcessScheduler())
    host.lose = 2
    made = batch(f"{tmp_path}/T/a", 2, lambda i: ("sh", "-c", f"echo {i} >>{shlex.quote(str(tmp_path))}/ran"))
    await queue.submit(made)
    host.lose = 2
    assert [r.exit_code for r in await queue.wait(made.directory)] == [0, 0]
    assert sorted((tmp_path / "ran").read_text().split()) == ["0", "1"]


async def test_a_refused_login_is_not_waited_out(tmp_path: Path) -> None:
    host = FlakyHost("dash")
    queue = JobQueue(host, ProcessScheduler())
    made = batch(f"{tmp_path}/T/a", 1, lambda i: ("sleep", "2"))
    await queue.submit(made)
    host.lose = -1
    with pytest.raises(AuthenticationError):
        await queue.wait(made.directory)
    host.lose = 0
    await queue.cancel(f"{tmp_path}/T")


async def test_a_listener_that_fails_disturbs_nobody(queue: JobQueue, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 2)
    await queue.submit(made)

    def broken(_: Progress) -> None:
        raise RuntimeError("listener")

    assert [r.exit_code for r in await queue.wait(made.directory, broken)] == [0, 0]


async def test_a_batch_directory_that_vanished_is_lost_work(queue: JobQueue, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 1, lambda i: ("sleep", "2"))
    await queue.submit(made)
    Path(made.directory).rename(tmp_path / "purged")
    (result,) = await queue.wait(made.directory)
    assert result.state is JobState.LOST and "no longer exists" in result.reason


async def test_time_limit_has_its_own_name(queue: JobQueue, tmp_path: Path) -> None:
    commands = (("sleep", "50"), ("sh", "-c", "exit 124"))
    made = batch(f"{tmp_path}/T/a", 2, lambda i: commands[i], job={"walltime_s": 1})
    await queue.submit(made)
    first, second = await queue.wait(made.directory)
    assert (first.state, first.exit_code) == (JobState.TIMEOUT, 124) and "1 s" in first.reason
    assert (second.state, second.exit_code) == (JobState.FAILED, 124)


async def test_submit_of_a_large_batch_is_quick(tmp_path: Path) -> None:
    queue = JobQueue(ShellHost("dash", cores=2), ProcessScheduler())
    made = batch(f"{tmp_path}/T/a", 1000, lambda i: ("true",))
    began = os.times().children_user
    await queue.submit(made)
    assert os.times().children_user - began < 10  # seconds of CPU; what runs on is not counted
    await queue.cancel(f"{tmp_path}/T")


async def test_the_cancel_of_one_try_does_not_stop_a_later_one(queue: JobQueue, tmp_path: Path) -> None:
    def made(attempt: int, command: str, *known: str) -> Batch:
        return batch(f"{tmp_path}/T/a{attempt}-x", 2, lambda i: ("sh", "-c", command), known_batches=known)

    old, new = made(1, "sleep 100"), made(2, "sleep 2", "a1-x")
    await queue.submit(old)
    await queue.submit(new)
    waiting = asyncio.ensure_future(queue.wait(new.directory))
    await queue.cancel(f"{tmp_path}/T", 1)  # it comes late: the next try has begun
    ended = await queue.wait(old.directory)
    assert {(r.state, r.reason) for r in ended} == {(JobState.CANCELLED, "the task was cancelled")}
    assert [r.exit_code for r in await waiting] == [0, 0]
    await queue.submit(made(3, ":", "a1-x", "a2-x"))
    with pytest.raises(CancelledError) as caught:
        await queue.submit(batch(f"{tmp_path}/T/a1-y", 1, known_batches=("a1-x", "a2-x", "a3-x")))
    assert caught.value.message == "this try of the task was cancelled: it submits no more jobs"


def runs(pid: str) -> bool:
    """Whether a process is there that can still do something; a zombie is only waited for by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


async def test_all_that_is_left_of_a_task_is_ended_and_waited_for(queue: JobQueue, tmp_path: Path) -> None:
    over = batch(f"{tmp_path}/T/a1-x", 2)
    await queue.submit(over)
    await queue.wait(over.directory)
    assert await queue.end_all(f"{tmp_path}/T", 20) == []
    assert not (tmp_path / "T/cancelled").exists()
    script = f"echo $$ >{shlex.quote(f'{tmp_path}/pid')}; sleep 100"
    left = batch(f"{tmp_path}/T/a2-x", 1, lambda i: ("sh", "-c", script), known_batches=("a1-x",))
    await queue.submit(left)
    while not (tmp_path / "pid").exists():
        await asyncio.sleep(0.05)
    assert await queue.end_all(f"{tmp_path}/T", 20) == []
    assert not runs((tmp_path / "pid").read_text().strip())
    assert await queue.end_all(f"{tmp_path}/never begun", 20) == []
