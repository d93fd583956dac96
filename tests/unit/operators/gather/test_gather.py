# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs in ``outdir``: names, contents, and what is refused."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import CwlObject
from airflow_hybrid.operators.gather.gathering import gather
from airflow_hybrid.operators.gather.record import RECORD
from airflow_hybrid.operators.gather.rules import OutputRules
from tests.raising import raising


def file(path: Path, text: str, **more: Any) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    checksum = "sha1$" + hashlib.sha1(text.encode()).hexdigest()
    about = {"basename": path.name, "size": len(text), "checksum": checksum}
    return {"class": "File", "location": path.as_uri(), **about, **more}


def gathered(outputs: CwlObject, outdir: Path, **more: Any) -> CwlObject:
    rules = OutputRules(logging.getLogger("t"), **more)
    return asyncio.run(gather(outputs, str(outdir), parse_deployments({}), None, rules))[0]


def names(folder: Path) -> list[str]:
    """What is in an ``outdir`` besides the record of what is whose."""
    return sorted(path.name for path in folder.iterdir() if path.name != RECORD)


def content(item: dict[str, Any]) -> str:
    return Path(unquote(item["location"].removeprefix("file://"))).read_text()


def test_outputs_of_one_name_are_told_apart_and_one_file_is_brought_once(tmp_path: Path) -> None:
    first, second = file(tmp_path / "1/out.txt", "one"), file(tmp_path / "2/out.txt", "two")
    value = gathered({"all": [first, second, first], "again": second}, tmp_path / "out")
    assert [content(item) for item in value["all"]] == ["one", "two", "one"]
    assert value["again"]["location"] == value["all"][1]["location"]
    assert names(tmp_path / "out") == ["out.txt", "out.txt_2"]


def test_secondary_files_stay_beside_their_primary(tmp_path: Path) -> None:
    index = file(tmp_path / "1/a.txt.idx", "index")
    value = gathered({"o": file(tmp_path / "1/a.txt", "x", secondaryFiles=[index])}, tmp_path / "out")
    assert value["o"]["secondaryFiles"][0]["location"] == (tmp_path / "out/a.txt.idx").as_uri()


def test_a_literal_and_a_directory_with_its_listing(tmp_path: Path) -> None:
    file(tmp_path / "d/deep/x y.txt", "deep")
    folder = {"class": "Directory", "location": (tmp_path / "d").as_uri(), "basename": "d"}
    literal = {"class": "File", "basename": "l.txt", "contents": "literal"}
    value = gathered({"d": folder, "l": literal, "n": None, "i": 3}, tmp_path / "out")
    assert content(value["l"]) == "literal" and value["l"]["size"] == 7 and value["l"]["checksum"]
    (deep,) = value["d"]["listing"]
    assert (deep["basename"], deep["listing"][0]["basename"]) == ("deep", "x y.txt")
    assert content({"location": deep["listing"][0]["location"].replace("%20", " ")}) == "deep"
    assert (value["n"], value["i"]) == (None, 3)


def test_a_directory_is_brought_whole_and_needs_its_source_no_more(tmp_path: Path) -> None:
    file(tmp_path / "job/d/deep/x.txt", "deep")
    (tmp_path / "job/d/empty").mkdir()
    staged = tmp_path / "job/staged.txt"
    staged.write_text("staged")
    (tmp_path / "job/d/link.txt").symlink_to(staged)
    (tmp_path / "job/d/near.txt").symlink_to("deep/x.txt")
    (tmp_path / "job/d/gone").symlink_to("nowhere")
    (tmp_path / "job/d/self").symlink_to(tmp_path / "job/d")
    folder = {"class": "Directory", "location": (tmp_path / "job/d").as_uri(), "basename": "d"}
    value = gathered({"d": folder}, tmp_path / "out")
    shutil.rmtree(tmp_path / "job")
    assert (tmp_path / "out/d/deep/x.txt").read_text() == "deep"
    assert (tmp_path / "out/d/link.txt").read_text() == "staged"
    assert (tmp_path / "out/d/near.txt").read_text() == "deep"
    assert [item["basename"] for item in value["d"]["listing"]] == ["deep", "empty", "link.txt", "near.txt"]


def test_a_file_that_was_changed_after_it_was_produced_is_refused(tmp_path: Path) -> None:
    item = file(tmp_path / "1/out.txt", "one")
    (tmp_path / "1/out.txt").write_text("changed")
    message = (
        f"{tmp_path}/1/out.txt was changed after it was produced: its checksum is sha1$"
        f"{hashlib.sha1(b'changed').hexdigest()}, not sha1${hashlib.sha1(b'one').hexdigest()}\n"
        "  -> clear the task that made it to make it again"
    )
    with raising(TransferError, message):
        gathered({"o": item}, tmp_path / "out")
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("name", ["../x", "a/b", ".."])
def test_an_unusable_name_is_refused(tmp_path: Path, name: str) -> None:
    item = {**file(tmp_path / "1/out.txt", "one"), "basename": name}
    with raising(TransferError, f"an output has the unusable name {name!r}"):
        gathered({"o": item}, tmp_path / "out")
