# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Expressions in the task of the step that reads them, without any ``fuse``: what is folded, and what stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import TriggerRule

from airflow_hybrid import HybridDag

NEEDS = ["ScatterFeature", "SubworkflowFeature", "MultipleInputFeature", "StepInputExpression", "InlineJavascript"]
TOOL = {
    "class": "CommandLineTool",
    "doc": "Joins.",
    "baseCommand": "cat",
    "inputs": {"x": {"type": "Any?", "inputBinding": {}}, "y": {"type": "Any?"}},
    "outputs": {"o": "stdout", "e": "stderr"},
}
SITES: dict[str, Any] = {"a": {"type": "local", "config": {}}, "b": {"type": "local", "config": {}}}


def reckoning(expression: str = "$({o: 1, e: 2})") -> dict[str, Any]:
    ports = {"o": "Any?", "e": "Any?"}
    return {"class": "ExpressionTool", "inputs": {"x": "Any?", "y": "Any?"}, "outputs": ports, "expression": expression}


def step(*sources: str, run: Any = None, **more: Any) -> dict[str, Any]:
    ports = {port: {"source": source} for port, source in zip("xy", sources, strict=False)}
    return {"run": run or TOOL, "in": ports, "out": ["o", "e"], **more}


def workflow(steps: dict[str, Any], outputs: dict[str, str]) -> dict[str, Any]:
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {f"{need}Requirement": {} for need in NEEDS},
        "inputs": {"i": "Any", "many": "Any"},
        "outputs": {name: {"type": "Any?", "outputSource": source} for name, source in outputs.items()},
        "steps": steps,
    }


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))

    def build(steps: dict[str, Any], outputs: dict[str, str] | None = None, **options: Any) -> HybridDag:
        (tmp_path / "main.cwl").write_text(yaml.safe_dump(workflow(steps, outputs or {}), sort_keys=False))
        dag = HybridDag(tmp_path / "main.cwl", dag_id="d", fileloc=str(tmp_path / "d.py"), **options)
        dag.validate()  # type: ignore[no-untyped-call]
        return dag

    return build


def tasks(dag: HybridDag) -> list[str]:
    return sorted(set(dag.task_ids) - {"inputs", "outputs"})


STEPS = {"first": step("i"), "reckon": step("first/o", run=reckoning()), "last": step("reckon/o")}


# --- what is folded ---------------------------------------------------------------------------------------------------


def test_the_task_of_the_reader_keeps_its_name_place_and_links(make: Any) -> None:
    steps = {**STEPS, "after": step("last/e")}
    dag = make(steps, {"out": "last/o"}, deployments=SITES, bindings={"/": "a", "/last": "b"})
    assert tasks(dag) == ["after", "first", "last"]
    task = dag.get_task("last")
    assert (task.custom_operator_name, task.setup.step.path, task.setup.leaves) == ("b", "/last", ("/last",))
    assert task.setup.step.outputs == ("o", "e")
    assert (task.upstream_task_ids, task.downstream_task_ids) == ({"first"}, {"after"})
    assert dag.get_task("after").setup.step.inputs[0].sources[0].step == "/last"


def test_its_documentation_names_the_expression(make: Any) -> None:
    doc = make(STEPS).get_task("last").doc_md
    assert doc == (
        "Joins.\n\n* step `/last`\n* runs on `local`"
        "\n\n---\n\nThe same task evaluates `/reckon`, which only this step reads."
        "\n\n---\n\n* step `/reckon`\n* runs on `local`"
    )


def test_expressions_that_read_each_other_go_along(make: Any) -> None:
    steps = {
        "one": step("i", run=reckoning()),
        "two": step("one/o", run=reckoning()),
        "last": step("one/e", "two/o"),
    }
    assert tasks(make(steps)) == ["last"]
    assert tasks(make({"one": steps["one"], "two": steps["two"]}, {"out": "two/o"})) == ["two"]


def test_steps_of_a_sub_workflow_take_in_theirs(make: Any) -> None:
    inner = workflow({"reckon": step("i", run=reckoning()), "last": step("reckon/o")}, {"o": "last/o"})
    plain = {"run": inner, "in": {"i": "i", "many": "i"}, "out": ["o"]}
    assert tasks(make({"sub": plain})) == ["sub.last"]
    scattered = {**plain, "in": {"i": "many", "many": "i"}, "scatter": "i"}
    assert tasks(make({"sub": scattered})) == ["plan_sub", "sub.last"]


def test_a_whole_scatter_in_one_task_takes_in_an_expression(make: Any) -> None:
    steps = {"reckon": step("i", run=reckoning()), "each": step("reckon/o", scatter="x")}
    assert tasks(make(steps, bindings={"/each": {"target": "local", "scatter": "batch"}})) == ["each"]


