# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Jobs that differ in one place of any kind are never taken for each other; those that differ in none are."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from airflow_hybrid.engine import FragmentExecution, FragmentSpec
from airflow_hybrid.sites.closing import close_all
from tests.unit.engine.execution import Log
from tests.unit.engine.reuse.reuse_pairs import Job, jobs, key_of, pairs, spec_of

PAIRS = 300
EXECUTED = int(os.environ.get("REUSE_PAIRS", "8"))
"""pairs that are really run; ``make reuse-pairs`` runs all"""
_QUICK = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@settings(_QUICK, max_examples=PAIRS)
@given(pairs())
def test_jobs_that_differ_in_one_place_have_different_keys(pair: tuple[Job, Job, str]) -> None:
    first, second, place = pair
    if first == second:  # what was exchanged was the same
        return
    assert key_of(first) != key_of(second), place


@settings(_QUICK, max_examples=50)
@given(jobs())
def test_where_a_job_is_makes_no_difference(job: Job) -> None:
    elsewhere = key_of(
        job, folder="/other/b", jobdir="/scratch/x/y/g3-1/a2-1/00007-1", tool_id="cwl:lib/t.cwl", step_path="/in/er"
    )
    assert key_of(job) == elsewhere is not None


@settings(_QUICK, max_examples=20)
@given(jobs())
def test_what_the_place_says_makes_a_difference(job: Job) -> None:
    assert len({key_of(job, place=place) for place in ("", "image one", "image two", {"used": 1})}) == 4


def _drawn(count: int) -> list[tuple[Job, Job, str]]:
    found: list[tuple[Job, Job, str]] = []

    @settings(_QUICK, max_examples=count, phases=[Phase.generate])
    @given(pairs())
    def draw(pair: tuple[Job, Job, str]) -> None:
        if pair[0] != pair[1]:
            found.append(pair)

    draw()
    return found


async def _run(specs: list[tuple[str, FragmentSpec]]) -> dict[str, str]:
    """Run all, some at a time; the log of each, and why it failed."""
    limit = asyncio.Semaphore(8)
    logs: dict[str, str] = {}

    async def run(name: str, spec: FragmentSpec) -> None:
        log = Log()
        async with limit:
            try:
                await FragmentExecution(spec, log).run()
            except Exception as error:
                log.info("failed: %s", error)
        logs[name] = log.text

    try:
        await asyncio.gather(*(run(name, spec) for name, spec in specs))
    finally:
        await close_all()
    return logs


@pytest.mark.timeout(900)
def test_jobs_that_differ_are_run_and_the_same_are_not(tmp_path: Path) -> None:
    firsts: list[tuple[str, FragmentSpec]] = []
    later: list[tuple[str, FragmentSpec]] = []
    for number, (first, second, place) in enumerate(_drawn(EXECUTED)):
        folder = tmp_path / str(number)  # a work directory of its own, in which nothing else could be found
        firsts.append((f"{number}", spec_of(first, folder, "one")))
        later.append((f"{number} again", spec_of(first, folder, "again")))
        later.append((f"{number} other {place}", spec_of(second, folder, "other")))
    logs = asyncio.run(_run(firsts))
    assert not [text for text in logs.values() if "failed: " in text or "reused" in text]
    logs = asyncio.run(_run(later))
    assert [name for name, text in logs.items() if "reused" in text] == [name for name in logs if "again" in name]
