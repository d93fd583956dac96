# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""JobQueue on a plain host by ssh: the launcher outlives the connection, and a host's end is noticed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from airflow_hybrid.errors import SubmitError
from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from tests.system import sites
from tests.testbed.fixture import Testbed
from tests.unit.sites.shell_hosts import batch


@pytest.fixture
async def host(testbed: Testbed) -> AsyncIterator[SshHost]:
    made = sites.host("cloud")
    yield made
    await made.close()


@pytest.fixture
def folder(testbed: Testbed) -> str:
    return f"{testbed.sites['cloud'].home}/q {os.urandom(4).hex()}"


@pytest.fixture
async def queue(host: SshHost, folder: str) -> AsyncIterator[JobQueue]:
    made = JobQueue(host, ProcessScheduler(), grace_s=5)
    yield made
    await made.cancel(f"{folder}/T")


async def test_jobs_outlive_the_connection_and_the_process_that_submitted(
    queue: JobQueue, host: SshHost, folder: str
) -> None:
    made = batch(f"{folder}/T/a", 3, lambda i: ("sh", "-c", f"sleep 3; echo {i}; exit {i}"))
    await queue.submit(made)
    await host.close()
    await asyncio.sleep(1)
    another = sites.host("cloud")
    results = await JobQueue(another, ProcessScheduler()).wait(made.directory)
    assert [r.exit_code for r in results] == [0, 1, 2]
    seen = await JobQueue(another, ProcessScheduler()).facts(trees=[f"{made.directory}/{key}/out" for key in made.keys])
    assert seen.files[f"{made.directory}/00000/out"].kind == "d"
    await another.close()


async def test_a_session_that_is_killed_takes_no_job_along(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 2, lambda i: ("sleep", "4"))
    await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory))
    await asyncio.sleep(1)
    testbed.exec("cloud", "sh", "-c", "kill $(ps -u clouduser -o pid=,comm= | sed -n 's/ *\\([0-9]*\\) sshd.*/\\1/p')")
    assert {r.exit_code for r in await asyncio.wait_for(waiting, 240)} == {0}


async def test_a_launcher_that_was_killed_is_lost(queue: JobQueue, testbed: Testbed, folder: str) -> None:
    made = batch(f"{folder}/T/a", 1, lambda i: ("sleep", "300"))
    (report,) = await queue.submit(made)
    waiting = asyncio.ensure_future(queue.wait(made.directory))
    await asyncio.sleep(1)
    testbed.run("cloud", f"kill -9 -- -{report.scheduler_ids[0].split(':')[1]}")
    (result,) = await asyncio.wait_for(waiting, 240)
    assert result.state is JobState.LOST


async def test_a_plain_host_is_no_cluster(host: SshHost, testbed: Testbed, folder: str) -> None:
    for program in ("sbatch", "squeue", "scancel"):
        testbed.exec("cloud", "rm", "-f", f"/usr/bin/{program}")
    with pytest.raises(SubmitError, match="`sbatch` is not installed") as caught:
        await JobQueue(host, SlurmScheduler()).submit(batch(f"{folder}/T/a"))
    assert "cloud" in str(caught.value) and "config.profile" in str(caught.value)
