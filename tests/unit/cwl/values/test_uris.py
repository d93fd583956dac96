# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``file:`` URIs that people and tools write, in all their spellings: one reader for all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_hybrid.cwl.documents.graphs import load_graph
from airflow_hybrid.cwl.given.settings import load_inputs
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model.locations import is_uri, path_or_uri, tidy_path
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.driver import text_of

SPELLINGS = ["file://{}", "FILE://{}", "file:{}", "File:{}", "file://localhost{}", "file://LOCALHOST{}"]
ECHO = "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\ninputs: []\noutputs: []\n"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_document_may_be_named_by_its_uri(tmp_path: Path, spelling: str) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    (folder / "ü.cwl").write_text(ECHO)
    graph = load_graph(spelling.format(f"{tmp_path}/a%20b/%C3%BC.cwl"))
    assert graph.source == f"file://{tmp_path}/a%20b/%C3%BC.cwl"


@pytest.mark.parametrize("spelling", ["{}", "file://{}", "file:{}"])
def test_the_uri_of_a_document_has_no_dots(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "w.cwl").write_text(ECHO)
    graph = load_graph(spelling.format(f"{tmp_path}/a/.././w.cwl"), cache_dir=tmp_path / "cache")
    assert graph.source == f"file://{tmp_path}/w.cwl"


def test_a_path_through_a_link_names_the_document_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "deep/down").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep/down")
    (tmp_path / "deep/w.cwl").write_text(ECHO)
    (tmp_path / "w.cwl").write_text(ECHO)
    graph = load_graph(f"{tmp_path}/link/../w.cwl", cache_dir=tmp_path / "cache")
    assert graph.source == f"file://{tmp_path}/deep/w.cwl"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_document_that_is_not_there_is_told_by_its_path(tmp_path: Path, spelling: str) -> None:
    with pytest.raises(CwlError) as caught:
        load_graph(spelling.format(f"{tmp_path}/a%20b.cwl"))
    assert str(caught.value) == f"no such CWL file: {tmp_path}/a b.cwl"


@pytest.mark.parametrize("field", ["path", "location"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_file_of_an_inputs_file_is_not_taken_for_a_relative_path(tmp_path: Path, field: str, spelling: str) -> None:
    uri = spelling.format("/data/a%20b")
    (tmp_path / "job.json").write_text(json.dumps({"f": {"class": "File", field: uri}}))
    assert load_inputs(str(tmp_path / "job.json")) == {"f": {"class": "File", "location": uri}}


@pytest.mark.parametrize("spelling", ["file://{}", "file://localhost{}", "file://{}/."])
def test_a_tool_may_name_its_output_by_its_uri(bench: Bench, spelling: str) -> None:
    location = spelling.format("%s") + "/a%%20b"
    document = json.dumps({"o": {"class": "File", "location": location}})
    command = json.dumps(f"echo hi > 'a b'; printf '{document}' \"$PWD\"")
    text = (
        "class: CommandLineTool\ninputs: []\noutputs: {o: File}\nbaseCommand: [sh, -c]\n"
        f"arguments: [{command}]\nstdout: cwl.output.json\n"
    )
    assert text_of(bench.run(text)["o"]) == "hi\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file:///a%20b", "/a b"),
        ("FILE:/a/b/", "/a/b"),
        ("file://localhost/a#main", "/a#main"),
        ("file:///a%23b#main", "file:///a%23b#main"),
        ("http://h/a#b", "http://h/a#b"),
        ("a:b.cwl#x", "a:b.cwl#x"),
        ("file://other/x", "file://other/x"),
    ],
)
def test_a_reference_is_a_path_where_it_can_be_one(text: str, expected: str) -> None:
    assert path_or_uri(text) == expected


def test_what_is_a_uri_and_what_a_path() -> None:
    assert [is_uri(text) for text in ("file:/x", "FILE:///x", "http://h", "x", "file:x", "a:b.cwl")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert [tidy_path(text) for text in ("file:///a//b/../c", "file:x", "/a", "http://h/a")] == [
        "/a/c",
        None,
        None,
        None,
    ]
