# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a job file may hold for the runner."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.cwl.cache import load_graph
from airflow_hybrid.errors import InputError
from airflow_hybrid.runner import arguments


def inputs_of(folder: Path, kind: str, value: Any) -> Any:
    (folder / "tool.cwl").write_text(
        f"cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\ninputs: {{v: {{type: {kind}}}}}\noutputs: []\n"
    )
    (folder / "job.json").write_text(json.dumps({"v": value}))
    args = argparse.Namespace(inputs=[str(folder / "job.json")], tool_help=False, basedir=None)
    return arguments.read_inputs(load_graph(str(folder / "tool.cwl")), args, "runner")


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("File", "in.txt", "File"),
        ("Directory?", "folder", "Directory"),
        ("[File, Directory]", "x", "File or Directory"),
        ("'File[]'", ["in.txt"], "File"),
    ],
)
def test_a_text_is_no_file(tmp_path: Path, kind: str, value: Any, wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        inputs_of(tmp_path, kind, value)
    text = value[0] if isinstance(value, list) else value
    first = wanted.partition(" ")[0]
    assert str(caught.value) == (
        f"input 'v' must be {wanted}, not \"{text}\"\n  -> in a job file it is an object: {{class: {first}, path: ...}}"
    )


@pytest.mark.parametrize(
    ("kind", "value"), [("[File, string]", "in.txt"), ("Any", "in.txt"), ("'string[]'", ["in.txt"])]
)
def test_a_text_is_a_text_where_one_is_wanted(tmp_path: Path, kind: str, value: Any) -> None:
    assert inputs_of(tmp_path, kind, value) == {"v": value}
