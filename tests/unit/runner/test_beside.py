# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A report or a record of a run never takes the place of an output of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.runner.beside import free_path


def output(path: Path, kind: str = "File") -> dict[str, Any]:
    return {"class": kind, "location": path.as_uri()}


def test_the_path_of_an_output_gets_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, second = tmp_path / "my report.html", tmp_path / "my report-2.html"
    path.touch()
    second.touch()
    outputs = {"one": output(path), "more": [{**output(tmp_path / "x"), "secondaryFiles": [output(second)]}]}
    assert free_path(str(path), outputs, "airflow hybrid run") == str(tmp_path / "my report-3.html")
    assert capsys.readouterr().err == f"airflow hybrid run: {path} is an output of the run, and stays as it is\n"


def test_so_does_a_file_in_an_output_folder_and_a_link_to_an_output(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    inside, link = tmp_path / "made" / "p.zip", tmp_path / "link.zip"
    inside.touch()
    link.symlink_to(inside)
    outputs = {"made": output(tmp_path / "made", "Directory"), "zip": output(inside)}
    assert free_path(str(inside), outputs, "p") == str(inside.with_name("p-2.zip"))
    assert free_path(str(link), outputs, "p") == str(link.with_name("link-2.zip"))


@pytest.mark.parametrize("outputs", [None, {}, {"a": 1}, {"a": {"class": "File", "location": "https://h/r.html"}}])
def test_all_other_paths_stay(
    tmp_path: Path, outputs: dict[str, Any] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = tmp_path / "report.html"
    earlier.touch()
    assert free_path(str(earlier), outputs, "p") == str(earlier)
    assert capsys.readouterr().err == ""
