# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A DAG run that is deleted and made anew under its old name: its results are its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.model import FileRef
from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
inputs:
  word: string
  seconds: int
arguments:
- sleep
- $(inputs.seconds)
- {valueFrom: '; echo first', shellQuote: false}
- $(inputs.word)
stdout: said.txt
outputs: {said: stdout}
"""


class Tool:
    """A DAG of one tool, which can be edited."""

    def __init__(self, airflow: AirflowStack, dags: Dags, work: Path, name: str, deferrable: bool) -> None:
        self.api, self.name, self.work = airflow.api, name, work
        self.document = dags.folder / "documents" / f"{name}.cwl"
        self.document.write_text(TOOL)
        deployment = {"type": "local", "workdir": str(work), "deferrable": deferrable}
        workflow = {
            "type": "cwl",
            "config": {"file": f"{name}.cwl"},
            "bindings": [{"step": "/", "target": "here"}],
            "dag": {"default_args": {"retries": 1, "retry_delay": 1}},
        }
        dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": {"here": deployment}})
        self.api.unpause(name)

    def start(self, run_id: str, word: str, seconds: int = 0) -> None:
        self.api.trigger(self.name, {"word": word, "seconds": seconds}, run_id=run_id)

    def text(self, run_id: str) -> str:
        self.api.succeed(self.name, run_id)
        said: dict[str, Any] = self.api.xcom(self.name, run_id, OUTPUTS_TASK)["said"]
        return Path(FileRef.parse(said["location"]).path).read_text()

    def delete(self, run_id: str) -> None:
        self.api.call("DELETE", f"/dags/{self.name}/dagRuns/{run_id}")

    @property
    def places(self) -> list[Path]:
        """The task directories of the step."""
        return sorted(self.work.glob(f"{self.name}/*/*/g*"))


@pytest.mark.parametrize(
    "deferrable", [pytest.param(False, id="in-worker"), pytest.param(True, id="deferred", marks=pytest.mark.long)]
)
def test_a_run_made_anew_takes_nothing_of_the_deleted_one(
    airflow: AirflowStack, dags: Dags, tmp_path: Path, deferrable: bool
) -> None:
    tool = Tool(airflow, dags, tmp_path / "work", f"made_anew_{deferrable}".lower(), deferrable)
    tool.start("fixed", "one")
    assert tool.text("fixed") == "first one\n"
    assert len(tool.places) == 1

    tool.delete("fixed")
    tool.start("fixed", "two")
    assert tool.text("fixed") == "first two\n"

    tool.delete("fixed")
    tool.document.write_text(TOOL.replace("echo first", "echo second"))
    time.sleep(1)
    tool.start("fixed", "two")
    assert tool.text("fixed") == "second two\n"

    # the same once more: nothing is taken even of a run with the same commands and inputs
    tool.delete("fixed")
    tool.start("fixed", "two")
    assert tool.text("fixed") == "second two\n"
    assert len(tool.places) == 4


def test_clearing_only_the_first_task_starts_no_job_twice(airflow: AirflowStack, dags: Dags, tmp_path: Path) -> None:
    tool = Tool(airflow, dags, tmp_path / "work", "made_anew_inputs", True)
    tool.start("fixed", "one", seconds=15)
    deadline = time.monotonic() + 120
    while not list(tool.work.glob(f"{tool.name}/*/*/g*/a*/jobid")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    airflow.api.clear(tool.name, "fixed", ["inputs"], downstream=False)
    assert tool.text("fixed") == "first one\n"
    assert len(list(tool.work.glob(f"{tool.name}/*/*/g*/a*"))) == 1
