# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Who may start a run may not thereby run any code: ``cwl:requirements`` of its inputs hold harmless classes only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_hybrid.dag.hybrid_dag import HybridDag
from airflow_hybrid.engine import TaskIdentity
from airflow_hybrid.errors import CwlError, HybridError, InputError
from airflow_hybrid.operators.steps.fragment import StepInputs, Tries, fragment_of
from airflow_hybrid.operators.values import INPUTS_TASK

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: "true"
inputs: []
outputs: []
"""


def said(classes: str, only: str = "ResourceRequirement, ToolTimeLimit, WorkReuse", add: str = "") -> str:
    add = add or classes.partition(",")[0].partition(" ")[0]
    return (
        f"'cwl:requirements' in the inputs of a run may not contain {classes}: only {only} are allowed"
        "\n  -> put the requirement into the document or the DAG's own inputs; or let the DAG allow it: "
        f"`dag: {{run_requirements: [{add}]}}` in the hybrid file, or HybridDag(run_requirements=[...])"
    )


class Run:
    """The first task of a DAG's run, with a conf."""

    def __init__(self, folder: Path) -> None:
        (folder / "flows" / ".git").mkdir(parents=True)
        self.document = folder / "flows" / "main.cwl"
        self.document.write_text(TOOL)

    def dag(self, **options: Any) -> HybridDag:
        return HybridDag(str(self.document), dag_id="d", fileloc=str(self.document.parent / "dag.py"), **options)

    def inputs(self, conf: dict[str, Any], **options: Any) -> Any:
        task: Any = self.dag(**options).task_dict[INPUTS_TASK]
        ti = SimpleNamespace(dag_id="d", run_id="manual", task=task)
        return task.run_task({"dag_run": SimpleNamespace(conf=conf), "params": {}, "ti": ti, "dag": task.dag})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    return Run(tmp_path)


ENVIRONMENT = {"EnvVarRequirement": {"envDef": {"LD_PRELOAD": "/tmp/evil.so"}}}
HOSTILE: dict[str, dict[str, Any]] = {
    "EnvVarRequirement": ENVIRONMENT,
    "InitialWorkDirRequirement": {"InitialWorkDirRequirement": {"listing": [{"entryname": "json.py", "entry": "1"}]}},
    "DockerRequirement": {"DockerRequirement": {"dockerPull": "evil"}},
    "ShellCommandRequirement": {"ShellCommandRequirement": {}},
    "NetworkAccess": {"NetworkAccess": {"networkAccess": True}},
    "InplaceUpdateRequirement": {"InplaceUpdateRequirement": {"inplaceUpdate": True}},
    "InlineJavascriptRequirement": {"InlineJavascriptRequirement": {"expressionLib": ["1"]}},
    "ResourceRequirement with an expression": {"ResourceRequirement": {"coresMin": "$(1+1)"}},
}


@pytest.mark.parametrize("classes", HOSTILE)
@pytest.mark.parametrize("where", ["conf", "job"])
def test_what_could_run_code_is_refused(run: Run, classes: str, where: str) -> None:
    brought = {"cwl:requirements": HOSTILE[classes]}
    with pytest.raises(InputError) as caught:
        run.inputs(brought if where == "conf" else {"job": brought})
    assert str(caught.value) == said(classes)


def test_all_that_is_refused_is_told_at_once(run: Run) -> None:
    with pytest.raises(InputError) as caught:
        run.inputs({"https://w3id.org/cwl/cwl#requirements": {**ENVIRONMENT, **HOSTILE["NetworkAccess"]}})
    assert str(caught.value) == said("EnvVarRequirement, NetworkAccess")


def test_how_much_and_how_long_may_be_said(run: Run) -> None:
    brought = [
        {"class": "ResourceRequirement", "coresMin": 2},
        {"class": "ToolTimeLimit", "timelimit": 60},
        {"class": "WorkReuse", "enableReuse": False},
    ]
    assert run.inputs({"cwl:requirements": brought}) == {"cwl:requirements": brought}


def test_the_dag_may_allow_a_class_or_any(run: Run) -> None:
    assert list(run.inputs({"cwl:requirements": ENVIRONMENT}, run_requirements=["EnvVarRequirement"])) == [
        "cwl:requirements"
    ]
    assert list(run.inputs({"cwl:requirements": HOSTILE["NetworkAccess"]}, run_requirements="any")) == [
        "cwl:requirements"
    ]
    with pytest.raises(InputError) as caught:
        run.inputs({"cwl:requirements": HOSTILE["NetworkAccess"]}, run_requirements=["EnvVarRequirement"])
    only = "ResourceRequirement, ToolTimeLimit, WorkReuse, EnvVarRequirement"
    assert str(caught.value) == said("NetworkAccess", only)


def test_the_dag_s_own_inputs_are_the_author_s(run: Run) -> None:
    own = {"cwl:requirements": ENVIRONMENT}
    assert list(run.inputs({}, inputs=own)) == ["cwl:requirements"]
    with pytest.raises(InputError) as caught:
        run.inputs({"cwl:requirements": ENVIRONMENT}, inputs=own)
    assert str(caught.value) == said("EnvVarRequirement")


def test_what_is_allowed_names_images_and_archives_as_documents_do(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret.tar"
    for brought, problem in (
        ({"dockerImageId": "--privileged"}, "dockerImageId '--privileged' is not an image name"),
        (
            {"dockerLoad": str(secret)},
            f"dockerLoad: a document may not name {secret.as_uri()}: it is outside {run.document.parent}",
        ),
    ):
        with pytest.raises(CwlError) as caught:
            run.inputs({"cwl:requirements": {"DockerRequirement": brought}}, run_requirements="any")
        assert (caught.value.where, caught.value.message) == ("'cwl:requirements' in the inputs", problem)


def test_a_value_that_was_changed_between_the_tasks_is_refused(run: Run) -> None:
    task: Any = next(task for name, task in run.dag().task_dict.items() if "setup" in vars(task))
    planted: Any = {"cwl:requirements": [{"class": "EnvVarRequirement", "envDef": []}]}
    context: Any = {"dag_run": SimpleNamespace(conf={}, start_date=None)}
    identity = TaskIdentity("d", "manual", task.task_id, origin="here")
    with pytest.raises(HybridError) as caught:
        fragment_of(StepInputs(task.setup, [], None, False, 0), context, planted, identity, Tries(0, False))
    assert str(caught.value) == said("EnvVarRequirement")


def test_the_hybrid_file_says_it(tmp_path: Path, run: Run) -> None:
    from airflow_hybrid.config import load_hybrid_file

    file = tmp_path / "streamflow.yml"
    file.write_text(
        "version: v1.0\nworkflows:\n  w:\n    type: cwl\n    config: {file: flows/main.cwl}\n"
        "    dag: {run_requirements: any}\n"
    )
    assert load_hybrid_file(str(file)).workflows["w"].dag == {"run_requirements": ["any"]}


def test_the_runner_s_user_is_the_author(tmp_path: Path) -> None:
    document = tmp_path / "echo.cwl"
    document.write_text(TOOL.replace('"true"', "[printenv, WHO]").replace("outputs: []", "outputs: {o: stdout}"))
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"cwl:requirements": {"EnvVarRequirement": {"envDef": {"WHO": "me"}}}}))
    program = str(Path(sys.executable).parent / "airflow-hybrid-runner")
    done = subprocess.run(
        [program, "--quiet", "--outdir", str(tmp_path / "out"), str(document), str(job)],
        env=dict(os.environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["o"]["path"]).read_text() == "me\n"
