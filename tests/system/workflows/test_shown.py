# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What Airflow's UI is given to show of a run: where steps run, which jobs the instances of a scatter hold, outputs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from airflow_hybrid.model import FileRef
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags

ASSET = "file:///hello_shown/summary"


@pytest.fixture(scope="module")
def reader(dags: Dags, airflow: AirflowStack) -> str:
    """A DAG that runs for each event of the asset."""
    folder = dags.folder / "documents"
    location = "{{ (triggering_asset_events.values() | first | first).extra.location }}"
    (folder / "reader_inputs.yml").write_text(f"file: {{class: File, location: '{location}'}}\n")
    config = {"file": "cat.cwl", "settings": "reader_inputs.yml"}
    workflow = {"type": "cwl", "config": config, "dag": {"schedule": [ASSET]}}
    name = dags.add("reader", {"version": "v1.0", "workflows": {"reader": workflow}})
    airflow.api.unpause(name)
    return name


@pytest.fixture(scope="module")
def shown(airflow: AirflowStack, dags: Dags, reader: str) -> tuple[str, str]:
    """A DAG and its finished run, which began when its reader was ready."""
    assert airflow.api.wait_dag(reader)["is_paused"] is False
    name = dags.add_like("hello/streamflow.yml", "hello_shown", dag={"assets": {"summary": ASSET}})
    airflow.api.unpause(name)
    run = airflow.api.trigger(name, {})
    airflow.api.succeed(name, run)
    return name, run


@pytest.mark.slow
def test_a_run_that_succeeds_starts_a_dag_that_reads_its_output(
    airflow: AirflowStack, reader: str, shown: tuple[str, str]
) -> None:
    runs = wait_for(lambda: airflow.api.runs(reader) or None, 120, lambda: "no run of the asset")
    airflow.api.succeed(reader, runs[0]["dag_run_id"])
    summary = airflow.api.xcom(*shown, "outputs")["summary"]
    copy = airflow.api.xcom(reader, runs[0]["dag_run_id"], "outputs")["out"]
    assert copy["checksum"] == summary["checksum"]


@pytest.mark.slow
def test_outputs_are_downloaded_by_a_link_of_their_task(airflow: AirflowStack, shown: tuple[str, str]) -> None:
    name, run = shown
    links = airflow.api.call("GET", f"/dags/{name}/dagRuns/{run}/taskInstances/outputs/links")["extra_links"]
    page = urlsplit(links["Outputs"])
    assert (page.path.endswith("/page"), page.fragment) == (True, "outputs")
    path = page.path.removesuffix("page") + "outputs"
    assert httpx.get(airflow.api.url + path, trust_env=False).status_code == 401
    listed = airflow.api.page(f"{path}/list").json()["outputs"]
    (key,) = [file["key"] for output in listed for file in output["files"] if file["path"] == "summary.md"]
    summary = FileRef.parse(airflow.api.xcom(name, run, "outputs")["summary"]["location"]).path
    assert airflow.api.page(f"{path}/{key}").content == Path(summary).read_bytes()


@pytest.mark.slow
def test_tasks_are_called_by_where_they_run_and_mapped_ones_by_their_jobs(
    airflow: AirflowStack, shown: tuple[str, str]
) -> None:
    name, run = shown
    tasks = airflow.api.tasks(name, run)
    places = {task["task_id"]: task["operator_name"] for task in tasks}
    assert {step: places[step] for step in ("split", "count", "summarise")} == {
        "split": "left",
        "count": "left",
        "summarise": "right",
    }
    assert sorted(task["rendered_map_index"] for task in tasks if task["task_id"] == "count") == [
        f"chapter {number} @ left" for number in range(4)
    ]
