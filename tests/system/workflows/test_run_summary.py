# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The summary of a run, as Airflow's callbacks send it: those of a DAG, in the DAG processor, and those of a task; and
the report that the run's last task writes in a worker.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags

DOCUMENT = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {codes: "int[]"}
steps:
  exits:
    scatter: code
    in: {code: codes}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'exit $0']
      stdout: out.txt
      inputs: {code: {type: int, inputBinding: {}}}
      outputs: {out: stdout}
outputs: {out: {type: "File[]", outputSource: exits/out}}
"""
DAG = """
from airflow.sdk.bases.notifier import BaseNotifier
from airflow_hybrid import HybridDag
from airflow_hybrid.notifications import RunSummaryNotifier


class Writer(BaseNotifier):
    template_fields = ("path", "text")

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.text = "{{{{ hybrid_summary }}}}"

    def notify(self, context):
        with open(self.path, "a") as file:
            file.write(self.text + "\\n")


def told(name):
    return RunSummaryNotifier(Writer({folder!r} + "/" + name))


dag = HybridDag(
    {document!r},
    dag_id="summed_up",
    outdir={folder!r} + "/results",
    report=True,
    bindings={{"/": {{"target": "here"}}}},
    deployments={{"here": {{"type": "local", "config": {{}}, "workdir": {folder!r}}}}},
    on_success_callback=told("success"),
    on_failure_callback=told("failure"),
    default_args={{"on_failure_callback": told("task")}},
)
"""


@pytest.mark.slow
def test_a_run_is_summed_up_for_its_callbacks(airflow: AirflowStack, dags: Dags) -> None:
    work = dags.work / "summed up"
    work.mkdir(parents=True)
    document = dags.folder / "documents" / "exits.cwl"
    document.write_text(DOCUMENT)
    new = dags.folder / "summed_up.new"
    new.write_text(DAG.format(folder=str(work), document=str(document)))
    new.rename(dags.folder / "summed_up.py")
    airflow.api.unpause("summed_up")
    good = airflow.api.trigger("summed_up", {"codes": [0, 0]})
    airflow.api.succeed("summed_up", good)
    (results,) = (work / "results").iterdir()
    report = json.loads((results / "run-report.json").read_text())
    assert [(job["step"], job["index"], job["state"]) for job in report["jobs"]] == [
        ("/exits", "[0]", "COMPLETED"),
        ("/exits", "[1]", "COMPLETED"),
    ]
    assert (report["run_id"], report["state"], report["by_last_task"]) == (good, "running", True)
    bad = airflow.api.trigger("summed_up", {"codes": [0, 3]})
    assert airflow.api.wait_run("summed_up", bad)["state"] == "failed"

    def read(name: str) -> list[str]:
        file: Path = work / name
        return wait_for(
            lambda: file.read_text().splitlines() if file.exists() else None,
            120,
            lambda: airflow.processes.tail("dag-processor"),
        )

    lines = read("success")
    assert lines[:2] == [f"summed_up, run {good}: succeeded", "2 jobs ended: 2 succeeded, 0 failed"]
    assert lines[-1].endswith(f"/dags/summed_up/runs/{good.replace(':', '%3A').replace('+', '%2B')}")
    lines = read("failure")
    assert lines[:3] == [
        f"summed_up, run {bad}: failed", "reason: task_failure", "2 jobs ended: 1 succeeded, 1 failed"
    ]  # fmt: skip
    assert any(line.startswith("  /exits[1] at here") and "exit code 3" in line for line in lines)
    assert read("task")[0] == f"summed_up, run {bad}: failed"
