# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Values in which files that were made again have taken the place of lost ones."""

from __future__ import annotations

from typing import Any

from airflow_hybrid.operators.recovery.renewed import Renewed


def file(name: str, text: str = "", **more: Any) -> dict[str, Any]:
    size = len(text)
    return {"class": "File", "location": f"file:///{name}", "basename": name.split("/")[-1], "size": size,
            "checksum": f"sha1${text}", **more}  # fmt: skip


def test_a_file_takes_its_place_wherever_a_value_names_it_and_other_files_stay() -> None:
    renewed = Renewed()
    old = [file("a1/x", "X", secondaryFiles=[file("a1/x.idx", "I")]), file("a1/y", "Y"), None]
    new = [file("a2/x", "X", secondaryFiles=[file("a2/x.idx", "I")]), None, None]
    assert renewed.note(old, new) == []
    value = {"z": [old[1], {**old[0], "contents": "X"}], "n": 3}
    assert renewed.applied(value) == {"z": [old[1], {**new[0], "contents": "X"}], "n": 3}
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


def test_two_files_that_took_each_others_place_end_nowhere() -> None:
    renewed = Renewed()
    renewed.note([file("p", "P"), file("q", "Q")], [file("q", "Q"), file("p", "P")])
    assert renewed.applied(file("p", "P"))["location"] in ("file:///p", "file:///q")
