# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``fuse: chains``: which tasks there are, what they are called, and that outputs are those without it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_hybrid import HybridDag
from airflow_hybrid.config import parse_bindings, parse_deployments
from airflow_hybrid.cwl.documents.graphs import load_graph
from airflow_hybrid.dag.fusing import Fusing
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import CHAINS
from tests.unit.cwl.driver import Driver

NEEDS = ["ScatterFeature", "SubworkflowFeature", "MultipleInputFeature", "StepInputExpression", "InlineJavascript"]
TOOL = {
    "class": "CommandLineTool",
    "doc": "Joins.",
    "baseCommand": "cat",
    "inputs": {"x": {"type": "Any?", "inputBinding": {}}, "y": {"type": "Any?"}},
    "outputs": {"o": "stdout"},
}
EXPRESSION = {"class": "ExpressionTool", "inputs": {"x": "Any?"}, "outputs": {"o": "Any?"}, "expression": "$({o: 1})"}
SITES: dict[str, Any] = {"a": {"type": "local", "config": {}}, "b": {"type": "local", "config": {}}}


def workflow(steps: dict[str, Any], outputs: dict[str, str]) -> dict[str, Any]:
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {f"{need}Requirement": {} for need in NEEDS},
        "inputs": {"i": "Any", "many": "Any"},
        "outputs": {name: {"type": "Any?", "outputSource": source} for name, source in outputs.items()},
        "steps": steps,
    }


def step(*sources: str, run: Any = None, **more: Any) -> dict[str, Any]:
    ports = {port: {"source": source} for port, source in zip("xy", sources, strict=False)}
    return {"run": run or TOOL, "in": ports, "out": ["o"], **more}


CHAIN = {"align": step("i"), "sort": step("align/o"), "index": step("sort/o")}


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


# --- who asks for it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, ["align", "index", "sort"], id="nobody"),
        pytest.param({"fuse": "chains"}, ["align__sort__index"], id="workflow"),
        pytest.param({"bindings": {"/": {"target": "a", "fuse": "chains"}}}, ["align__sort__index"], id="binding"),
        pytest.param(
            {"bindings": {"/": {"target": "a", "fuse": "chains"}, "/sort": {"target": "a"}}},
            ["align__sort__index"],
            id="binding above",
        ),
        pytest.param(
            {"bindings": {"/": "a"}, "deployments": {**SITES, "a": {**SITES["a"], "fuse": "chains"}}},
            ["align__sort__index"],
            id="deployment",
        ),
        pytest.param({"fuse": "chains", "bindings": {"/sort": {"fuse": False}}}, ["align", "index", "sort"], id="not"),
        pytest.param({"fuse": "chains", "bindings": {"/index": "b"}}, ["align__sort", "index"], id="another target"),
        pytest.param(
            {"fuse": "chains", "bindings": {"/": "a"}, "deployments": {**SITES, "a": {**SITES["a"], "fuse": False}}},
            ["align", "index", "sort"],
            id="not on that deployment",
        ),
        pytest.param(
            {
                "bindings": {"/": {"deployment": "c"}},
                "deployments": {
                    "login": {"type": "ssh", "config": {"conn_id": "x"}, "fuse": "chains"},
                    "c": {"type": "slurm", "config": {}, "wraps": "login"},
                },
            },
            ["align__sort__index"],
            id="wrapped deployment",
        ),
    ],
)
def test_the_most_specific_setting_takes_precedence(make: Any, options: dict[str, Any], expected: list[str]) -> None:
    assert tasks(make(CHAIN, {"out": "index/o"}, **{"deployments": SITES, **options})) == expected


def test_another_value_is_an_error(make: Any) -> None:
    with pytest.raises(ConfigError) as error:
        make(CHAIN, fuse=True)
    assert (error.value.message, error.value.hint) == (
        "`fuse` is True, but must be 'chains' or False",
        "`fuse: true` is for the binding of a sub-workflow that runs as one task",
    )


# --- which tasks ------------------------------------------------------------------------------------------------------


def test_what_airflow_maps_stays_a_task_of_its_own(make: Any) -> None:
    steps = {
        "before": step("i"),
        "each": step("many", "before/o", scatter="x"),
        "after": step("each/o"),
        "last": step("after/o", when="$(inputs.x !== null)"),
    }
    assert tasks(make(steps, fuse="chains")) == ["after__last", "before", "each", "plan_each"]
    batch = {"/each": {"target": "local", "scatter": "batch"}}
    assert tasks(make(steps, fuse="chains", bindings=batch)) == ["before__each__after__last"]


def test_a_sub_workflow_of_one_group_is_a_step_like_others(make: Any) -> None:
    inner = workflow({"one": step("i"), "two": step("one/o")}, {"o": "two/o"})
    nested = {"run": inner, "in": {"i": "before/o", "many": {"default": 1}}, "out": ["o"]}
    steps = {"before": step("i"), "sub": nested, "after": step("sub/o")}
    assert tasks(make(steps, fuse="chains")) == ["before__sub__after"]
    assert tasks(make(steps, fuse="chains", bindings={"/sub": {"fuse": False}})) == [
        "after",
        "before",
        "plan_sub",
        "sub.one",
        "sub.two",
    ]


