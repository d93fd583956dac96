# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Two login hosts of a real Slurm with one file system, on which locks hold per host: batches are submitted once."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from tests.system import sites
from tests.system.queues import ends, wrapped
from tests.testbed.fixture import Testbed
from tests.unit.sites.shell_hosts import batch

PORT = 2222
FLOCK = Path(__file__).parents[3] / "fakes" / "flock_per_host.py"
SECOND_LOGIN = f"""exec unshare --uts --pid --mount --fork --kill-child --mount-proc sh -c '
hostname login2
cat /proc/sys/kernel/random/uuid >/run/login2.boot
mount --bind /run/login2.boot /proc/sys/kernel/random/boot_id
exec /usr/sbin/sshd -D -f /etc/ssh/site_config -p {PORT} -o PidFile=none -E /run/login2.log'
"""


@contextlib.contextmanager
def second_login(testbed: Testbed) -> Iterator[None]:
    """Another host with the same files and users: a name, a boot and processes of its own. Locks hold per host."""
    put = "cat >/usr/local/bin/flock; chmod 755 /usr/local/bin/flock"
    testbed.exec("hpc", "sh", "-c", put, stdin=FLOCK.read_text())
    start = 'setsid sh -c "$1" >/run/login2.out 2>&1 </dev/null & echo $! >/run/login2.pid'
    testbed.exec("hpc", "sh", "-c", start, "sh", SECOND_LOGIN)
    try:
        yield
    finally:
        testbed.exec("hpc", "sh", "-c", "kill -9 $(cat /run/login2.pid); rm /usr/local/bin/flock")


@pytest.fixture
async def queues(testbed: Testbed) -> AsyncIterator[tuple[JobQueue, JobQueue]]:
    made = sites.settings("hpc"), sites.settings("hpc", port=PORT)
    hosts = [SshHost("hpc", settings.host, settings) for settings in made]
    with second_login(testbed):
        yield JobQueue(hosts[0], SlurmScheduler(), grace_s=20), JobQueue(hosts[1], SlurmScheduler(), grace_s=20)
        for host in hosts:
            await host.close()


async def test_two_logins_that_share_no_locks_submit_each_batch_once(
    queues: tuple[JobQueue, JobQueue], testbed: Testbed, folder: str
) -> None:
    names = [(await queue.host.run("uname -n; cat /proc/sys/kernel/random/boot_id")).out.split() for queue in queues]
    assert len({name for name, _ in names}) == 2 and len({boot for _, boot in names}) == 2

    def noting(n: int) -> Callable[[int], tuple[str, ...]]:
        return lambda i: ("sh", "-c", f"echo {n}.{i} >>'{folder}/ran'")

    batches = [batch(f"{folder}/T{n}/a", 2, noting(n)) for n in range(12)]
    calls = f"/tmp/calls.{os.urandom(4).hex()}"
    with wrapped(testbed, "hpc", "sbatch", f'echo >>{calls}; sleep 0.3; exec /usr/bin/sbatch "$@"'):
        reports = await asyncio.gather(*(queue.submit(made) for made in batches for queue in queues))
    ids = [report[0].scheduler_ids for report in reports]
    assert ids[::2] == ids[1::2] and all(len(one) == 1 for one in ids)
    for made in batches:
        assert ends(await queues[0].wait(made.directory)) == [(JobState.COMPLETED, 0)] * 2
    ran = testbed.run("hpc", f"cat '{folder}/ran'").split()
    assert sorted(ran) == sorted(f"{n}.{i}" for n in range(12) for i in range(2))
    assert testbed.run("hpc", f"wc -l <{calls}") == "12\n"


async def test_a_submit_killed_between_claim_and_sbatch_is_gone_on_with(
    queues: tuple[JobQueue, JobQueue], testbed: Testbed, folder: str
) -> None:
    made = batch(f"{folder}/T/a", 2, lambda i: ("sh", "-c", f"echo {i} >>'{folder}/ran'"))
    once = '[ -e /run/killed ] && exec /usr/bin/sbatch "$@"; : >/run/killed; kill -9 $PPID $$'
    testbed.exec("hpc", "sh", "-c", "rm -f /run/killed; chmod 777 /run")
    with wrapped(testbed, "hpc", "sbatch", once):
        (report,) = await queues[1].submit(made)
        assert testbed.exec("hpc", "ls", "/run/killed") == "/run/killed\n"
    assert len(report.scheduler_ids) == 1
    assert [again.attached for again in await queues[0].submit(made)] == [True]
    assert ends(await queues[0].wait(made.directory)) == [(JobState.COMPLETED, 0)] * 2
    assert sorted(testbed.run("hpc", f"cat '{folder}/ran'").split()) == ["0", "1"]
    testbed.exec("hpc", "chmod", "755", "/run")
