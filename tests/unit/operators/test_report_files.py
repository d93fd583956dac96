# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The report beside the outputs: who asks for it, and what is said if it cannot be written."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid import HybridDag, load_dags
from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.operators.gather.rules import OutputRules
from airflow_hybrid.operators.outputs import OutputsOperator
from airflow_hybrid.operators.published import report_files

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "dags/hello/main.cwl"


def outputs_of(dag: HybridDag) -> OutputsOperator:
    task = dag.task_dict["outputs"]
    assert isinstance(task, OutputsOperator)
    return task


@pytest.mark.parametrize(
    ("line", "formats"),
    [
        ("report: true", ("html", "json", "csv")),
        ("report: [pdf, html, pdf]", ("pdf", "html")),
        ("report: false", ()),
        ("report: []", ()),
        ("", ()),
    ],
)
def test_the_hybrid_file_says_which_reports_are_written(tmp_path: Path, line: str, formats: tuple[str, ...]) -> None:
    (tmp_path / "streamflow.yml").write_text(
        f"version: v1.0\nworkflows:\n  hello:\n    type: cwl\n    config: {{file: {DOCUMENT}}}\n    {line}\n"
    )
    (dag,) = load_dags("streamflow.yml", {"__file__": str(tmp_path / "dag.py")})
    assert outputs_of(dag).reports == formats


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("[html, doc]", "report[1]: must be 'html', 'pdf', 'png', 'svg', 'csv' or 'json', not 'doc'"),
        ("pdf", "report: must be true, false or a list of formats"),
    ],
)
def test_a_format_that_does_not_exist_is_told(tmp_path: Path, value: str, problem: str) -> None:
    path = tmp_path / "streamflow.yml"
    workflow = f"{{type: cwl, config: {{file: {DOCUMENT}}}, report: {value}}}"
    path.write_text(f"version: v1.0\nworkflows:\n  hello: {workflow}\n")
    with pytest.raises(ConfigError) as caught:
        load_dags(path, {"__file__": str(tmp_path / "dag.py")})
    assert str(caught.value) == f"{path}:3: workflows.hello.{problem}"


def test_a_format_that_is_none_is_told_in_python() -> None:
    with pytest.raises(ConfigError) as caught:
        HybridDag(str(DOCUMENT), dag_id="hello", report="pdf")
    assert str(caught.value) == (
        "`report` is 'pdf', but must be true, false, or a list of some of html, pdf, png, svg, csv, json"
    )


@pytest.mark.parametrize(
    ("task_id", "report", "is_known"),
    [("outputs", True, True), ("outputs", False, False), ("split", True, False)],
)
def test_the_last_task_knows_the_dag_for_its_report(
    monkeypatch: pytest.MonkeyPatch, task_id: str, report: bool, is_known: bool
) -> None:
    """A task's process parses the DAG file, and leaves out what it does not need."""
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "hello")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", task_id)
    dag = HybridDag(str(DOCUMENT), dag_id="hello", report=report)
    assert (outputs_of(dag).doc_json is not None) is is_known


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (HybridError("Airflow is gone", where="there"), "the run's report is not written: there: Airflow is gone"),
        (OSError(28, "No space left on device"), "the run's report is not written: [Errno 28] No space left on device"),
        (
            KeyError("out"),
            "the run's report is not written; its outputs are complete. The error is unexpected: please report it with"
            " what follows",
        ),
    ],
)
def test_a_report_that_cannot_be_written_is_told_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    def none(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(report_files, "report_files", none)
    task = outputs_of(HybridDag(str(DOCUMENT), dag_id="hello", report=True))
    made = functools.partial(task._made_report, {}, {})
    task._write_beside("report", made, "/nowhere", {}, OutputRules(logging.getLogger()))
    assert f" {told} " in capsys.readouterr().out


def test_a_format_that_fails_for_whatever_reason_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def content(report: Any, ending: str, constants: Any) -> bytes:
        if ending == ".html":
            raise KeyError("out")
        return b"{}"

    monkeypatch.setattr(report_files, "report_of_context", lambda *arguments: None)
    monkeypatch.setattr(report_files, "content", content)
    with report_files.report_files({}, {}, ["html", "json"], logging.getLogger()) as files:
        assert list(files) == ["json"]
    assert caplog.messages == ["a file of the run's report is not written: KeyError: 'out'"]
