# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a run was given is not replaced by its outputs, and an output that is renamed is said."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
from airflow.sdk.io import fs

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.model import CwlObject
from airflow_hybrid.operators.gather.gathering import gather
from airflow_hybrid.operators.gather.kept import ProtectedInputs
from airflow_hybrid.operators.gather.rules import OutputRules

from .test_gather import content, file, names


def run_of(
    outputs: CwlObject, outdir: Path | str, *given: dict[str, Any], run: str, existing: str = "replace"
) -> CwlObject:
    """Gather the outputs of a run that was given Files and Directories."""
    rules = OutputRules(logging.getLogger("t"), run, existing, lambda: given)
    return asyncio.run(gather(outputs, str(outdir), parse_deployments({}), None, rules))[0]


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder with outputs of an earlier run, among them a folder."""
    file(tmp_path / "1/d/data.txt", "first")
    folder = {"class": "Directory", "location": (tmp_path / "1/d").as_uri(), "basename": "d"}
    run_of({"o": file(tmp_path / "1/data.txt", "first"), "d": folder}, tmp_path / "q", run="1")
    return tmp_path / "q"


def located(path: Path, kind: str = "File") -> dict[str, Any]:
    return {"class": kind, "location": path.as_uri()}


@pytest.mark.parametrize(("run", "existing"), [("2", "replace"), ("1", "rename")])
@pytest.mark.parametrize(
    "way", ["itself", "link", "hard link", "in a folder", "linked from a folder", "path", "shared"]
)
def test_an_input_is_not_replaced(earlier: Path, tmp_path: Path, way: str, run: str, existing: str) -> None:
    source = earlier / "data.txt"
    given = located(source)
    if way == "path":
        given = {"class": "File", "path": str(source)}
    elif way == "shared":
        given["location"] = f"hybrid://cluster/login{source}"
    elif way == "link":
        (tmp_path / "alias").symlink_to(source)
        given = located(tmp_path / "alias")
    elif way == "hard link":
        os.link(source, tmp_path / "alias")
        given = located(tmp_path / "alias")
    elif way != "itself":
        (tmp_path / "folder").mkdir()
        if way == "in a folder":
            os.link(source, tmp_path / "folder/other")
        else:
            (tmp_path / "folder/other").symlink_to(source)
        given = located(tmp_path / "folder", "Directory")
    value = run_of({"o": file(tmp_path / "2/data.txt", "second")}, earlier, given, run=run, existing=existing)
    assert source.read_text() == "first"
    assert value["o"]["location"] == (earlier / "data.txt_2").as_uri() and content(value["o"]) == "second"


def test_an_input_that_is_handed_on_stays_beside_a_new_output_of_its_name(earlier: Path, tmp_path: Path) -> None:
    handed = file(earlier / "data.txt", "first")
    run_of({"o": file(tmp_path / "1/other.txt", "x")}, earlier, run="0")
    value = run_of({"o": file(tmp_path / "2/data.txt", "second"), "p": handed}, earlier, run="2")
    assert value["p"]["location"] == (earlier / "data.txt").as_uri() and content(value["p"]) == "first"
    assert value["o"]["location"] == (earlier / "data.txt_2").as_uri() and content(value["o"]) == "second"


def test_a_secondary_file_that_was_given_gives_the_group_another_name(earlier: Path, tmp_path: Path) -> None:
    group = file(tmp_path / "2/x", "x", secondaryFiles=[file(tmp_path / "2/data.txt", "second")])
    value = run_of({"o": group}, earlier, located(earlier / "data.txt"), run="2")
    assert names(earlier) == ["d", "data.txt", "data.txt_2", "x_2"]
    assert (earlier / "data.txt").read_text() == "first" and content(value["o"]) == "x"


def test_nothing_is_put_into_a_folder_that_was_given(earlier: Path, tmp_path: Path) -> None:
    file(tmp_path / "2/d/new", "new")
    made = {"class": "Directory", "location": (tmp_path / "2/d").as_uri(), "basename": "d"}
    for _ in range(2):  # a retry ends as the first try
        value = run_of({"d": made}, earlier, located(earlier / "d", "Directory"), run="2")
        assert [path.name for path in (earlier / "d").iterdir()] == ["data.txt"]
        assert value["d"]["location"] == (earlier / "d_2").as_uri()
        assert [item["basename"] for item in value["d"]["listing"]] == ["new"]
    assert names(earlier) == ["d", "d_2", "data.txt"]


@pytest.mark.parametrize("above", [".", ".."])
def test_in_a_folder_that_was_given_only_the_runs_own_outputs_are_replaced(
    earlier: Path, tmp_path: Path, above: str
) -> None:
    given = located(Path(os.path.normpath(earlier / above)), "Directory")
    for text in ("second", "third"):
        value = run_of({"o": file(tmp_path / text / "data.txt", text)}, earlier, given, run="2")
        assert names(earlier) == ["d", "data.txt", "data.txt_2"]
        assert (earlier / "data.txt").read_text() == "first" and content(value["o"]) == text


def test_what_an_earlier_try_has_put_there_is_not_taken_away_if_it_was_given(earlier: Path, tmp_path: Path) -> None:
    run_of({"o": file(tmp_path / "2/new", "new")}, earlier, located(earlier / "data.txt"), run="1", existing="rename")
    assert names(earlier) == ["data.txt", "new"]


def test_an_input_that_could_not_be_seen_counts_by_its_path(tmp_path: Path) -> None:
    inputs = ProtectedInputs(lambda: [located(tmp_path / "f"), located(tmp_path / "d", "Directory")], str(tmp_path))
    file(tmp_path / "other", "x")
    assert not inputs.holds("other", os.stat(tmp_path / "other"))
    for name in ("f", "d/e/g"):
        file(tmp_path / name, "x")
        assert inputs.holds(name, os.stat(tmp_path / name))


def test_inputs_are_not_looked_at_where_nothing_could_be_replaced(tmp_path: Path) -> None:
    def asked() -> list[dict[str, Any]]:
        raise AssertionError("nothing is there")

    rules = OutputRules(logging.getLogger("t"), "1", "replace", asked)
    outputs = {"o": file(tmp_path / "1/o", "x")}
    work = gather(outputs, str(tmp_path / "q"), parse_deployments({}), None, rules)
    assert content(asyncio.run(work)[0]["o"]) == "x"


def test_an_object_that_was_given_is_not_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    monkeypatch.setattr(fs, "_register_filesystems", lambda: {"memory": lambda conn_id, options: store})
    url = "memory://bucket-of-inputs/q"
    try:
        run_of({"o": file(tmp_path / "1/x y", "first")}, url, run="1")
        given = {"class": "File", "location": "memory://other@bucket-of-inputs/q/x%20y"}
        value = run_of({"o": file(tmp_path / "2/x y", "second")}, url, given, run="2")
        assert value["o"]["location"] == f"{url}/x%20y_2"
        assert (store.cat("/bucket-of-inputs/q/x y"), store.cat("/bucket-of-inputs/q/x y_2")) == (b"first", b"second")
    finally:
        store.rm("/bucket-of-inputs", recursive=True)


def test_each_output_that_is_renamed_is_said_once(
    earlier: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (earlier / "d/more").write_text("mine")
    file(tmp_path / "2/d/more", "x")
    folder = {"class": "Directory", "location": (tmp_path / "2/d").as_uri(), "basename": "d"}
    outputs: CwlObject = {
        "o": file(tmp_path / "2/data.txt", "x", secondaryFiles=[file(tmp_path / "2/data.txt.idx", "x")]),
        "twins": [file(tmp_path / "a/twin", "a"), file(tmp_path / "b/twin", "b")],
        "d": folder,
    }
    run_of(outputs, earlier, run="2", existing="rename")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{earlier}/data.txt exists already and stays: the output is named data.txt_2",
        f"{earlier}/twin is another output of this run: this output is named twin_2",
        f"{earlier}/d/more exists already and stays: the output is named more_2",
    ]


def test_warnings_of_renamed_outputs_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_of({"all": [file(tmp_path / f"{n}/x", str(n)) for n in range(30)]}, tmp_path / "q", run="1")
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    twins = [f"{tmp_path}/q/x is another output of this run: this output is named x_{n}" for n in range(2, 22)]
    assert said == [*twins, "9 more outputs are renamed"]
