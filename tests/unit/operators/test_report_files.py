# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The report beside the outputs: who asks for it, and what is said if it cannot be written."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid import HybridDag, load_dags
from airflow_hybrid.errors import HybridError
from airflow_hybrid.operators.gather.rules import OutputRules
from airflow_hybrid.operators.outputs import OutputsOperator
from airflow_hybrid.operators.published import report_files

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "dags/hello/main.cwl"


def outputs_of(dag: HybridDag) -> OutputsOperator:
    task = dag.task_dict["outputs"]
    assert isinstance(task, OutputsOperator)
    return task


@pytest.mark.parametrize(("line", "reports"), [("report: true", True), ("report: false", False), ("", False)])
def test_the_hybrid_file_says_whether_a_report_is_written(tmp_path: Path, line: str, reports: bool) -> None:
    (tmp_path / "streamflow.yml").write_text(
        f"version: v1.0\nworkflows:\n  hello:\n    type: cwl\n    config: {{file: {DOCUMENT}}}\n    {line}\n"
    )
    (dag,) = load_dags("streamflow.yml", {"__file__": str(tmp_path / "dag.py")})
    assert outputs_of(dag).reports is reports


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
    ],
)
def test_a_report_that_cannot_be_written_is_told_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    def none(context: Any, outputs: Any) -> None:
        raise error

    monkeypatch.setattr(report_files, "report_files", none)
    task = outputs_of(HybridDag(str(DOCUMENT), dag_id="hello", report=True))
    made = functools.partial(task._made_report, {}, {})
    task._write_beside("report", made, "/nowhere", {}, OutputRules(logging.getLogger()))
    assert f" {told} " in capsys.readouterr().out
