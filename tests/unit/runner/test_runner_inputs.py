# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a job file may hold for the runner."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.cwl.documents.graphs import load_graph
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
        f"input 'v' must be {wanted}, not \"{text}\"\n  -> in a job file write an object: {{class: {first}, path: ...}}"
    )


@pytest.mark.parametrize(
    ("kind", "value"), [("[File, string]", "in.txt"), ("Any", "in.txt"), ("'string[]'", ["in.txt"])]
)
def test_a_text_is_a_text_where_one_is_wanted(tmp_path: Path, kind: str, value: Any) -> None:
    assert inputs_of(tmp_path, kind, value) == {"v": value}


_TOOL = (
    "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\n"
    "inputs: {times: int, file: File, word: string?}\noutputs: []\n"
)


def _run(folder: Path, monkeypatch: pytest.MonkeyPatch, job: str, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of the runner, and the inputs with which it has started Airflow."""
    from airflow_hybrid.runner import __main__ as runner

    started: list[dict[str, Any]] = []

    def start(
        args: argparse.Namespace, inputs: dict[str, Any], sites: Any, run_folder: Path, home_type: Any
    ) -> dict[str, Any]:
        started.append(inputs)
        return {}

    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(folder / "cache"))
    monkeypatch.setattr(runner, "_as_dag", start)
    monkeypatch.chdir(folder)
    (folder / "tool.cwl").write_text(_TOOL)
    (folder / "in.txt").write_text("x")
    (folder / "job.yml").write_text(job)
    return runner.main([*options, "tool.cwl", "job.yml"]), started


@pytest.mark.parametrize("options", [(), ("--validate",)])
def test_inputs_are_judged_before_airflow_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    job = "times: many\nfile: {class: File, path: nope.txt}\nwrod: x\n"
    code, started = _run(tmp_path, monkeypatch, job, *options)
    assert (code, started) == (1, [])
    assert capfd.readouterr().err == (
        "airflow-hybrid-runner: 'wrod' is not an input of the document: ignored\n  -> did you mean `word`?\n"
        "airflow-hybrid-runner: 2 problems in the inputs\n"
        f"  input 'file': {tmp_path}/nope.txt: No such file or directory\n"
        "  input 'times' must be int, not \"many\"\n"
    )


def test_what_is_not_an_input_is_told_once_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    job = "times: 3\nfile: {class: File, path: in.txt}\nother: 1\n"
    code, started = _run(tmp_path, monkeypatch, job)
    assert code == 0
    assert started == [{"times": 3, "file": {"class": "File", "location": f"file://{tmp_path}/in.txt"}}]
    assert capfd.readouterr().err == (
        "airflow-hybrid-runner: 'other' is not an input of the document: ignored\n"
        "  -> the inputs are: times, file, word\n"
    )


@pytest.mark.parametrize("uri", ["file://{}", "FILE://{}", "file:{}", "file://localhost{}"])
def test_a_job_file_is_named_by_its_uri_in_any_spelling(tmp_path: Path, uri: str) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "tool.cwl").write_text(_TOOL)
    (tmp_path / "a b" / "job.json").write_text('{"times": 3}')
    job = uri.format(str(tmp_path / "a%20b" / "job.json"))
    args = argparse.Namespace(inputs=[job], tool_help=False, basedir=None)
    assert arguments.read_inputs(load_graph(str(tmp_path / "a b" / "tool.cwl")), args, "runner") == {"times": 3}


_DEFAULTS = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs:
  word: {type: string, default: the document's}
  many: {type: "int[]", default: [1, 2]}
  flag: {type: boolean, default: true}
  both: {type: {type: record, fields: {left: int, right: int}}, default: {left: 1, right: 2}}
outputs: []
"""


@pytest.mark.parametrize(
    ("after_the_document", "expected"),
    [
        (["--outdir", "out"], {}),
        (["job.json", "--outdir", "out"], {"word": "the job's"}),
        (["--outdir", "out", "job.json"], {"word": "the job's"}),
        (["--word", "the flag's", "job.json"], {"word": "the flag's"}),
        (["--many", "3", "--outdir", "out", "--many", "4"], {"many": [3, 4]}),
        (["--flag", "--outdir", "out"], {"flag": True}),
        (["--both.right", "5", "--outdir", "out"], {"both": {"left": 1, "right": 5}}),
    ],
)
def test_a_default_of_the_document_is_no_input_of_the_run(
    tmp_path: Path, after_the_document: list[str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tool.cwl").write_text(_DEFAULTS)
    (tmp_path / "job.json").write_text('{"word": "the job\'s"}')
    args = argparse.Namespace(
        inputs=after_the_document, tool_help=False, basedir=None, document="tool.cwl", outdir="before"
    )
    assert arguments.read_inputs(load_graph(str(tmp_path / "tool.cwl")), args, "runner") == expected
    assert args.outdir == ("out" if "--outdir" in after_the_document else "before")
