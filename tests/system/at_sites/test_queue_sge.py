# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""JobQueue on a real Grid Engine by ssh: the life of a batch, and what goes wrong on real clusters."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator

import pytest

from airflow_hybrid.errors import SubmitError
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.schedulers.estimates import Capacity
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.sites.batches.look import Enquiry, SiteLook, look
from airflow_hybrid.sites.batches.queue import JobQueue, Progress
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from tests.system import sites
from tests.system.queues import ends, until, wrapped
from tests.testbed.fixture import Testbed
from tests.unit.sites.shell_hosts import always, batch

SH = "sh"
EXPLICIT = frozenset({"cores", "ram_mib"})


@pytest.fixture
async def host(grid: Testbed) -> AsyncIterator[SshHost]:
    made = sites.host("grid")
    yield made
    await made.close()


@pytest.fixture
async def queue(host: SshHost, folder: str) -> AsyncIterator[JobQueue]:
    made = JobQueue(host, SgeScheduler(), grace_s=30)
    yield made
    await made.cancel(f"{folder}/T")


@pytest.fixture
def folder(grid: Testbed) -> str:
    return f"{grid.sites['grid'].home}/q {os.urandom(4).hex()}"


async def test_the_site_says_what_is_free_and_whether_a_job_would_start(host: SshHost, grid: Testbed) -> None:
    resources = Resources(4, explicit=frozenset({"cores"}))

    async def ask(**options: str) -> SiteLook:
        options = {"queue": "all.q", "pe": "smp", **options}
        return await look(host, SgeScheduler(), "/none", Enquiry(resources, options, load=True, wait=True))

    with grid.counting("grid", "qsub") as calls:
        idle = await ask()
    assert calls.calls("qsub") and all("-w p" in call for call in calls.calls("qsub"))
    assert (idle.capacity, idle.wait_s) == (Capacity(4, 4, nodes=1, free_nodes=1), 0)
    held = grid.run("grid", "echo sleep 300 | qsub -terse -q all.q -pe smp 4 -o /dev/null -j y").strip()
    try:
        deadline = time.monotonic() + 180
        while (busy := await ask()).capacity.free_cores != 0:
            assert time.monotonic() < deadline
            await asyncio.sleep(1)
        assert busy.wait_s is None and "no suitable queues" in busy.words
    finally:
        grid.run("grid", f"qdel {held}")
    wrong = await ask(pe="nosuch")
    assert wrong.wait_s is None and "nosuch" in wrong.words


async def test_an_array_runs_with_few_commands(queue: JobQueue, grid: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 30, lambda i: (SH, "-c", f"echo {i} >>'{folder}/ran'; exit {int(i % 10 == 3)}"))
    with grid.counting("grid", "qsub") as calls:
        (report,) = await queue.submit(made)
        results = await queue.wait(made.directory)
        assert calls["qsub"] == 1
    assert [r.exit_code for r in results] == [int(i % 10 == 3) for i in range(30)]
    assert sorted(map(int, grid.run("grid", f"cat '{folder}/ran'").split())) == list(range(30))
    assert all((r.scheduler_id or "").startswith(f"{report.scheduler_ids[0]}.") for r in results)


async def test_a_single_job_and_its_resources(queue: JobQueue, grid: Testbed, folder: str) -> None:
    explicit = Resources(cores=1.5, ram_mib=301, explicit=EXPLICIT)
    script = ('echo "$NSLOTS"; qstat -j "$JOB_ID" | grep -o h_vmem=[0-9]*M; qstat -j "$JOB_ID" | grep -o h_rt=[0-9]*',)
    made = batch(
        f"{folder}/T/a", 1, lambda i: (SH, "-c", *script), resources=explicit, options={"pe": "smp"},
        job={"walltime_s": 60, "stdout": "said"},
    )  # fmt: skip
    await queue.submit(made)
    assert ends(await queue.wait(made.directory)) == [(JobState.COMPLETED, 0)]
    said = grid.run("grid", f"cat '{made.directory}/00000/out/said'").split()
    assert said == ["2", "h_vmem=151M", "h_rt=100"]  # memory is per slot; packing may add 40 s