def test_tasks_of_a_scattered_sub_workflow_are_fused_in_it(make: Any) -> None:
    inner = workflow({"one": step("i"), "two": step("one/o")}, {"o": "two/o"})
    each = {"run": inner, "scatter": "i", "in": {"i": "many", "many": {"default": 1}}, "out": ["o"]}
    assert tasks(make({"each": each}, fuse="chains")) == ["each.one__two", "plan_each"]


def test_an_expression_goes_with_the_tool_that_reads_it(make: Any) -> None:
    steps = {"first": step("i"), "reckon": step("first/o", run=EXPRESSION), "last": step("reckon/o")}
    bound = {"/last": {"target": "b", "fuse": "chains"}}
    dag = make(steps, deployments=SITES, bindings=bound)
    assert tasks(dag) == ["first", "reckon__last"]
    task = dag.get_task("reckon__last")
    assert (task.custom_operator_name, task.setup.leaves) == ("b", ("/last",))


def test_a_deployment_that_is_made_for_the_run_is_there_for_the_whole_task(make: Any) -> None:
    box = {"box": {"type": "docker", "config": {"image": "debian"}, "fuse": "chains"}}
    steps = {**CHAIN, "elsewhere": step("index/o")}
    bound = {f"/{name}": "box" for name in CHAIN}
    dag = make(steps, {"out": "elsewhere/o"}, bindings=bound, deployments=box)
    assert tasks(dag) == ["align__sort__index", "deploy_box", "elsewhere", "undeploy_box"]
    assert "align__sort__index" in dag.get_task("deploy_box").downstream_task_ids
    assert dag.get_task("undeploy_box").upstream_task_ids >= {"align__sort__index", "elsewhere"}


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_of_long_chains_are_bounded_and_stable(make: Any) -> None:
    names = [f"a_step_with_a_name_{number}" for number in range(20)]
    steps = {name: step(f"{names[k - 1]}/o" if k else "i") for k, name in enumerate(names)}
    (task_id,) = tasks(make(steps, fuse="chains"))
    assert task_id == "a_step_with_a_name_0__a_step_with_a_name_1__a_step_with_a_name_2__a_ste_dbb862b4"


def test_a_group_is_not_confused_with_a_step_of_the_same_name(make: Any) -> None:
    steps = {"a": step("i"), "b": step("a/o"), "a__b": step("many", "b/o", scatter="x"), "c": step("a__b/o")}
    assert tasks(make(steps, fuse="chains")) == ["a__b", "a__b_", "c", "plan_a__b"]


def test_the_doc_of_a_group_says_all_of_its_steps(make: Any) -> None:
    assert make({"one": step("i"), "two": step("one/o")}, fuse="chains").get_task("one__two").doc_md == (
        "2 steps in one task, because of `fuse: chains`: `/one`, `/two`"
        "\n\n---\n\nJoins.\n\n* step `/one`\n* runs on `local`"
        "\n\n---\n\nJoins.\n\n* step `/two`\n* runs on `local`"
    )


# --- outputs ----------------------------------------------------------------------------------------------------------

ECHO = {
    "class": "ExpressionTool",
    "inputs": {"o": "Any?", "name": "string"},
    "outputs": {"o": "Any?", "name": "string"},
    "expression": "$(inputs)",
}
"""hands its inputs on: an output shows which steps were before it, and how their values were merged"""


def some_workflow(seed: int, fuse: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A workflow of steps that are linked at random, and its bindings."""
    some = random.Random(seed)
    ports, steps = ["i"], {}
    bindings: dict[str, Any] = {"/": {"target": "local", "fuse": fuse}} if fuse else {}
    for number in range(some.randint(2, 7)):
        name = f"s{number}"
        count = some.choice([1, 1, 2, 3])
        entry: dict[str, Any] = {"source": [some.choice(ports[-5:]) for _ in range(count)]}
        entry["linkMerge"] = some.choice(["merge_nested", "merge_flattened"])
        if some.random() < 0.3:
            entry["pickValue"] = "all_non_null"
        elif some.random() < 0.2:
            entry["default"] = "default"
        made: dict[str, Any] = {"run": ECHO, "in": {"o": entry, "name": {"default": name}}, "out": ["o", "name"]}
        if some.random() < 0.2:
            made["in"]["go"] = {"default": some.random() < 0.5}
            made["when"] = "$(inputs.go)"
        if some.random() < 0.2:
            bindings[f"/{name}"] = {"target": "local", "fuse": False}
        steps[name] = made
        ports += [f"{name}/o", f"{name}/name"]
    outputs = {f"out{k}": source for k, source in enumerate(some.sample(ports[1:], some.randint(1, 4)))}
    return workflow(steps, outputs), bindings


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=15)
@given(seed=st.integers(0, 2**32), fuse=st.sampled_from([CHAINS, None]))
def test_outputs_are_those_of_separate_tasks(seed: int, fuse: str | None, tmp_path: Path) -> None:
    document, bindings = some_workflow(seed, fuse)
    (tmp_path / "main.cwl").write_text(yaml.safe_dump(document, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
        graph = load_graph(str(tmp_path / "main.cwl"))
        fused = Fusing(parse_bindings(bindings), parse_deployments(None)).graph_of(graph)
        apart, together = (Driver(tmp_path).run_graph(each, {"i": "text", "many": []}) for each in (graph, fused))
    assert together == apart
    leaves = [leaf.path for step in fused.steps for leaf in step.leaves]
    assert sorted(leaves) == sorted(step.path for step in graph.steps)
