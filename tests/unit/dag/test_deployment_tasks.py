# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where the setup and teardown tasks of managed deployments stand in a DAG."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_hybrid import HybridDag
from airflow_hybrid.config import parse_deployments
from airflow_hybrid.errors import HostUnreachableError
from airflow_hybrid.operators.deployments import DeployOperator

ECHO = """
class: CommandLineTool
baseCommand: [cp]
arguments: [{valueFrom: $(inputs.file), position: 1}, {valueFrom: out, position: 2}]
inputs: {file: File}
outputs: {out: {type: File, outputBinding: {glob: out}}}
"""
PASS = """
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {file: File}
outputs: {out: File}
expression: "${return {out: inputs.file};}"
"""


def step(source: str, run: str = "tool") -> dict[str, Any]:
    return {"run": f"#{run}", "in": {"file": source}, "out": ["out"]}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A DAG of some steps; ``bound``: step -> deployment; ``outputs``: of which steps."""
    import yaml

    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))

    def build(steps: dict[str, Any], bound: dict[str, str], outputs: list[str], **deployments: Any) -> HybridDag:
        tool, expression = yaml.safe_load(ECHO), yaml.safe_load(PASS)
        main = {
            "id": "main",
            "class": "Workflow",
            "requirements": {"ScatterFeatureRequirement": {}, "SubworkflowFeatureRequirement": {}},
            "inputs": {"file": "File", "files": "File[]"},
            "outputs": {f"{name}_out": {"type": "Any", "outputSource": f"{name}/out"} for name in outputs},
            "steps": steps,
        }
        document = {"cwlVersion": "v1.2", "$graph": [main, {"id": "tool", **tool}, {"id": "pass", **expression}]}
        (tmp_path / "main.cwl").write_text(yaml.safe_dump(document))
        dag = HybridDag(
            str(tmp_path / "main.cwl") + "#main",
            dag_id="d",
            bindings={f"/{name}": {"target": {"deployment": place}} for name, place in bound.items()},
            deployments={"box": {"type": "docker", "config": {"image": "debian"}}, **deployments},
            fileloc=str(tmp_path / "d.py"),
        )
        # what Airflow's DAG processor does before it takes a DAG; Airflow has no types for it
        dag.validate()  # type: ignore[no-untyped-call]
        return dag

    return build


def around(dag: HybridDag, name: str = "box") -> tuple[set[str], set[str], set[str]]:
    """-> what the deployment's setup waits for, what waits for it, what its teardown waits for."""
    deploy, undeploy = dag.get_task(f"deploy_{name}"), dag.get_task(f"undeploy_{name}")
    assert deploy.is_setup and undeploy.is_teardown and not undeploy.on_failure_fail_dagrun
    return (
        set(deploy.upstream_task_ids),
        set(deploy.downstream_task_ids) - {undeploy.task_id},
        set(undeploy.upstream_task_ids) - {deploy.task_id},
    )


CHAIN = {"a": step("file"), "b": step("a/out"), "c": step("b/out"), "d": step("c/out")}


def test_a_deployment_is_there_from_its_first_step_to_the_last_reader_of_its_files(make: Any) -> None:
    dag = make(CHAIN, {"b": "box"}, ["d"])
    # c reads b's output from where it is; d reads what c left elsewhere
    assert around(dag) == ({"a"}, {"b"}, {"b", "c"})


def test_outputs_that_are_in_a_deployment_are_gathered_before_it_goes(make: Any) -> None:
    dag = make(CHAIN, {"b": "box"}, ["b", "d"])
    assert around(dag)[2] == {"b", "c", "outputs"}


def test_files_that_an_expression_hands_on_are_still_there_for_its_readers(make: Any) -> None:
    steps = {"a": step("file"), "b": step("a/out", "pass"), "c": step("b/out"), "d": step("b/out"), "e": step("d/out")}
    dag = make(steps, {"a": "box"}, ["c", "e"])
    assert around(dag)[2] == {"a", "b", "c", "d"}


def test_what_a_tool_makes_of_an_expression_it_has_taken_in_is_its_own(make: Any) -> None:
    steps = {"a": step("file"), "b": step("a/out", "pass"), "c": step("b/out"), "d": step("c/out")}
    dag = make(steps, {"a": "box"}, ["d"])
    assert "b" not in dag.task_ids
    assert around(dag)[2] == {"a", "c"}