async def test_the_accounting_tells_what_a_job_used(queue: JobQueue, folder: str) -> None:
    eats = always("python3", "-c", "import time; a = bytearray(90 << 20); time.sleep(3)")
    made = batch(f"{folder}/T/a", 1, eats)
    await queue.submit(made)
    results = await queue.wait(made.directory)
    deadline = time.monotonic() + 60
    while (measured := await queue.measured(results))[0].memory_used_mib is None:  # it lags behind
        assert time.monotonic() < deadline
    used = measured[0].memory_used_mib
    assert used is not None and 90 <= used <= 130


@pytest.mark.parametrize(
    ("options", "resources", "words"),
    [
        ({"pe": "smp"}, Resources(cores=99, explicit=EXPLICIT - {"ram_mib"}), "no suitable queues"),
        ({"queue": "nosuch.q"}, Resources(), "unknown queue"),
        ({"resources": {"mem_free": "999G"}}, Resources(), "no suitable queues"),
        ({"gpu": "gpu"}, Resources(gpus=1), 'unknown resource "gpu"'),
    ],
)
async def test_what_the_site_cannot_give_is_refused_in_its_own_words(
    queue: JobQueue, folder: str, options: dict[str, object], resources: Resources, words: str
) -> None:
    made = batch(f"{folder}/T/a", 2, options=options, resources=resources)
    with pytest.raises(SubmitError, match=words) as caught:
        await queue.submit(made)
    assert not caught.value.retryable


async def test_a_submit_that_dies_after_qsub_is_found_again(queue: JobQueue, grid: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 3, lambda i: (SH, "-c", f"sleep 3; echo {i} >>'{folder}/ran'"))
    once = '[ -e /run/lost ] && exec /usr/bin/qsub "$@"; : >/run/lost; /usr/bin/qsub "$@"; kill -9 $PPID'
    grid.exec("grid", SH, "-c", "rm -f /run/lost; chmod 777 /run")
    with wrapped(grid, "grid", "qsub", once):
        (report,) = await queue.submit(made)
    grid.exec("grid", "chmod", "755", "/run")
    assert len(report.scheduler_ids) == 1 and report.scheduler_ids[0].isdigit()
    assert ends(await queue.wait(made.directory)) == [(JobState.COMPLETED, 0)] * 3
    assert sorted(grid.run("grid", f"cat '{folder}/ran'").split()) == ["0", "1", "2"]


@pytest.mark.long
async def test_a_qmaster_that_is_down_for_a_while_loses_nothing(queue: JobQueue, grid: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 2, lambda i: ("sleep", "25"))
    await queue.submit(made)
    seen: list[Progress] = []
    waiting = asyncio.ensure_future(queue.wait(made.directory, seen.append))
    await until(seen, lambda p: p.running == 2)
    grid.exec("grid", "sgesite", "stop", "sge_qmaster")
    try:
        await until(seen, lambda p: p.unknown)
        assert not waiting.done()
    finally:
        grid.exec("grid", "sgesite", "start", "sge_qmaster")
    assert ends(await waiting) == [(JobState.COMPLETED, 0)] * 2


@pytest.mark.long
async def test_a_qmaster_that_is_down_at_submit_is_waited_for(queue: JobQueue, grid: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 2, lambda i: (SH, "-c", f"echo {i} >>'{folder}/ran'"))
    grid.exec("grid", "sgesite", "stop", "sge_qmaster")
    submitting = asyncio.ensure_future(queue.submit(made))
    await asyncio.sleep(3)
    grid.exec("grid", "sgesite", "start", "sge_qmaster")
    await submitting
    assert ends(await queue.wait(made.directory)) == [(JobState.COMPLETED, 0)] * 2
    assert sorted(grid.run("grid", f"cat '{folder}/ran'").split()) == ["0", "1"]


