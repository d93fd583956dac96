# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A queue in front of a Slurm that misbehaves on command; everything waits less than at a site."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches import queue as queue_
from airflow_hybrid.sites.batches import settling
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.closing import close_all
from tests.unit.sites.batches.slurm.fake_slurm import FakeSlurm
from tests.unit.sites.shell_hosts import ShellHost


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
