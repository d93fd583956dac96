# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the accounting of a Slurm knows of jobs whose runners could not tell what they used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from airflow_hybrid.model import JobResult
from airflow_hybrid.schedulers.usage import SLURM_FIELDS
from airflow_hybrid.sites.batches import questions
from airflow_hybrid.sites.batches.queue import JobQueue
from tests.unit.sites.batches.slurm.fake_slurm import FakeSlurm
from tests.unit.sites.shell_hosts import batch

USED = """\
101_0|COMPLETED||00:02||
101_0.batch|COMPLETED|2048K|00:02|1|mem=1024K
101_1|COMPLETED||00:03||
101_1.batch|COMPLETED|9M|00:03|1|
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "USAGE_PAUSES_S", (0.0, 0.1))


async def ended(queue: JobQueue, folder: Path, claims: list[str], seconds: int = 3) -> list[JobResult]:
    """Jobs that have ended, and were run by these elements."""
    made = batch(f"{folder}/T/a", len(claims))
    await queue.submit(made)
    for index, claim in enumerate(claims):
        (folder / f"T/a/c/{index}").write_text(f"{claim}\n")
        (folder / f"T/a/ec/{index}").write_text(f"0 {seconds * 100} node=n1 at=176444600000\n")
    return await queue.wait(made.directory)


def asked(slurm: FakeSlurm) -> int:
    """How often sacct was asked what jobs used."""
    question = f"--noconvert -j 101 -o {','.join(SLURM_FIELDS)}"
    return "\n".join(slurm.calls("sacct_calls")).count(question)


async def test_an_element_s_use_is_that_of_its_only_job(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("sacct", USED)
    results = await ended(queue, tmp_path, ["101_0", "101_1", "101_1"])
    measured = await queue.measured(results)
    assert [(result.memory_used_mib, result.cpu_s) for result in measured] == [(2, 2.0), (None, None), (None, None)]
    assert asked(slurm) == 1


async def test_what_a_runner_has_told_is_not_asked(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("sacct", USED)
    (result, _) = await ended(queue, tmp_path, ["101_0", "101_1"])
    told = replace(result, memory_used_mib=7, cpu_s=1.5)
    assert await queue.measured([told]) == [told] and slurm.calls("sacct_calls") == []
    (completed,) = await queue.measured([replace(result, cpu_s=1.5)])
    assert (completed.memory_used_mib, completed.cpu_s) == (2, 1.5)


async def test_an_accounting_that_is_behind_is_asked_twice(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    results = await ended(queue, tmp_path, ["101_0"])
    slurm.set("sacct", "101_0|RUNNING||00:00:00||\n")
    assert await queue.measured(results) == results and asked(slurm) == 2


async def test_an_accounting_that_is_down_is_asked_once(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    results = await ended(queue, tmp_path, ["101_0"])
    slurm.set("sacct_fails", "sacct: error: Connection refused\n")
    assert await queue.measured(results) == results and asked(slurm) == 1


async def test_short_jobs_are_not_asked_about(queue: JobQueue, slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.set("sacct", USED)
    results = await ended(queue, tmp_path, ["101_0"], seconds=1)
    assert await queue.measured(results) == results and asked(slurm) == 0


async def test_of_an_mpi_job_the_accounting_counts_and_not_the_launcher(
    queue: JobQueue, slurm: FakeSlurm, tmp_path: Path
) -> None:
    """srun's own processor time, and the memory of the step that it was started in, are what the runner saw."""
    (result,) = await ended(queue, tmp_path, ["101_0"])
    seen = replace(result, memory_used_mib=20, cpu_s=0.03)
    ranks = "101_0|COMPLETED||06:57||\n101_0.batch|COMPLETED|20264K|00:00.034|1|\n101_0.0|COMPLETED|1947276K|06:57|8|"
    slurm.set("sacct", f"{ranks}cpu=00:06:57,mem=15578208K,pages=0\n")
    (measured,) = await queue.measured([seen], is_mpi=True)
    assert (measured.memory_used_mib, measured.cpu_s) == (20 + 15214, 417.0)
    slurm.set("sacct", f"{ranks}\n")
    (measured,) = await queue.measured([seen], is_mpi=True)
    assert (measured.memory_used_mib, measured.cpu_s) == (None, 417.0)
    slurm.set("sacct_fails", "sacct: error: Connection refused\n")
    (measured,) = await queue.measured([seen], is_mpi=True)
    assert (measured.memory_used_mib, measured.cpu_s) == (None, None)