@pytest.mark.long
async def test_the_site_s_time_limit_has_its_name(queue: JobQueue, folder: str) -> None:
    made = batch(
        f"{folder}/T/a", 2, lambda i: ("sleep", "300") if i else ("true",), options={"resources": {"h_rt": 12}}
    )
    await queue.submit(made)
    first, second = await asyncio.wait_for(queue.wait(made.directory), 200)
    assert (first.state, second.state) == (JobState.COMPLETED, JobState.TIMEOUT), second


async def test_a_job_in_the_error_state_does_not_wait_for_ever(
    queue: JobQueue, grid: Testbed, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_hybrid.sites.batches.poller.HOPELESS_S", 3.0)
    made = batch(f"{folder}/T/a", 2, options={"S": "/nosuch/shell"})
    await queue.submit(made)
    results = await asyncio.wait_for(queue.wait(made.directory), 120)
    assert {r.state for r in results} == {JobState.FAILED}
    assert "/nosuch/shell" in results[0].reason, results[0]
    assert made.name not in grid.run("grid", "qstat -r")


_CLIENT = """
import asyncio, json, sys
sys.path.insert(0, {root!r})
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.schedulers.estimates import Capacity
from airflow_hybrid.schedulers.sge import SgeScheduler
from tests.system import sites
from tests.system.queues import ends, until, wrapped
from tests.unit.sites.shell_hosts import batch

async def main():
    host = sites.host("grid")
    made = batch({directory!r}, 4, lambda i: ("sh", "-c", f"echo {{i}} >>'{folder}/ran'; sleep 4"))
    queue = JobQueue(host, SgeScheduler())
    print("begin", flush=True)
    await queue.submit(made)
    print("submitted", flush=True)
    results = await queue.wait(made.directory)
    print(json.dumps([r.exit_code for r in results]), flush=True)
    await host.close()

asyncio.run(main())
"""


async def test_a_client_that_is_killed_in_mid_submit_is_followed_by_another(
    queue: JobQueue, grid: Testbed, folder: str
) -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
    text = _CLIENT.format(root=root, directory=f"{folder}/T/a", folder=folder)

    async def client() -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(sys.executable, "-c", text, stdout=pipe, env={**os.environ})

    first = await client()
    assert first.stdout is not None
    while (await first.stdout.readline()).decode().strip() != "begin":
        assert first.returncode is None
    await asyncio.sleep(0.7)
    first.kill()
    await first.wait()
    second = await client()
    out, _ = await second.communicate()
    assert json.loads(out.decode().splitlines()[-1]) == [0] * 4
    assert sorted(grid.run("grid", f"cat '{folder}/ran'").split()) == ["0", "1", "2", "3"]


async def test_the_accounting_of_the_site_sees_failures_and_runs_nothing_again(
    queue: JobQueue, grid: Testbed, folder: str
) -> None:
    codes = (3, 99, 100, 0)  # 99 would run the job again, 100 put it into the error state
    batches = [batch(f"{folder}/T{code}/a", 1, always(SH, "-c", f"exit {code}")) for code in codes]
    reports = [await queue.submit(made) for made in batches]
    ids = [report[0].scheduler_ids[0] for report in reports]
    results = await asyncio.gather(*(queue.wait(made.directory) for made in batches))
    assert [code for ((_, code),) in map(ends, results)] == list(codes)
    rows: list[str] = []
    deadline = time.monotonic() + 180
    while len(rows) < len(ids) and time.monotonic() < deadline:
        await asyncio.sleep(2)
        said = "sed -n 's/^exit_status *\\([0-9]*\\).*/\\1/p'"
        rows = grid.run("grid", f"for i in {' '.join(ids)}; do qacct -j $i 2>/dev/null | {said}; done").split()
    assert rows == ["3", "1", "1", "0"]
    assert grid.run("grid", "qstat") == ""
