# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The life of a batch under queue systems that are not installed here: programs of tests/fakes, which run jobs."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.errors import StatusUnknownError, SubmitError
from airflow_hybrid.model import JobResult, JobState, Resources
from airflow_hybrid.schedulers.batch import BatchScheduler
from airflow_hybrid.schedulers.flux import FluxScheduler
from airflow_hybrid.schedulers.pbs import PbsScheduler
from airflow_hybrid.sites.batches import poller as poller_
from airflow_hybrid.sites.batches import queue as queue_
from airflow_hybrid.sites.batches import settling
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from tests.fakes.jobstore import install
from tests.raising import raising
from tests.unit.sites.shell_hosts import ShellHost, batch, label

SH = "sh"


@dataclass
class Fake:
    """A fake queue system of one dialect; files in ``folder`` steer it."""

    name: str
    folder: Path
    scheduler: BatchScheduler
    submits: str

    def set(self, switch: str, text: str = "yes") -> None:
        (self.folder / switch).write_text(text)

    def unset(self, switch: str) -> None:
        (self.folder / switch).unlink(missing_ok=True)

    def calls(self, program: str) -> int:
        path = self.folder / f"calls.{program}"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def jobs(self) -> dict[str, dict[str, Any]]:
        path = self.folder / "jobs.json"
        found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
        return found


@pytest.fixture(params=["openpbs", "torque", "flux"])
def fake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fake]:
    flux = request.param == "flux"
    folder = tmp_path / "fake"
    install(folder, "flux.py", "flux") if flux else install(folder, "pbs.py", "qsub", "qstat", "qdel")
    made = Fake(request.param, folder, FluxScheduler() if flux else PbsScheduler(), "submit" if flux else "qsub")
    if request.param == "torque":
        made.set("torque")
    yield made
    made.unset("hold")
    for job in made.jobs().values():
        for element in job["elements"].values():
            if element["state"] == "R":
                try:
                    os.killpg(element["pid"], signal.SIGKILL)
                except ProcessLookupError:
                    pass


@pytest.fixture
async def queue(fake: Fake, tmp_path: Path) -> AsyncIterator[JobQueue]:
    environment = {"FAKE": str(fake.folder), "PATH": f"{fake.folder}/bin:{os.environ['PATH']}"}
    made = JobQueue(ShellHost("dash", environment), fake.scheduler, grace_s=2.0)
    yield made
    fake.unset("down")
    await made.cancel(f"{tmp_path}/T")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_, "SUBMIT_PAUSES_S", (0.0, 0.3, 0.3))
    monkeypatch.setattr(settling, "CERTAIN_AFTER_S", 0.5)
    monkeypatch.setattr(BatchScheduler, "status_interval_s", 0.6)


async def until(seen: list[Progress], what: Callable[[Progress], object]) -> None:
    deadline = time.monotonic() + 180
    while not (seen and what(seen[-1])):
        assert time.monotonic() < deadline, seen[-1:]
        await asyncio.sleep(0.1)


def states(results: list[JobResult]) -> list[JobState]:
    return [result.state for result in results]


def ran(tmp_path: Path) -> list[str]:
    return sorted((tmp_path / "ran").read_text().split())


def echo(tmp_path: Path, then: str = "") -> Callable[[int], tuple[str, ...]]:
    return lambda i: (SH, "-c", f"echo {i} >>{shlex.quote(str(tmp_path))}/ran; {then}")


async def test_an_array_is_one_submit_and_every_job_runs_once(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 12, echo(tmp_path), options={"maxConcurrentJobs": 3})
    await queue.submit(made)
    results = await queue.wait(made.directory)
    assert states(results) == [JobState.COMPLETED] * 12, results[0]
    assert fake.calls(fake.submits) == 1 and ran(tmp_path) == sorted(map(str, range(12)))
    assert all(result.scheduler_id for result in results)


async def test_what_the_queue_has_forgotten_hides_nothing_of_the_others(
    queue: JobQueue, fake: Fake, tmp_path: Path
) -> None:
    """One command asks for all batches; complaints about those that ended stand between the answers of the others."""
    made = [batch(f"{tmp_path}/T{i}/a", 2, lambda i: ("sleep", "0" if i else "30")) for i in range(3)]
    over = batch(f"{tmp_path}/U/a", 2, lambda i: ("true",))
    ids = [(await queue.submit(one))[0].scheduler_ids[0] for one in (made[0], over, *made[1:])]
    await queue.wait(over.directory)
    await asyncio.sleep(1)  # its elements have ended, too
    answer = await queue.host.run(fake.scheduler.status_command(ids))
    views = fake.scheduler.parse_status(answer.out, ids)
    assert sorted(views) == sorted(id_ for id_ in ids if id_ != ids[1])
    assert {view.running for view in views.values()} == {1}
    for i in range(3):
        await queue.cancel(f"{tmp_path}/T{i}")


