# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs as partitions of an asset: each run starts one run of the DAG that reads them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags

URI = "file:///hello_parts/summary"
LOCATION = "{{ (triggering_asset_events.values() | first | first).extra.location }}"
READER = f"""
from airflow.sdk import Asset, PartitionedAssetTimetable
from airflow_hybrid import HybridDag

dag = HybridDag(
    "documents/cat.cwl",
    dag_id="reads_parts",
    inputs="documents/parts_inputs.yml",
    schedule=PartitionedAssetTimetable(assets=Asset({URI!r})),
)
"""


def two_runs(airflow: AirflowStack) -> list[dict[str, Any]] | None:
    runs = airflow.api.runs("reads_parts")
    return runs if len(runs) == 2 else None


@pytest.mark.slow
def test_each_run_starts_a_run_of_the_dag_that_reads_its_partition(airflow: AirflowStack, dags: Dags) -> None:
    (dags.folder / "documents" / "parts_inputs.yml").write_text(f"file: {{class: File, location: '{LOCATION}'}}\n")
    new = dags.folder / "reads_parts.new"
    new.write_text(READER)
    new.rename(dags.folder / "reads_parts.py")
    airflow.api.unpause("reads_parts")
    assets = {"summary": {"uri": URI, "partition": "{{ run_id }}"}}
    name = dags.add_like("hello/streamflow.yml", "hello_parts", dag={"assets": assets})
    airflow.api.unpause(name)
    made = [airflow.api.trigger(name, {}) for _ in range(2)]
    for run in made:
        airflow.api.succeed(name, run)
    runs = wait_for(lambda: two_runs(airflow), 120, lambda: "no run per partition")
    assert sorted(str(run["partition_key"]) for run in runs) == sorted(made)
    for reading in runs:
        airflow.api.succeed("reads_parts", reading["dag_run_id"])
        copy = airflow.api.xcom("reads_parts", reading["dag_run_id"], "outputs")["out"]
        assert copy["checksum"] == airflow.api.xcom(name, reading["partition_key"], "outputs")["summary"]["checksum"]
