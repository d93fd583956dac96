# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files and Directories are found and replaced wherever they are in a value."""

from __future__ import annotations

import copy
from typing import Any

from airflow_hybrid.cwl.documents.trust.roots import located
from airflow_hybrid.model.walking import files, location_of, map_files, map_outermost_files, objects, outermost_files


def file(name: str, **more: Any) -> dict[str, Any]:
    return {"class": "File", "location": f"file:///{name}", **more}


VALUE = {
    "one": file("a", secondaryFiles=[file("a.idx")]),
    "record": {"x": [1, file("b")], "class": ["no", "text"]},
    "folder": {"class": "Directory", "location": "file:///d", "listing": [file("d/e")]},
    "pair": (file("p"), "text", None),
}


def locations(items: Any) -> list[str]:
    return [item["location"].removeprefix("file:///") for item in items]


def test_every_file_is_found_before_what_is_beside_or_in_it() -> None:
    assert locations(files(VALUE)) == ["a", "a.idx", "b", "d", "d/e", "p"]
    assert locations(outermost_files(VALUE)) == ["a", "b", "d", "p"]
    assert locations(files(VALUE, skip=lambda _, key: key == "listing")) == ["a", "a.idx", "b", "d", "p"]
    assert list(files(["File", None, 3, {"class": "Files"}])) == []


def test_every_object_is_found_once() -> None:
    assert [item.get("location", "-") for item in objects({"a": {"b": {}}, "c": [{}]})] == ["-"] * 4


def test_an_object_may_be_changed_when_it_comes() -> None:
    value: dict[str, Any] = {"class": "Directory", "location": "file:///d"}
    names = []
    for item in files(value):
        names.append(item["location"])
        if item is value:
            value["listing"] = [file("d/x")]
    assert names == ["file:///d", "file:///d/x"]


def test_a_value_that_is_deeper_than_calls_may_be_is_walked() -> None:
    value: Any = file("deep")
    for _ in range(5_000):
        value = [value]
    assert locations(files(value)) == ["deep"]


def test_files_are_replaced_from_the_inside_in_a_copy() -> None:
    before = copy.deepcopy(VALUE)
    order = []

    def short(item: dict[str, Any]) -> str:
        order.append(item["location"].removeprefix("file:///"))
        inner = [*item.get("secondaryFiles", ()), *item.get("listing", ())]
        return "+".join([order[-1], *inner])

    assert map_files(short, VALUE) == {
        "one": "a+a.idx",
        "record": {"x": [1, "b"], "class": ["no", "text"]},
        "folder": "d+d/e",
        "pair": ["p", "text", None],
    }
    assert order == ["a.idx", "a", "b", "d/e", "d", "p"]
    assert before == VALUE


def test_outermost_files_are_replaced_as_they_are() -> None:
    assert map_outermost_files(lambda item: sorted(item), VALUE) == {
        "one": ["class", "location", "secondaryFiles"],
        "record": {"x": [1, ["class", "location"]], "class": ["no", "text"]},
        "folder": ["class", "listing", "location"],
        "pair": [["class", "location"], "text", None],
    }


def test_a_location_of_null_hides_no_path() -> None:
    assert location_of({"class": "File", "location": None, "path": "/etc/passwd"}) == "/etc/passwd"
    assert location_of({"class": "File", "location": "a", "path": "b"}) == "a"
    assert location_of({"class": "File", "contents": "x"}) is None
    assert [dict(item) for item in located([{"class": "File", "location": None, "path": "/p"}])] == [
        {"class": "File", "location": None, "path": "/p"}
    ]
