# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Alerts about jobs that wait in a queue, by the deadlines of a real Airflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags

DOCUMENT = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {names: "string[]", go: string}
steps:
  naps:
    scatter: name
    in: {name: names, go: go}
    out: []
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'for i in $(seq 1200); do test ! -e "$0" || break; sleep 0.5; done']
      inputs:
        name: string
        go: {type: string, inputBinding: {}}
      outputs: []
outputs: []
"""
DAG = """
from datetime import timedelta

from airflow.sdk import AsyncCallback
from airflow_hybrid import HybridDag
from airflow_hybrid.notifications.queued import queue_alerts

dag = HybridDag(
    {document!r},
    dag_id="queues_up",
    bindings={{"/naps": {{"target": "one", "scatter": "batch"}}}},
    deployments={{"one": {{"type": "local", "config": {{"cores": 1}}, "workdir": {folder!r}, "deferrable": True}}}},
    deadline=queue_alerts(
        timedelta(seconds=10),
        AsyncCallback("tests.system.workflows.test_queue_alerts.tell", {{"file": {folder!r} + "/told"}}),
        up_to=timedelta(seconds=160),
    ),
)
"""


async def tell(file: str, context: object) -> None:
    assert isinstance(context, dict)
    with open(file, "a") as stream:
        stream.write(f"{context['hybrid_queue']}\n")


@pytest.mark.slow
def test_jobs_that_wait_for_long_are_told_of(airflow: AirflowStack, dags: Dags) -> None:
    work = dags.work / "queues up"
    work.mkdir(parents=True)
    document = dags.folder / "documents" / "naps_in_a_row.cwl"
    document.write_text(DOCUMENT)
    new = dags.folder / "queues_up.new"
    new.write_text(DAG.format(folder=str(work), document=str(document)))
    new.rename(dags.folder / "queues_up.py")
    airflow.api.unpause("queues_up")
    run = airflow.api.trigger("queues_up", {"names": ["a", "b", "c"], "go": str(work / "go")})
    told: Path = work / "told"
    lines = wait_for(
        lambda: told.read_text().splitlines() if told.exists() else None,
        240,
        lambda: airflow.processes.tail("triggerer"),
    )
    (work / "go").touch()
    assert lines[0].endswith(f"wait in a queue (run {run})") or lines[0].endswith(f"waits in a queue (run {run})")
    assert lines[1].startswith("  /naps at one")
    airflow.api.succeed("queues_up", run)
