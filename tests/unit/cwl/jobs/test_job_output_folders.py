# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs that tools describe themselves, and folders with links in them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import FileFact, SiteFacts
from tests.raising import raising
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.jobs.pending_jobs import DIR, collect, file, produced, uri

OUT = f"{DIR}/out"


def evaluated(bench: Bench, kind: str, value: str) -> Any:
    """The output of an expression, of a job that has made nothing."""
    return collect(bench, f"{{type: {kind}, outputBinding: {{outputEval: '$({value})'}}}}", produced())


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (
            "File",
            '{"class": "File", "basename": "l", "contents": "t"}',
            {"class": "File", "basename": "l", "contents": "t"},
        ),
        (
            "Directory",
            '{"class": "Directory", "basename": "d", "listing": []}',
            {"class": "Directory", "basename": "d"},
        ),
        (
            "Directory",
            '{"class": "Directory", "basename": "d", "listing": [{"class": "File", "basename": "l", "contents": "t"}]}',
            {
                "class": "Directory",
                "basename": "d",
                "listing": [{"class": "File", "basename": "l", "contents": "t"}],
            },
        ),
    ],
)
def test_a_literal_has_contents_or_members_and_no_place(
    bench: Bench, kind: str, value: str, expected: dict[str, Any]
) -> None:
    assert evaluated(bench, kind, value) == expected


@pytest.mark.parametrize("name", ["../x", "a/b", ".", ".."])
def test_the_basename_of_an_output_is_no_path(bench: Bench, name: str) -> None:
    message = f"/main: the basename of an output is {name!r}, which is not the name of a File"
    with raising(CwlError, message):
        evaluated(bench, "File", f'{{"class": "File", "basename": "{name}", "contents": "t"}}')


def in_a_folder(**entries: FileFact) -> SiteFacts:
    """Facts of an output directory with a file ``f`` and a folder ``d``, which has these entries."""
    facts = produced(d="d", f="f")
    facts.listings[f"{OUT}/d"] = tuple(entries)
    facts.files.update({f"{OUT}/d/{name}": fact for name, fact in entries.items()})
    return facts


def link(kind: str, to: str) -> FileFact:
    return FileFact(kind, 3, "sha1$abc" if kind == "f" else None, to)


FOLDER = "{type: Directory, outputBinding: {glob: d}}"
PLAIN = FileFact("f", 3, "sha1$abc")


def member(name: str, path: str) -> dict[str, Any]:
    return {"class": "File", "location": uri(path), "basename": name, "size": 3, "checksum": "sha1$abc"}


@pytest.mark.parametrize(
    ("entries", "listing"),
    [
        ({"l": link("f", f"{OUT}/f")}, [member("l", f"{OUT}/f")]),
        ({"x": PLAIN, "l": link("f", f"{OUT}/f")}, [member("x", f"{OUT}/d/x"), member("l", f"{OUT}/f")]),
        # a link to nothing has no name in CWL, and one to a folder that it is in has no end
        ({"l": link("f", f"{OUT}/f"), "dead": FileFact("?", realpath=f"{OUT}/none")}, [member("l", f"{OUT}/f")]),
        ({"l": link("f", f"{OUT}/f"), "up": link("d", OUT)}, [member("l", f"{OUT}/f")]),
        ({"l": link("f", f"{OUT}/f"), "self": link("d", f"{OUT}/d")}, [member("l", f"{OUT}/f")]),
    ],
)
def test_a_folder_with_links_is_the_files_that_they_lead_to(
    bench: Bench, entries: dict[str, FileFact], listing: list[dict[str, Any]]
) -> None:
    found = collect(bench, FOLDER, in_a_folder(**entries))
    assert found == {"class": "Directory", "basename": "d", "listing": listing}


def test_a_folder_without_links_is_one_place(bench: Bench) -> None:
    found = collect(bench, FOLDER, in_a_folder(x=PLAIN))
    assert found == {"class": "Directory", "location": uri(f"{OUT}/d"), "basename": "d"}


def test_a_link_in_a_folder_to_an_input_is_that_input(bench: Bench) -> None:
    facts = in_a_folder(l=FileFact("f", 3, "sha1$abc", "/store/x/a.txt"))
    found = collect(bench, FOLDER, facts, {"x": file()})
    assert [item["location"] for item in found["listing"]] == [file()["location"]]


def test_a_fifo_in_a_folder_is_left_out(bench: Bench) -> None:
    found = collect(bench, FOLDER, in_a_folder(x=PLAIN, pipe=FileFact("?", special="p"), l=link("f", f"{OUT}/f")))
    assert [item["basename"] for item in found["listing"]] == ["x", "l"]


def test_links_that_multiply_members_come_to_an_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__OUTPUT_MEMBERS", "2")
    names = {f"l{i}": link("f", f"{OUT}/f") for i in range(3)}
    with raising(CwlError, f"/main: following its links, the output {OUT}/d has over 2 members"):
        collect(bench, FOLDER, in_a_folder(**names))
