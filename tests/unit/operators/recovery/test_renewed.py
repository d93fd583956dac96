# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Values in which files that were made again have taken the place of lost ones."""

from __future__ import annotations

import itertools
from typing import Any

from airflow_hybrid.model import CwlObject, JsonValue
from airflow_hybrid.operators.recovery.renewed import Renewed


def file(name: str, text: str = "", **more: Any) -> dict[str, Any]:
    size = len(text)
    return {"class": "File", "location": f"file:///{name}", "basename": name.split("/")[-1], "size": size,
            "checksum": f"sha1${text}", **more}  # fmt: skip


def test_a_file_takes_its_place_wherever_a_value_names_it_and_other_files_stay() -> None:
    renewed = Renewed()
    first = file("a1/x", "X", secondaryFiles=[file("a1/x.idx", "I")])
    second = file("a2/x", "X", secondaryFiles=[file("a2/x.idx", "I")])
    old, new = [first, file("a1/y", "Y"), None], [second, None, None]
    assert renewed.note(old, new) == []
    value = {"z": [old[1], {**first, "contents": "X"}], "n": 3}
    assert renewed.applied(value) == {"z": [old[1], {**second, "contents": "X"}], "n": 3}
    assert renewed.originals == {"file:///a2/x": "file:///a1/x", "file:///a2/x.idx": "file:///a1/x.idx"}


def test_another_content_is_told_and_what_was_read_of_the_old_one_is_dropped() -> None:
    renewed = Renewed()
    assert renewed.note({"o": file("a1/x", "X")}, {"o": file("a2/x", "other")}) == ["file:///a1/x"]
    assert renewed.applied(file("a1/x", "X", contents="X")) == file("a2/x", "other")


def test_a_member_of_a_folder_moves_with_it() -> None:
    renewed = Renewed()
    folder = {"class": "Directory", "location": "file:///a1/d", "basename": "d"}
    renewed.note(folder, {**folder, "location": "file:///a2/d"})
    assert renewed.holds("file:///a1/d/deep/x") and not renewed.holds("file:///a1/dx")
    assert renewed.applied(file("a1/d/deep/x", "X")) == file("a2/d/deep/x", "X")


def test_what_is_lost_twice_is_found_where_it_is_now() -> None:
    renewed = Renewed()
    renewed.note(file("a1/x", "X"), file("a2/x", "X"))
    renewed.note(renewed.applied(file("a1/x", "X")), file("a3/x", "X"))
    assert renewed.applied(file("a1/x", "X")) == file("a3/x", "X")
    assert renewed.originals == {"file:///a3/x": "file:///a1/x"}


def test_the_only_output_of_a_job_may_have_another_name_each_time() -> None:
    old: list[JsonValue] = [of_job("a1-1", "tmp.x1")]
    new: list[JsonValue] = [of_job("a2-2", "tmp.y7")]
    assert _after(old, new, old)[0] == [{**of_job("a2-2", "tmp.y7"), "basename": "tmp.x1"}]


def test_two_files_that_took_each_others_place_end_nowhere() -> None:
    renewed = Renewed()
    renewed.note([file("p", "P"), file("q", "Q")], [file("q", "Q"), file("p", "P")])
    assert renewed.applied(file("p", "P"))["location"] in ("file:///p", "file:///q")


def of_job(batch: str, name: str, content: str = "x") -> CwlObject:
    location = f"hybrid://here/localhost/w/d/r/t/g0-0123456789/{batch}/00000-x/out/{name}"
    return {"class": "File", "location": location, "basename": name, "size": 1, "checksum": f"sha1${content}"}


def _after(old: JsonValue, new: JsonValue, value: JsonValue) -> tuple[JsonValue, list[str]]:
    """A value after files were made again, and the names of those that have another content."""
    renewed = Renewed()
    changed = renewed.note(old, new)
    return renewed.applied(value), [location.rpartition("/")[2] for location in changed]


def test_files_that_a_pattern_finds_in_another_order_are_matched_by_their_names() -> None:
    old: list[JsonValue] = [of_job("a1-1", "a"), of_job("a1-1", "b"), of_job("a1-1", "c")]
    new: list[JsonValue] = [of_job("a2-1", "b"), of_job("a2-1", "c", "y"), of_job("a2-1", "d")]
    # `a` was not made this time: it stays as it was, and is not `b`
    assert _after(old, new, old) == ([old[0], new[0], new[1]], ["c"])


def test_outputs_of_the_same_name_are_those_of_the_same_jobs() -> None:
    old: list[JsonValue] = [of_job("a1-1", "f"), of_job("a1-2", "f"), of_job("a1-3", "f")]
    new: list[JsonValue] = [None, of_job("a2-2", "f"), None]
    assert _after(old, new, old) == ([old[0], new[1], old[2]], [])


def test_a_value_that_somebody_has_made_takes_no_longer_than_its_length() -> None:
    names = [f"file:///{number}" for number in range(100_000)]
    renewed = Renewed.from_json({old: {"location": new} for old, new in itertools.pairwise(names)})
    slashes = {"class": "File", "location": "file:///" + "a/" * 1_000_000}
    firsts = [{"class": "File", "location": names[0]}] * 1000
    assert renewed.applied([slashes, *firsts])[0] == slashes
