# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A file that appears at a site starts a run, once, also if the triggerer is killed meanwhile."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_hybrid.model import FileRef
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags

LOCATION = "{{ (triggering_asset_events.values() | first | last).extra.payload.location }}"


def asset_of(airflow: AirflowStack) -> int:
    (asset,) = airflow.api.call("GET", "/assets", params={"name_pattern": "watched%"})["assets"]
    return int(asset["id"])


def has_looked(airflow: AirflowStack) -> bool:
    """Whether there was a first look, after which files count: it is written down."""
    kept = airflow.api.call("GET", f"/assets/{asset_of(airflow)}/state-store")
    return bool(kept["total_entries"])


def events(airflow: AirflowStack) -> list[str]:
    """Names of the files that events were made of, in their order."""
    rows = airflow.api.call("GET", "/assets/events", params={"asset_id": asset_of(airflow), "limit": 100})
    return [row["extra"]["payload"]["basename"] for row in sorted(rows["asset_events"], key=lambda row: row["id"])]


def run_of(airflow: AirflowStack, dag: str, number: int) -> dict[str, Any]:
    """The DAG's runs, by their age."""
    runs: list[dict[str, Any]] = wait_for(
        lambda: rows if len(rows := airflow.api.runs(dag)) >= number else None,
        120,
        lambda: airflow.processes.tail("triggerer"),
    )
    return sorted(runs, key=lambda run: str(run["run_after"]))[number - 1]


@pytest.mark.slow
def test_a_file_that_appears_starts_one_run_whatever_happens_to_the_triggerer(
    airflow: AirflowStack, dags: Dags
) -> None:
    work = dags.work / "watched"
    incoming = work / "incoming files"
    incoming.mkdir(parents=True)
    (incoming / "old.csv").write_text("old\n")
    (dags.folder / "documents" / "watched_inputs.yml").write_text(f"file: {{class: File, location: '{LOCATION}'}}\n")
    watch = {"files": "incoming files/*.csv", "deployment": "here", "settle": 2, "interval": 1, "name": "watched"}
    hybrid = {
        "version": "v1.0",
        "workflows": {
            "watched": {
                "type": "cwl",
                "config": {"file": "cat.cwl", "settings": "watched_inputs.yml"},
                "bindings": [{"step": "/", "target": {"deployment": "here"}}],
                "dag": {"schedule": [watch]},
            }
        },
        "deployments": {"here": {"type": "local", "config": {}, "workdir": str(work)}},
    }
    name = dags.add("watched", hybrid)
    airflow.api.unpause(name)
    (dags.folder / f"{name}.py").touch()  # Airflow starts a watch when it parses the file of a DAG that is not paused
    wait_for(lambda: has_looked(airflow), 240, lambda: airflow.processes.tail("triggerer"))
    (incoming / "one's.csv").write_text("one\n")
    first = run_of(airflow, name, 1)
    airflow.api.succeed(name, first["dag_run_id"])
    out = airflow.api.xcom(name, first["dag_run_id"], "outputs")["out"]
    with open(FileRef.parse(out["location"]).path) as file:
        assert file.read() == "one\n"

    airflow.kill("triggerer")
    (incoming / "two.csv").write_text("two\n")
    airflow.restart("triggerer")
    second = run_of(airflow, name, 2)
    airflow.api.succeed(name, second["dag_run_id"])
    time.sleep(10)
    assert events(airflow) == ["one's.csv", "two.csv"]
    assert len(airflow.api.runs(name)) == 2
