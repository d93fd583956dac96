# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs of a run beside those of another one."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.crates.comparing import compared, differ, table


def file(name: str, checksum: str | None = "sha1$1", **other: Any) -> dict[str, Any]:
    known = {"class": "File", "location": f"file:///out/{name}", "basename": name, **other}
    return known if checksum is None else {**known, "checksum": checksum}


@pytest.mark.parametrize(
    ("before", "now", "rows"),
    [
        ({"a": file("x")}, {"a": file("x_2")}, [("a", "same")]),
        ({"a": file("x")}, {"a": file("x", "sha1$2")}, [("a", "different")]),
        ({"a": file("x")}, {}, [("a", "missing")]),
        ({"a": None}, {"a": file("x")}, [("a", "new")]),
        ({"a": file("x", None, size=1)}, {"a": file("x")}, [("a", "different")]),
        ({"a": file("x", None, size=1)}, {"a": file("x", size=1)}, [("a", "not known")]),
        ({"a": [file("x"), file("y")]}, {"a": [file("x")]}, [("a[0]", "same"), ("a[1]", "missing")]),
        ({"a": {"n": 1, "f": file("x")}}, {"a": {"n": 2, "f": file("x")}}, [("a/n", "different"), ("a/f", "same")]),
        ({"a": 1}, {"a": True}, [("a", "different")]),
        ({"a": 1}, {"a": 1.0}, [("a", "same")]),
        (
            {"a": {"class": "Directory", "location": "file:///d", "listing": [file("x"), file("y")]}},
            {"a": {"class": "Directory", "location": "file:///e", "listing": [file("x"), file("z")]}},
            [("a/x", "same"), ("a/y", "missing"), ("a/z", "new")],
        ),
        (
            {"a": file("x", secondaryFiles=[file("x.idx")])},
            {"a": file("x", secondaryFiles=[file("x.idx", "sha1$2")])},
            [("a", "same"), ("a/x.idx", "different")],
        ),
    ],
)
def test_outputs_are_compared_part_by_part(before: Any, now: Any, rows: Any) -> None:
    result = compared(before, now)
    assert [(row.name, row.state) for row in result] == rows
    assert differ(result) == any(state in ("different", "missing", "new") for _, state in rows)


def test_the_table() -> None:
    before = {"report": file("r"), "n": 1, "plot\x1b[2J": file("p")}
    assert table(compared(before, {"report": file("r", "sha1$2"), "n": 1, "plot\x1b[2J": file("p")})) == [
        "report       different: was r sha1$1, is r sha1$2",
        "n            same",
        r"plot\x1b[2J  same",
        "the outputs differ: 2 same, 1 different",
    ]
    assert table(compared(before, before))[-1] == "the outputs are the same: 3 compared"


def test_of_many_outputs_only_others_are_shown() -> None:
    before = {"a": [file(f"x{n}") for n in range(500)]}
    now = {"a": [file(f"x{n}", "sha1$2" if n == 77 else "sha1$1") for n in range(500)]}
    assert table(compared(before, now)) == [
        "a[77]  different: was x77 sha1$1, is x77 sha1$2",
        "the outputs differ: 499 same, 1 different",
    ]
