# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What takes the place of a file that was made again: never another file."""

from __future__ import annotations

from airflow_hybrid.model import CwlObject, JsonValue
from airflow_hybrid.operators.recovery.renewed import Renewed


def _file(batch: str, name: str, content: str = "x") -> CwlObject:
    location = f"hybrid://here/localhost/w/d/r/t/g0-0123456789/{batch}/00000-x/out/{name}"
    return {"class": "File", "location": location, "basename": name, "size": 1, "checksum": f"sha1${content}"}


def _after(old: JsonValue, new: JsonValue, value: JsonValue) -> tuple[JsonValue, list[str]]:
    """A value after files were made again, and the names of those that have another content."""
    renewed = Renewed()
    changed = renewed.note(old, new)
    return renewed.applied(value), [location.rpartition("/")[2] for location in changed]


def test_files_that_a_pattern_finds_in_another_order_are_matched_by_their_names() -> None:
    old: list[JsonValue] = [_file("a1-1", "a"), _file("a1-1", "b"), _file("a1-1", "c")]
    new: list[JsonValue] = [_file("a2-1", "b"), _file("a2-1", "c", "y"), _file("a2-1", "d")]
    # `a` was not made this time: it stays as it was, and is not `b`
    assert _after(old, new, old) == ([old[0], new[0], new[1]], ["c"])


def test_outputs_of_the_same_name_are_those_of_the_same_jobs() -> None:
    old: list[JsonValue] = [_file("a1-1", "f"), _file("a1-2", "f"), _file("a1-3", "f")]
    new: list[JsonValue] = [None, _file("a2-2", "f"), None]
    assert _after(old, new, old) == ([old[0], new[1], old[2]], [])