def test_a_deployment_that_is_not_lazy_is_made_when_the_run_starts(make: Any) -> None:
    dag = make(CHAIN, {"b": "box"}, ["d"], box={"type": "docker", "config": {"image": "debian"}, "lazy": False})
    assert around(dag)[0] == set()


def test_one_step_does_not_wait_for_the_inputs_of_another(make: Any) -> None:
    steps = {"a": step("file"), "x": step("a/out"), "y": step("a/out"), "b": step("x/out"), "c": step("y/out")}
    dag = make(steps, {"b": "box", "c": "box"}, ["b", "c"])
    assert around(dag) == ({"a"}, {"b", "c"}, {"b", "c", "outputs"})


def test_a_scatter_is_planned_before_its_deployment_is_made(make: Any) -> None:
    dag = make({"a": {**step("files"), "scatter": "file"}}, {"a": "box"}, ["a"])
    assert around(dag) == ({"plan_a"}, {"a"}, {"a", "outputs"})


def test_what_wraps_another_is_made_after_it_and_goes_before_it(make: Any) -> None:
    outer = {"type": "docker", "config": {"image": "debian"}, "wraps": "box"}
    dag = make({"a": step("file"), "b": step("a/out")}, {"b": "outer"}, ["b"], outer=outer)
    assert around(dag, "outer")[0] == {"a", "deploy_box"}
    assert dag.get_task("undeploy_outer").downstream_task_ids == {"undeploy_box"}


@pytest.mark.parametrize("box", [{"external": True, "config": {"containerId": "box"}}, {}])
def test_external_and_unused_deployments_have_no_tasks(make: Any, box: dict[str, Any]) -> None:
    dag = make(CHAIN, {"b": "box"} if box else {}, ["d"], box={"type": "docker", "config": {"image": "debian"}, **box})
    assert not [t for t in dag.task_ids if "deploy" in t]


def test_a_step_may_have_the_name_of_such_a_task(make: Any) -> None:
    dag = make({"deploy_box": step("file")}, {"deploy_box": "box"}, ["deploy_box"])
    assert set(dag.task_ids) == {"inputs", "deploy_box", "outputs", "deploy_box_", "undeploy_box"}


class Places:
    """A connector whose deployments are folders: one for each token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, deployments: Any, name: str) -> Places:
        return Places(self.folder / deployments[name].token)

    async def deploy(self, services: Any) -> None:
        self.folder.mkdir(exist_ok=True)

    async def undeploy(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Try:
    """A try of the setup task; ``store``: what Airflow keeps of its run."""

    def __init__(self, store: dict[str, str], number: str) -> None:
        self.store = store
        ti = SimpleNamespace(
            dag_id="d", run_id="r", task_id="deploy_box", map_index=-1, id=number, get_task_states=lambda **_: {}
        )
        self.context: Any = {"ti": ti, "task_state_store": self}

    def get(self, key: str) -> str | None:
        return self.store.get(key)

    def set(self, key: str, value: str, *, retention: Any) -> None:
        self.store[key] = value


def test_a_run_takes_over_nothing_of_a_deleted_run_with_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_hybrid.sites.connectors.open_connector", Places(tmp_path).open)
    deployments = parse_deployments({"box": {"type": "docker", "config": {"image": "debian"}}})
    setup = DeployOperator(task_id="deploy_box", deployment="box", deployments=deployments)

    def bring_up(store: dict[str, str], number: str) -> Path:
        return tmp_path / setup.run_task(Try(store, number).context)

    run: dict[str, str] = {}
    place = bring_up(run, "1")
    (place / "output").touch()
    assert bring_up(run, "2") == place and (place / "output").exists()  # a retry, or a clear
    assert bring_up({}, "3") == place and not (place / "output").exists()


def test_what_a_deleted_run_left_and_cannot_be_removed_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: Places) -> None:
        raise HostUnreachableError("no answer")

    monkeypatch.setattr("airflow_hybrid.sites.connectors.open_connector", Places(tmp_path).open)
    deployments = parse_deployments({"box": {"type": "docker", "config": {"image": "debian"}}})
    setup = DeployOperator(task_id="deploy_box", deployment="box", deployments=deployments)
    place = tmp_path / setup.run_task(Try({}, "1").context)
    (place / "output").touch()
    store: dict[str, str] = {}
    with monkeypatch.context() as down, pytest.raises(HostUnreachableError):
        down.setattr(Places, "undeploy", fails)
        setup.run_task(Try(store, "2").context)
    assert (place / "output").exists() and store == {}
    setup.run_task(Try(store, "3").context)  # a retry
    assert not (place / "output").exists()
