# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What jobs used of what they asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.overviews.usage import Spread, core_seconds, last_tries, usage_of

JOB = JobRecord("/a", "[0]", "hpc", "", "login", JobState.COMPLETED, seconds=10.0, cpu_s=5.0, cores=2)


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        ((), None),
        ((None, None), None),
        ((3.0,), Spread(1, 3.0, 3.0, 3.0, 3.0, 3.0)),
        ((4.0, None, 0.0, 1.0, 3.0, 2.0), Spread(5, 0.0, 1.0, 2.0, 3.0, 4.0)),
        ((0.0, 1.0), Spread(2, 0.0, 0.25, 0.5, 0.75, 1.0)),
    ],
)
def test_the_spread_of_values_that_are_known(values: tuple[float | None, ...], spread: Spread | None) -> None:
    assert Spread.of(values) == spread


def test_use_is_that_of_jobs_that_ran() -> None:
    reused = replace(JOB, index="[1]", reused=True, seconds=None, cpu_s=None)
    usage = usage_of("/a", [JOB, reused, replace(JOB, index="[2]", seconds=20.0, cpu_s=None)])
    assert (usage.jobs, usage.cpu_s, usage.core_s, usage.cores_asked) == (2, 5.0, 60.0, 2)
    assert usage.cores == Spread(1, 0.5, 0.5, 0.5, 0.5, 0.5)


def test_a_job_that_asks_for_no_cores_has_one() -> None:
    assert core_seconds(replace(JOB, cores=None)) == 10.0


def test_of_a_job_that_ran_again_the_last_try_counts() -> None:
    again = replace(JOB, attempt=2, state=JobState.FAILED)
    other = replace(JOB, index="[1]")
    assert last_tries([again, other, JOB]) == [again, other]
