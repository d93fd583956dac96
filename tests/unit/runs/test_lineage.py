# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What was moved from where to where, from what tasks have recorded."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.model import LineageEntry
from airflow_hybrid.model.files import Transfer
from airflow_hybrid.overviews.lineage import (
    Placement,
    RunLineage,
    TaskLineage,
    checked_entries,
    placements,
    site_of,
    transfers,
)

ENTRY = LineageEntry("hybrid://cloud/host/a", "hybrid://hpc/login/b", "relay", 100, 2.0).to_json()


@pytest.mark.parametrize(
    ("uri", "site"),
    [
        ("/data/a", "local"),
        ("file:///data/a", "local"),
        ("hybrid://hpc/login.example/scratch/a%20b", "hpc"),
        ("https://example.org/a.fa", "https://example.org"),
        ("s3://bucket/key", "s3://bucket"),
        ("https://[", "local"),
    ],
)
def test_the_site_of_a_file(uri: str, site: str) -> None:
    assert site_of(uri) == site


def test_transfers_are_summed_by_site_and_route_and_the_largest_is_first() -> None:
    entries = [
        LineageEntry("hybrid://cloud/h/a", "hybrid://hpc/l/a", "relay", 100, 2.0),
        LineageEntry("hybrid://cloud/h/b", "hybrid://hpc/l/b", "relay", 50, 1.0),
        LineageEntry("hybrid://cloud/h/c", "hybrid://hpc/l/c", "in place", 1000, 0.0),
        LineageEntry("hybrid://cloud/h/b", "hybrid://hpc/l/b", "relay", 50, 0.0, reused=True),
        LineageEntry("hybrid://hpc/l/d", "hybrid://cloud/h/d", "direct", 400, 4.0),
    ]
    lineage = RunLineage((TaskLineage("align", 0, tuple(entries[:2])), TaskLineage("sort", -1, tuple(entries[2:]))))
    assert transfers(lineage) == [
        Transfer("hpc", "cloud", "direct", 1, 400, 4.0, ("sort",)),
        Transfer("cloud", "hpc", "relay", 2, 150, 3.0, ("align",)),
    ]


def test_placements_say_where_and_why() -> None:
    entry = LineageEntry("/train[3]", "hybrid://hpc/l/work", "placed", 7, 0.0, note="hpc/gpu: most bytes are there")
    lineage = RunLineage((TaskLineage("train", -1, (entry,)),))
    assert placements(lineage) == [Placement("train", "/train[3]", "hpc/gpu", "most bytes are there", 7)]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("text", "not the lineage of a task"),
        ([3], "an entry in a lineage that is none"),
        ([{**ENTRY, "more": 1}], "an entry in a lineage that is none"),
        ([{"source": "a"}], "an entry in a lineage that is not complete"),
        ([{**ENTRY, "bytes": "100"}], "an entry in a lineage whose bytes is not what it should be"),
        ([{**ENTRY, "bytes": True}], "an entry in a lineage whose bytes is not what it should be"),
        ([{**ENTRY, "bytes": -1}], "an entry in a lineage with an amount that is not possible"),
        ([{**ENTRY, "bytes": 10**400}], "an entry in a lineage with an amount that is not possible"),
        ([{**ENTRY, "seconds": float("inf")}], "an entry in a lineage with an amount that is not possible"),
        ([{**ENTRY, "seconds": float("nan")}], "an entry in a lineage with an amount that is not possible"),
    ],
)
def test_a_lineage_that_somebody_changed_is_refused(value: Any, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        checked_entries(value)
    assert str(caught.value) == problem


def test_a_lineage_is_read_as_it_was_written() -> None:
    assert checked_entries([ENTRY]) == (LineageEntry.from_json(ENTRY),)