def test_an_expression_that_several_steps_of_a_chain_read_is_in_its_task(make: Any) -> None:
    steps = {
        "elsewhere": step("i"),
        "reckon": step("elsewhere/o", run=reckoning()),
        "one": step("reckon/o"),
        "two": step("one/o", "reckon/e"),
    }
    bound = {"/one": {"target": "b", "fuse": "chains"}, "/two": {"target": "b", "fuse": "chains"}}
    assert tasks(make(steps, deployments=SITES, bindings=bound)) == ["elsewhere", "reckon__one__two"]


def test_an_expression_that_waits_for_less_goes_along(make: Any) -> None:
    steps = {"first": step("i"), "reckon": step("i", run=reckoning()), "last": step("first/o", "reckon/o")}
    dag = make(steps)
    assert tasks(dag) == ["first", "last"]
    assert dag.get_task("last").upstream_task_ids == {"first"}


# --- what stays -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "outputs", "options"),
    [
        pytest.param({}, {}, {"fuse": False}, id="switched off"),
        pytest.param({}, {}, {"bindings": {"/last": {"fuse": False}}}, id="switched off for the reader"),
        pytest.param({}, {}, {"bindings": {"/reckon": {"fuse": False}}}, id="switched off for the expression"),
        pytest.param(
            {}, {}, {"deployments": {"local": {"type": "local", "config": {}, "fuse": False}}}, id="on a deployment"
        ),
        pytest.param({}, {}, {"bindings": {"/reckon": {"retries": 3}}}, id="a binding of its own"),
        pytest.param({}, {"out": "reckon/o"}, {}, id="an output of the workflow"),
        pytest.param(
            {},
            {},
            {
                "bindings": {"/": "there", "/last": "b"},
                "deployments": {**SITES, "there": {"type": "local", "config": {"queue": "there"}}},
            },
            id="a reader of another queue, whose workers have other files",
        ),
        pytest.param({"last": step("reckon/o", when="$(true)")}, {}, {}, id="a reader that may be skipped"),
        pytest.param({"last": step("reckon/o", scatter="x")}, {}, {}, id="a reader that Airflow maps"),
        pytest.param({"other": step("reckon/o")}, {}, {}, id="another reader"),
        pytest.param(
            {"reckon": step("first/o", run=reckoning(), when="$(true)")}, {}, {}, id="an expression that may be skipped"
        ),
        pytest.param({"reckon": step("many", run=reckoning(), scatter="x")}, {}, {}, id="a scattered expression"),
        pytest.param({"reckon": step("first/o", run=reckoning("$({o: Math.random(), e: 1})"))}, {}, {}, id="chance"),
        pytest.param({"reckon": step("first/o", run=reckoning("$({o: Date.now(), e: 1})"))}, {}, {}, id="time"),
        pytest.param(
            {"reckon": step("first/o", run=reckoning("$({o:\nDate.now(), e: 1})"))}, {}, {}, id="time-in-a-line"
        ),
        pytest.param(
            {"reckon": step("first/o", run=reckoning("$({o:\tDate.now(), e: 1})"))}, {}, {}, id="time-after-a-tab"
        ),
        pytest.param(
            {"reckon": step("first/o", run=reckoning("$({o: Intl.DateTimeFormat().format(), e: 1})"))}, {}, {}, id="day"
        ),
    ],
)
def test_an_expression_has_a_task_of_its_own_where_something_would_be_lost(
    make: Any, change: dict[str, Any], outputs: dict[str, str], options: dict[str, Any]
) -> None:
    dag = make({**STEPS, **change}, outputs, **options)
    assert "reckon" in tasks(dag)


def test_an_expression_that_a_sub_workflow_reads_has_a_task_of_its_own(make: Any) -> None:
    inner = workflow({"one": step("i"), "two": step("one/o")}, {"o": "two/o"})
    steps = {
        "reckon": step("i", run=reckoning()),
        "sub": {"run": inner, "in": {"i": "reckon/o", "many": "i"}, "out": []},
    }
    assert tasks(make(steps)) == ["reckon", "sub.one", "sub.two"]


# --- states -----------------------------------------------------------------------------------------------------------


def test_a_skip_by_other_tasks_before_the_run_reaches_the_reader(make: Any) -> None:
    """Its trigger rule is that of a step with a tool alone."""
    dag = make(STEPS)
    rules = {task: dag.get_task(task).trigger_rule for task in ("first", "last", "outputs")}
    assert rules == dict.fromkeys(rules, TriggerRule.ALL_SUCCESS)
