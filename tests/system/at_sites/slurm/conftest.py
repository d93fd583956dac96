# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A queue on a real Slurm by SSH, and a folder there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from tests.system import sites
from tests.testbed.fixture import Testbed


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
