# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A record and reports that cannot be written: before the run, and after it."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_hybrid.errors import HybridError
from airflow_hybrid.runner import __main__ as runner
from airflow_hybrid.runner import crates, reports
from airflow_hybrid.runner.home import LOGIN_VARIABLE, Home

TOOL = "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\ninputs: {num: int}\noutputs: []\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv(LOGIN_VARIABLE, str(tmp_path / "logins"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tool.cwl").write_text(TOOL)
    (tmp_path / "made").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--report", "run.docx"],
            "--report: run.docx: the ending says what is written: .html, .pdf, .png, .svg, .csv, .json",
        ),
        (
            ["--report", "r.html", "--report", "run"],
            "--report: run: the ending says what is written: .html, .pdf, .png, .svg, .csv, .json",
        ),
        (
            ["--report", "none/run.html"],
            "--report: the report cannot be written: {folder}/none is no folder, or not writable",
        ),
        (
            ["--prov", "none/run.zip"],
            "--prov: the crate cannot be written: {folder}/none is no folder, or not writable",
        ),
        (["--prov", "made"], "--prov: the crate cannot be written: {folder}/made is a folder"),
        (
            ["--report", "r.html", "--prov", "made/../r.html"],
            "--prov made/../r.html: --report names the same file\n  -> give each its own file",
        ),
    ],
)
@pytest.mark.parametrize("are_last", [True, False])
def test_what_cannot_be_written_is_told_before_the_run(
    folder: Path, capfd: pytest.CaptureFixture[str], options: list[str], told: str, are_last: bool
) -> None:
    call = ["tool.cwl", "--num", "1", *options] if are_last else [*options, "tool.cwl", "--num", "1"]
    assert runner.main(call) == 1
    assert capfd.readouterr().err == f"airflow-hybrid-runner: {told.format(folder=folder)}\n"


def test_reports_are_kept_apart_from_inputs_and_may_be_in_a_new_outdir(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[argparse.Namespace] = []

    def start(args: argparse.Namespace, *others: Any) -> dict[str, Any]:
        seen.append(args)
        return {}

    monkeypatch.setattr(runner, "_as_dag", start)
    call = [
        "--report",
        "a.html",
        "tool.cwl",
        "--num",
        "1",
        "--report",
        "out/b.json",
        "--report",
        "c.csv",
        "--outdir",
        "out",
    ]
    assert runner.main(call) == 0
    assert seen[0].report == ["a.html", "out/b.json", "c.csv"]


UNEXPECTED = (
    "airflow-hybrid-runner: the {what} of the run is not written: KeyError: 'out'\n"
    "  -> the run itself is not affected; this error is unexpected: report it with what --verbose prints\n"
)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("out"), UNEXPECTED),
        (
            HybridError("too little is known", hint="look"),
            "airflow-hybrid-runner: the {what} of the run is not written: too little is known\n  -> look\n",
        ),
    ],
)
def test_a_record_and_a_report_that_fail_leave_the_results(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    """The exit code and the output object are those of the run."""

    def fail(*arguments: Any) -> None:
        raise error

    result = SimpleNamespace(succeeded=True, outputs={"o": 3}, run_id="r")
    monkeypatch.setattr(runner, "_run_dag", lambda *arguments: (SimpleNamespace(dag_id="d"), result))
    monkeypatch.setattr(Home, "use", lambda *variables: None)  # other tests of this process have imported Airflow
    monkeypatch.setattr(crates, "write_record", fail)
    monkeypatch.setattr(reports, "report_of", fail)
    assert runner.main(["tool.cwl", "--num", "1", "--report", "r.html", "--prov", "p.zip"]) == 0
    captured = capfd.readouterr()
    assert captured.out == '{\n    "o": 3\n}\n'
    assert captured.err == told.format(what="record") + told.format(what="report")
