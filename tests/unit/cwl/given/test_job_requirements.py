# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``cwl:requirements`` of a run's inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cwltool.process import supportedProcessRequirements

from airflow_hybrid.cwl.documents import cache
from airflow_hybrid.cwl.documents import graphs as graphs_
from airflow_hybrid.cwl.fragments.fragment import Fragment
from airflow_hybrid.cwl.given.job_requirements import normal, split, with_requirements
from airflow_hybrid.errors import InputError
from airflow_hybrid.model import WorkflowGraph
from airflow_hybrid.model.requirements import REQUIREMENTS
from tests.unit.cwl.driver import Driver

ECHO = """
cwlVersion: v1.2
class: CommandLineTool
requirements: {EnvVarRequirement: {envDef: {WHO: document}}}
inputs: {}
outputs: {out: stdout}
baseCommand: [printenv, WHO]
"""
FLOW = """
cwlVersion: v1.2
class: Workflow
inputs: {}
outputs: {out: {type: File, outputSource: own/out}, none: {type: File, outputSource: bare/out}}
steps:
  own: {run: echo.cwl, in: {}, out: [out]}
  bare:
    in: {}
    out: [out]
    run: {class: CommandLineTool, inputs: {}, outputs: {out: stdout}, baseCommand: [printenv, WHO]}
"""
BROUGHT = {"EnvVarRequirement": {"envDef": {"WHO": "inputs"}}}


@pytest.fixture
def graphs(tmp_path: Path) -> dict[str, WorkflowGraph]:
    (tmp_path / "echo.cwl").write_text(ECHO)
    (tmp_path / "flow.cwl").write_text(FLOW)
    return {
        name: graphs_.load_graph(str(tmp_path / f"{name}.cwl"), cache_dir=tmp_path / "cache")
        for name in ("echo", "flow")
    }


def environment(graph: WorkflowGraph, step: int, folder: Path) -> str | None:
    """What a step's job has in its environment, with ``BROUGHT`` among the run's inputs."""
    document = cache.read_document(graph.steps[step].document, folder / "cache")
    changed = with_requirements(document, normal(BROUGHT, graph), graph.single)
    driver = Driver(folder / f"jobs{step}")
    driver.run(Fragment.load(changed), [{}])
    return driver.scripts[0][1].environment.get("WHO")


def test_they_go_before_those_of_the_process_that_is_run(graphs: dict[str, WorkflowGraph], tmp_path: Path) -> None:
    assert environment(graphs["echo"], 0, tmp_path) == "inputs"


def test_steps_inherit_them_and_their_own_go_before(graphs: dict[str, WorkflowGraph], tmp_path: Path) -> None:
    paths = [step.path for step in graphs["flow"].steps]
    assert environment(graphs["flow"], paths.index("/bare"), tmp_path) == "inputs"
    assert environment(graphs["flow"], paths.index("/own"), tmp_path) == "document"


def test_they_are_told_from_the_inputs() -> None:
    assert split({"a": 1}) == ({"a": 1}, None)
    assert split({"a": 1, "cwl:requirements": [1]}) == ({"a": 1}, [1])


def test_both_forms_of_writing_are_made_one(graphs: dict[str, WorkflowGraph]) -> None:
    listed = [{"class": "EnvVarRequirement", "envDef": [{"envName": "WHO", "envValue": "inputs"}]}]
    assert normal(BROUGHT, graphs["echo"]) == normal(listed, graphs["echo"]) == listed


@pytest.mark.parametrize("wrong", [[{"class": "NoRequirement"}], [1], {"EnvVarRequirement": {"envDef": 3}}])
def test_what_is_no_requirement_is_an_error(graphs: dict[str, WorkflowGraph], wrong: Any) -> None:
    with pytest.raises(InputError, match="cwl:requirements"):
        normal(wrong, graphs["echo"])


def test_a_document_of_v1_0_has_none(graphs: dict[str, WorkflowGraph]) -> None:
    with pytest.raises(InputError, match=r"not part of CWL v1\.0"):
        normal(BROUGHT, replace(graphs["echo"], cwl_version="v1.0"))


def test_the_classes_that_a_dag_may_allow_are_those_that_there_are() -> None:
    assert sorted(REQUIREMENTS) == sorted(supportedProcessRequirements)