async def test_a_single_job_is_no_array(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 1, lambda i: (SH, "-c", "echo oops >&2; exit 3"))
    (report,) = await queue.submit(made)
    (result,) = await queue.wait(made.directory)
    assert (result.state, result.exit_code, result.stderr_tail) == (JobState.FAILED, 3, "oops\n")
    assert "[" not in report.scheduler_ids[0]


async def test_a_batch_larger_than_an_array_is_several(
    queue: JobQueue, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_, "DEFAULT_MAX_ARRAY", 4)
    monkeypatch.setattr(queue_, "_max_arrays", {})
    fake.set("max_array", "4")
    made = batch(f"{tmp_path}/T/a", 9, echo(tmp_path))
    (report,) = await queue.submit(made)
    assert len(report.scheduler_ids) == 3
    assert states(await queue.wait(made.directory)) == [JobState.COMPLETED] * 9
    assert ran(tmp_path) == sorted(map(str, range(9)))


async def test_an_array_that_the_site_finds_too_large_is_split(
    queue: JobQueue, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fake.name == "flux":
        return  # its arrays have no largest size
    monkeypatch.setattr(queue_, "_max_arrays", {})
    fake.set("max_array", "3")
    made = batch(f"{tmp_path}/T/a", 6, echo(tmp_path))
    (report,) = await queue.submit(made)
    assert len(report.scheduler_ids) == 2
    assert states(await queue.wait(made.directory)) == [JobState.COMPLETED] * 6
    assert ran(tmp_path) == sorted(map(str, range(6)))


async def test_a_submit_whose_reply_is_lost_is_found_again(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    fake.set("lose")
    fake.set("hold")
    made = batch(f"{tmp_path}/T/a", 3, echo(tmp_path))
    (report,) = await queue.submit(made)
    assert len(fake.jobs()) == (3 if fake.name == "flux" else 1)
    assert len(report.scheduler_ids) == 1
    fake.unset("hold")
    assert states(await queue.wait(made.directory)) == [JobState.COMPLETED] * 3
    assert ran(tmp_path) == ["0", "1", "2"]


async def test_a_submit_that_was_cut_in_the_middle_of_an_array_is_completed(
    queue: JobQueue, fake: Fake, tmp_path: Path
) -> None:
    if fake.name != "flux":
        return  # the arrays of PBS are accepted as a whole
    fake.set("part", "2")
    fake.set("hold")
    made = batch(f"{tmp_path}/T/a", 5, echo(tmp_path))
    await queue.submit(made)
    assert sorted(str(job["cc"]) for job in fake.jobs().values()) == ["0", "1", "2", "3", "4"]
    fake.unset("hold")
    assert states(await queue.wait(made.directory)) == [JobState.COMPLETED] * 5


async def test_a_server_that_is_down_is_unknown_and_not_gone(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 2, echo(tmp_path, "sleep 3"))
    await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running == 2)
    fake.set("down")
    await until(seen, lambda p: p.unknown)
    await asyncio.sleep(1)
    assert not waiting.done() or states(waiting.result()) == [JobState.COMPLETED] * 2
    fake.unset("down")
    assert states(await waiting) == [JobState.COMPLETED] * 2


async def test_a_server_that_is_down_at_submit_leaves_nothing_in_doubt(
    queue: JobQueue, fake: Fake, tmp_path: Path
) -> None:
    fake.set("down")
    made = batch(f"{tmp_path}/T/a", 2, echo(tmp_path))
    with pytest.raises(StatusUnknownError):
        await queue.submit(made)
    fake.unset("down")
    await queue.submit(made)
    assert states(await queue.wait(made.directory)) == [JobState.COMPLETED] * 2
    assert ran(tmp_path) == ["0", "1"]


async def test_a_refusal_is_told_in_the_site_s_words(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    fake.set("refuse", "unsatisfiable request: Job violates queue and/or server resource limits")
    made = batch(f"{tmp_path}/T/a", 2)
    name = queue.scheduler.name
    program = "flux-submit: ERROR: [Errno 22] " if name == "flux" else ""
    message = (
        f"test (dash): {label(made)}: {name} refused the batch: {program}unsatisfiable request: Job violates "
        "queue and/or server resource limits\n"
        "  -> it asks for more than the queue allows: ask for less in the step's ResourceRequirement or the service's "
        "`resources`, or name another `queue`"
    )
    with raising(SubmitError, message) as caught:
        await queue.submit(made)
    assert not caught.value.retryable and not Path(f"{tmp_path}/T/a").exists()


async def test_what_can_never_run_is_withdrawn(
    queue: JobQueue, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fake.name == "flux":
        return  # refuses it at submission
    monkeypatch.setattr(poller_, "HOPELESS_S", 1.0)
    fake.set("hold")
    fake.set("comment", "Can Never Run: Insufficient amount of resource: ncpus (R: 999 A: 8 T: 8)")
    made = batch(f"{tmp_path}/T/a", 2)
    await queue.submit(made)
    results = await queue.wait(made.directory)
    assert states(results) == [JobState.FAILED] * 2
    assert "Insufficient amount of resource: ncpus (R: 999 A: 8 T: 8)" in results[0].reason
    elements = [e for job in fake.jobs().values() for e in job["elements"].values()]
    assert {e["state"] for e in elements} == {"F"}


async def test_cancel_ends_running_and_waiting_jobs(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 8, lambda i: ("sleep", "300"))
    fake.set("slots", "2")
    await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running)
    await queue.cancel(f"{tmp_path}/T")
    assert set(states(await waiting)) == {JobState.CANCELLED}


async def test_elements_that_nobody_needs_do_not_stay_in_the_queue(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    fake.set("slots", "1")
    if fake.name == "flux":
        return  # each of its elements is a job of its own here, which starts at once
    made = batch(f"{tmp_path}/T/a", 30, echo(tmp_path))
    await queue.submit(made)
    assert states(await queue.wait(made.directory)) == [JobState.COMPLETED] * 30
    elements = [e for job in fake.jobs().values() for e in job["elements"].values()]
    assert not [e for e in elements if e["state"] == "Q"]
    assert ran(tmp_path) == sorted(map(str, range(30)))


async def test_one_element_that_is_killed_by_hand_has_its_name(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    made = batch(f"{tmp_path}/T/a", 3, lambda i: ("sleep", "300" if i == 1 else "2"))
    (report,) = await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running == 3)
    id_ = "101" if fake.name == "flux" else report.scheduler_ids[0].replace("[]", "[1]")
    command = f"flux cancel {id_}" if fake.name == "flux" else f"qdel '{id_}'"
    (await queue.host.run(command)).check("cancel")
    results = await waiting
    assert states(results) == [JobState.COMPLETED, JobState.CANCELLED, JobState.COMPLETED], results


async def test_a_job_that_nobody_knows_is_lost_and_no_success(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    if fake.name == "openpbs":
        fake.set("nohistory")
    # the runner: where the program time measures jobs, it is the parent of that
    runner = "$(cut -d' ' -f4 /proc/$PPID/stat) $PPID" if fake.name == "flux" else "$PPID"
    made = batch(f"{tmp_path}/T/a", 1, lambda i: (SH, "-c", f"kill -9 {runner}; sleep 1"))
    await queue.submit(made)
    if fake.name != "openpbs":
        fake.set("forgotten")
    (result,) = await queue.wait(made.directory)
    assert result.state is JobState.LOST and result.exit_code is None


async def test_queries_do_not_grow_with_the_number_of_batches(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    made = [batch(f"{tmp_path}/T{i}/a", 3, lambda i: ("sleep", "2")) for i in range(5)]
    for one in made:
        await queue.submit(one)
    program = "jobs" if fake.name == "flux" else "qstat"
    before, began = fake.calls(program), time.monotonic()
    results = await asyncio.gather(*(queue.wait(one.directory) for one in made))
    assert {state for one in results for state in states(one)} == {JobState.COMPLETED}
    # two programs a question at most: the dialect, the jobs
    assert fake.calls(program) - before <= 2 * (2 + (time.monotonic() - began) / 0.6)


async def test_resources_reach_the_submit(queue: JobQueue, fake: Fake, tmp_path: Path) -> None:
    explicit = frozenset({"cores", "ram_mib"})
    resources = Resources(cores=1.5, ram_mib=300, gpus=1, explicit=explicit)
    made = batch(f"{tmp_path}/T/a", 2, resources=resources, job={"walltime_s": 60})
    await queue.submit(made)
    await queue.wait(made.directory)
    argv = " ".join(next(iter(fake.jobs().values()))["argv"])
    expected = {
        "openpbs": "-l select=1:ncpus=2:mem=300mb:ngpus=1 -l walltime=100",
        "torque": "-l nodes=1:ppn=2:gpus=1,mem=300mb -l walltime=100",
        "flux": "--cores-per-task=2 --gpus-per-task=1 --time-limit=100s",
    }
    assert expected[fake.name] in argv
