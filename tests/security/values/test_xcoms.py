# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Who may edit XComs reads no file by it: values name what their tasks made or were given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.cwl.given.run_inputs import validate_inputs
from airflow_hybrid.engine import TaskIdentity
from airflow_hybrid.errors import HybridError, InputError
from airflow_hybrid.model import CwlObject, FileRef, JsonValue, Source, WorkflowGraph
from airflow_hybrid.operators.provenance import Ground, Origins
from airflow_hybrid.operators.values import Node, Scope, Values

DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
inputs:
  x: {type: File, secondaryFiles: [{pattern: .idx, required: false}]}
  d: Directory?
outputs: {o: {type: File, outputSource: second/o}}
steps:
  first: {run: &tool {class: CommandLineTool, baseCommand: 'true', inputs: {i: File}, outputs: {o: stdout}},
          in: {i: x}, out: [o]}
  second: {run: *tool, in: {i: first/o}, out: [o]}
"""
HINT = "\n  -> its XCom, or the DAG, was changed during the run; clear task {!r} to make it again"
WORK = "/site/work"


class Run:
    """A DAG run of two steps after each other, whose XComs are what a test says."""

    def __init__(self, tmp_path: Path) -> None:
        (tmp_path / "main.cwl").write_text(DOCUMENT)
        (tmp_path / "x").write_text("x")
        (tmp_path / "x.idx").write_text("index")
        (tmp_path / "d").mkdir()
        (tmp_path / "d/inner").write_text("inner")
        self.tmp_path = tmp_path
        self.graph: WorkflowGraph = compile_document(str(tmp_path / "main.cwl"))
        self.ground = Ground(
            {
                "site": Deployment("site", "ssh", workdir=WORK),
                "home": Deployment("home", "ssh", workdir="~/work"),
                "plain": Deployment("plain", "ssh"),
            },
            base=str(tmp_path),
        )
        self.conf: dict[str, Any] = {"x": {"class": "File", "path": "x"}, "d": {"class": "Directory", "path": "d"}}
        given = {name: self.conf[name] for name in ("x", "d")}
        self.xcoms: dict[str, Any] = {"inputs": validate_inputs(self.graph, given, str(tmp_path))}
        self.xcoms["first"] = {"o": self.made("first")}
        self.xcoms["second"] = {"o": self.made("second")}

    def made(self, task: str, name: str = "f", *, work: str = WORK, site: str = "site", run: str = "run") -> CwlObject:
        directory = TaskIdentity("dag", run, task, origin="origin").directory
        path = f"{work}/{directory}/a1-0f/00000/out/{name}"
        return {"class": "File", "location": FileRef(site, "node", path).uri, "basename": name}

    def values(self) -> tuple[Values, Scope]:
        scope = Scope(self.graph, ground=self.ground)
        for step in self.graph.steps:
            scope.nodes[step.path] = Node(step, task_id=step.name)
        origins = Origins(self.ground, "dag", "run", {}, self.conf, str)
        return Values(lambda task, key, index: self.xcoms.get(task), -1, origins), scope

    def outputs(self) -> CwlObject | None:
        values, scope = self.values()
        return values.outputs(scope)[0]

    def second_inputs(self) -> JsonValue:
        values, scope = self.values()
        seen = {step.name: values.step_inputs(scope, step)[0] for step in self.graph.steps}
        assert seen["first"] == {"i": self.xcoms["inputs"]["x"]}
        (outputs,) = values.outputs(scope)
        return {"i": seen["second"], "o": outputs}

    def refused(self) -> str:
        with pytest.raises(HybridError) as error:
            self.second_inputs()
        assert not error.value.retryable
        return str(error.value)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    return Run(tmp_path)


def test_what_a_task_made_is_handed_on(run: Run) -> None:
    assert run.second_inputs() == {"i": {"i": run.xcoms["first"]["o"]}, "o": run.xcoms["second"]}
    assert [item["basename"] for item in run.xcoms["inputs"]["x"]["secondaryFiles"]] == ["x.idx"]


def test_what_a_task_was_given_is_handed_on(run: Run) -> None:
    run.xcoms["first"]["o"] = run.xcoms["inputs"]["x"]
    run.xcoms["second"]["o"] = run.xcoms["inputs"]["x"]
    run.second_inputs()
    run.xcoms["first"]["o"] = {"class": "File", "basename": "f", "contents": "a literal"}
    assert "the value of task 'second' names" in run.refused()
    run.xcoms["second"]["o"] = run.made("second")
    run.second_inputs()


def test_an_input_comes_back_with_a_secondary_file_of_the_job(run: Run) -> None:
    own = run.made("first", "x.fai")
    value = {**run.xcoms["inputs"]["x"], "secondaryFiles": [own]}
    run.xcoms["first"] = {"o": value}
    assert run.second_inputs()["i"] == {"i": value}
    value["secondaryFiles"] = [{**own, "location": "file:///etc/shadow"}]
    assert run.refused() == (
        "the value of task 'first' names file:///etc/shadow, which that task neither made nor received: it is not used"
        + HINT.format("first")
    )


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "hybrid://site/node/etc/passwd",
        f"hybrid://site/node{WORK}/dag/run/second/g0-0a/a1-0f/00000/out/f",
        f"hybrid://site/node{WORK}/dag/other/first/g0-0a/a1-0f/00000/out/f",
        f"hybrid://site/node{WORK}/dag/run/first/g0-0a/a1-0f/00000/../../../../../../../../etc/passwd",
        f"hybrid://site/node{WORK}/dag/run/first/g0-0a/a1-0f/00000/out/%2e%2e/%2e%2e/x",
        f"hybrid://site/node{WORK}/dag/run/first/g0-0a/a1-0f/00000/stderr",
        "hybrid://site/node/elsewhere/dag/run/first/g0-0a/a1-0f/00000/out/f",
        f"hybrid://other/node{WORK}/dag/run/first/g0-0a/a1-0f/00000/out/f",
        "http://169.254.169.254/latest",
        "s3://aws@bucket/secret",
        "/etc/passwd",
    ],
)
def test_another_file_in_a_tasks_value_is_refused(run: Run, location: str) -> None:
    for value in (
        {"class": "File", "location": location},
        {**run.made("first"), "secondaryFiles": [{"class": "File", "location": location}]},
        [{"record": {"class": "Directory", "listing": [{"class": "File", "location": location}]}}],
    ):
        run.xcoms["first"] = {"o": value}
        assert run.refused() == (
            f"the value of task 'first' names {location}, which that task neither made nor received: it is not used"
            + HINT.format("first")
        )


def test_a_path_beside_a_good_location_is_refused(run: Run) -> None:
    run.xcoms["first"]["o"]["path"] = "/etc/passwd"
    assert "which that task neither made nor received" in run.refused()


def test_the_outputs_are_judged_as_well(run: Run) -> None:
    run.xcoms["second"]["o"] = {"class": "File", "location": "file:///etc/passwd"}
    assert run.refused() == (
        "the value of task 'second' names file:///etc/passwd, which that task neither made nor received:"
        " it is not used" + HINT.format("second")
    )


def test_the_runs_inputs_are_those_that_it_was_given(run: Run) -> None:
    run.xcoms["inputs"]["x"]["location"] = "file:///etc/passwd"
    assert run.refused() == (
        "the value of task 'inputs' names file:///etc/passwd, which is not among the run's inputs: it is not used"
        + HINT.format("inputs")
    )


def test_a_secondary_file_lies_beside_its_file(run: Run) -> None:
    run.xcoms["inputs"]["x"]["secondaryFiles"][0]["location"] = "file:///etc/passwd"
    assert "names file:///etc/passwd, which is not among the run's inputs" in run.refused()


def test_requirements_in_an_edited_value_are_refused(run: Run) -> None:
    run.xcoms["inputs"]["cwl:requirements"] = [{"class": "InitialWorkDirRequirement", "listing": []}]
    assert run.refused() == (
        "the value of task 'inputs' has requirements that are not among the run's inputs: they are not used"
        + HINT.format("inputs")
    )


def test_outputs_of_other_runs_only_where_the_run_may_take_them(run: Run) -> None:
    run.xcoms["first"]["o"] = run.made("another", run="other")
    assert "which that task neither made nor received" in run.refused()
    run.conf["reuse"] = True
    run.second_inputs()
    run.xcoms["first"]["o"] = run.made("another", run="other", work="/elsewhere")
    assert "which that task neither made nor received" in run.refused()


@pytest.mark.parametrize(
    ("site", "work", "held"),
    [
        ("home", "/home/u/work", True),
        ("home", "/home/u/play", False),
        ("plain", "/home/u/airflow_hybrid", True),
        ("plain", "/home/u/other", False),
    ],
)
def test_a_work_directory_of_the_sites_own_is_known_by_its_end(run: Run, site: str, work: str, held: bool) -> None:
    run.xcoms["first"]["o"] = run.made("first", site=site, work=work)
    if held:
        run.second_inputs()
    else:
        assert "which that task neither made nor received" in run.refused()


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("hybrid://site/node/etc/passwd", "the input {} is not below the work directory of a deployment of this DAG"),
        ("hybrid://other/node/site/work/f", "the input {} is not below the work directory of a deployment of this DAG"),
        (f"hybrid://site/node{WORK}/../f", "an input cannot be used: the path in '{}' is not normal"),
    ],
)
def test_a_runs_inputs_at_deployments_lie_in_their_work_directories(run: Run, location: str, said: str) -> None:
    origins = Origins(run.ground, "dag", "run", {}, {}, str)
    with pytest.raises(InputError) as error:
        origins.check_given({"x": [{"class": "File", "location": location}]})
    assert str(error.value).split("\n")[0] == said.format(location)
    origins.check_given({"x": {"class": "File", "location": f"hybrid://site/node{WORK}/f"}, "y": 1})


def test_a_long_chain_of_steps_that_hand_a_file_on_is_judged_to_its_beginning(run: Run) -> None:
    first, second = run.graph.steps
    steps = [first]
    for number in range(1_500):
        port = replace(second.inputs[0], sources=(Source(steps[-1].path, "o"),))
        steps.append(replace(second, path=f"/step{number}", inputs=(port,)))
    run.graph = replace(run.graph, steps=tuple(steps))
    for step in steps:
        run.xcoms[step.name] = {"o": run.xcoms["inputs"]["x"]}
    last = replace(run.graph.outputs[0], sources=(Source(steps[-1].path, "o"),))
    run.graph = replace(run.graph, outputs=(last,))
    run.outputs()
    forged = {"class": "File", "location": "file:///etc/passwd"}
    for step in steps:
        run.xcoms[step.name] = {"o": forged}
    with pytest.raises(HybridError) as error:
        run.outputs()
    assert str(error.value) == (
        "the value of task 'first' names file:///etc/passwd, which that task neither made nor received: it is not used"
        + HINT.format("first")
    )
