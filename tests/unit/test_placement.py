# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import pytest

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Resources
from airflow_hybrid.placement import Candidate, choose

GB = 10**9


@pytest.mark.parametrize(
    ("candidates", "index", "reason"),
    [
        ([Candidate("a", "1", 0), Candidate("b", "1", 0)], 0, "all inputs are there, least used"),
        (
            [Candidate("a", "1", taken_cores=3), Candidate("b", "1", taken_cores=1)],
            1,
            "all inputs are there, least used",
        ),
        ([Candidate("a", "1", GB), Candidate("b", "1", 0)], 1, "all inputs are there; a (1): 1 GB to move"),
        (
            [Candidate("a", "1", GB, bytes_per_s=1e6), Candidate("b", "1", 2 * GB, bytes_per_s=1e9)],
            1,
            "2 GB to move at 1 GB/s, about 2 s; a (1): 1 GB to move",
        ),
        ([Candidate("a", "1", 5000)], 0, "5 kB to move, about 0 s"),
        (
            [Candidate("a", "1", 0, cores=2), Candidate("b", "1", GB, cores=8)],
            1,
            "1 GB to move, about 20 s",
        ),
        ([Candidate("a", "1", 0, free_cores=0), Candidate("b", "1", GB, free_cores=8)], 1, "1 GB to move, about 20 s"),
        (
            [Candidate("a", "1", 0, free_cores=1), Candidate("b", "1", GB, free_cores=2)],
            0,
            "all are busy; all inputs are there; b (1): 1 GB to move",
        ),
    ],
)
def test_capacity_goes_before_bytes_and_bytes_before_order(
    candidates: list[Candidate], index: int, reason: str
) -> None:
    choice = choose(candidates, Resources(cores=4))
    assert (choice.index, choice.reason) == (index, reason)


@pytest.mark.parametrize(("policy", "index"), [("in_order", 0), ("spread", 1), ("data_locality", 2), (None, 2)])
def test_policies_differ(policy: str | None, index: int) -> None:
    candidates = [
        Candidate("a", "1", GB, free_cores=1),
        Candidate("b", "1", GB, free_cores=9),
        Candidate("c", "1", 0),
    ]
    assert choose(candidates, Resources(), policy).index == index


def test_what_cannot_be_chosen_is_said() -> None:
    with pytest.raises(ConfigError, match="no location can hold a job of 4 cores and 256 MiB: a \\(1\\) has 2 cores"):
        choose([Candidate("a", "1", cores=2)], Resources(cores=4))
    with pytest.raises(ConfigError, match="and 100 MiB"):
        choose([Candidate("a", "1", memory_mib=100)], Resources())
    with pytest.raises(ConfigError, match="the binding has no location"):
        choose([])
    with pytest.raises(ConfigError, match="no policy 'best'"):
        choose([Candidate("a", "1")], policy="best")
