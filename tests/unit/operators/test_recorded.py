# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What tasks have published, as the facts for a record of their run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid import HybridDag, load_dags
from airflow_hybrid.crates.facts import JobValues
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model.jobs import JobState
from airflow_hybrid.model.records import JobRecord, JobsReport
from airflow_hybrid.model.task_folders import task_folder
from airflow_hybrid.operators.outputs import OutputsOperator
from airflow_hybrid.operators.published.recorded import RunDescription, facts_of_run
from airflow_hybrid.operators.values import Scope
from airflow_hybrid.overviews.replays import RenewedFile

ROOT = Path(__file__).parents[3]
RUN = RunDescription("hello", "manual__1", True, 900.0, 1000.0, "ann")


def file(name: str) -> dict[str, Any]:
    return {"class": "File", "location": f"hybrid://left/localhost/work/{name}", "basename": name}


def scope() -> Scope:
    dag = HybridDag(str(ROOT / "dags/hello/main.cwl"), dag_id="hello")
    task = dag.task_dict["outputs"]
    assert isinstance(task, OutputsOperator)
    return task.scope


def report(step: str, *indexes: str) -> Any:
    records = tuple(JobRecord(step, index, "local", "", "here", JobState.COMPLETED) for index in indexes)
    return JobsReport(records, (), 1.0).to_json()


def xcoms(top: Scope) -> dict[tuple[str, str, int], Any]:
    plan = top.nodes["/count"].plan_id
    assert plan is not None
    return {
        ("inputs", "return_value", -1): {"book": file("book.txt"), "top": 3, "min_letters": 5},
        ("split", "return_value", -1): {"chapters": [file("1.txt"), file("2.txt"), file("3.txt")]},
        ("split", "jobs", -1): report("/split", ""),
        (plan, "return_value", -1): [{"lo": 0, "hi": 2}, {"lo": 2, "hi": 3}],
        (plan, "shape", -1): [3],
        ("count", "return_value", 0): [{"counts": file("1.tsv")}, {"counts": file("2.tsv")}],
        ("count", "jobs", 0): report("/count", "[0]", "[1]"),
        ("count", "return_value", 1): [{"counts": file("3.tsv")}],
        ("count", "jobs", 1): report("/count", "[2]"),
        ("summarise", "return_value", -1): {"summary": file("summary.md")},
        ("summarise", "jobs", -1): report("/summarise", ""),
        ("outputs", "return_value", -1): {"summary": file("summary.md")},
    }


def test_what_was_lost_and_made_again() -> None:
    top = scope()
    folder = task_folder(RUN.dag_id, RUN.run_id, "count", 1)
    lost = f"hybrid://left/localhost/work/{folder}/g0-0123456789/a1-0123456789/00000-ff/out/3.tsv"
    known = {
        **xcoms(top),
        ("outputs", "made_again", -1): [{"task": "count[1]", "jobs": 1, "files": 1, "changed": 0, "first": lost}],
        ("outputs", "airflow_hybrid.renewed", -1): {lost: {"location": f"{lost}.new", "size": 3}},
        ("summarise", "made_again", -1): "edited",
    }
    replays = facts_of_run(top, lambda task_id, key, index: known.get((task_id, key, index)), RUN).replays
    assert [made.reason for made in replays.made_again] == ["1 job ran again, because outputs missed 1 file"]
    assert replays.files == (RenewedFile("count[1]", "outputs", lost, f"{lost}.new", 3),)
    assert list(replays.problems()) == ["what task summarise has made again is not shown: it is no list"]


def test_the_values_of_each_job() -> None:
    top = scope()
    known = xcoms(top)
    facts = facts_of_run(top, lambda task_id, key, index: known.get((task_id, key, index)), RUN)
    assert [(job.step, job.index) for job in facts.jobs] == [
        ("/split", ""), ("/count", "[0]"), ("/count", "[1]"), ("/count", "[2]"), ("/summarise", ""),
    ]  # fmt: skip
    tables = [file("1.tsv"), file("2.tsv"), file("3.tsv")]
    chapters = [file("1.txt"), file("2.txt"), file("3.txt")]
    assert facts.values == {
        ("/split", ""): JobValues({"book": file("book.txt")}, {"chapters": chapters}),
        **{("/count", f"[{n}]"): JobValues({"chapter": chapters[n]}, {"counts": tables[n]}) for n in range(3)},
        ("/summarise", ""): JobValues({"counts": tables, "top": 3, "min_letters": 5}, {"summary": file("summary.md")}),
    }
    assert (facts.dag_id, facts.run_id, facts.user, facts.succeeded) == ("hello", "manual__1", "ann", True)
    assert facts.outputs == {"summary": file("summary.md")}
    assert [process["id"] for process in facts.document["$graph"]][1] == "#main"


def test_of_a_task_that_failed_only_its_jobs_are_known() -> None:
    top = scope()
    known = xcoms(top)
    for key in [("count", "return_value", 1), ("summarise", "return_value", -1), ("outputs", "return_value", -1)]:
        del known[key]
    facts = facts_of_run(top, lambda task_id, key, index: known.get((task_id, key, index)), RUN)
    assert set(facts.values) == {("/split", "")}
    assert len(facts.jobs) == 5 and facts.outputs is None


def test_values_that_somebody_has_edited_are_left_out() -> None:
    top = scope()
    known: dict[Any, Any] = {
        **xcoms(top),
        ("split", "return_value", -1): "text",
        ("summarise", "return_value", -1): [1],
        ("count", "jobs", 0): {"version": 77},
        ("split", "jobs", -1): ["x"],
    }
    facts = facts_of_run(top, lambda task_id, key, index: known.get((task_id, key, index)), RUN)
    assert facts.values == {}
    assert [(job.step, job.index) for job in facts.jobs] == [("/count", "[2]"), ("/summarise", "")]


def test_a_run_without_inputs() -> None:
    with pytest.raises(HybridError) as caught:
        facts_of_run(scope(), lambda task_id, key, index: None, RUN)
    assert str(caught.value) == (
        "the inputs of run manual__1 of DAG hello are not known: its task `inputs` has not succeeded"
    )


@pytest.mark.parametrize(("line", "records"), [("provenance: true", True), ("provenance: false", False), ("", False)])
def test_the_hybrid_file_says_whether_a_record_is_written(tmp_path: Path, line: str, records: bool) -> None:
    document = ROOT / "dags/hello/main.cwl"
    (tmp_path / "streamflow.yml").write_text(
        f"version: v1.0\nworkflows:\n  hello:\n    type: cwl\n    config: {{file: {document}}}\n    {line}\n"
    )
    (dag,) = load_dags("streamflow.yml", {"__file__": str(tmp_path / "dag.py")})
    outputs = dag.task_dict["outputs"]
    assert isinstance(outputs, OutputsOperator) and outputs.records is records
