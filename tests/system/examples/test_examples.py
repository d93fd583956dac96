# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The example DAGs on a real Airflow, started in every way there is; results as cwltool has them."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.needs import unavailable
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import ROOT, SYSTEM_PATH, Dags
from tests.system.cwl import cwltool, essence, file_checksum

CLAIRE_TIMEOUT_S = 420.0


@pytest.fixture(scope="module")
def hello_by_cwltool(tmp_path_factory: pytest.TempPathFactory, job_path: str) -> Any:
    hello = ROOT / "dags" / "hello"
    return essence(
        cwltool(hello / "main.cwl", hello / "inputs.yml", tmp_path_factory.mktemp("hello") / "run", job_path)
    )


@pytest.fixture(scope="module")
def claire_by_cwltool(tmp_path_factory: pytest.TempPathFactory, job_path: str) -> Any:
    python = next((folder / "python3" for folder in SYSTEM_PATH if (folder / "python3").exists()), None)
    if python is None or os.system(f"{python} -c 'import sklearn, matplotlib' 2>/dev/null"):
        unavailable(
            "the example claire", "scikit-learn and matplotlib", "apt-get install python3-sklearn python3-matplotlib"
        )
    claire = ROOT / "dags" / "claire"
    return essence(
        cwltool(claire / "main.cwl", claire / "inputs.yml", tmp_path_factory.mktemp("claire") / "run", job_path)
    )


@pytest.fixture(scope="module")
def hello(airflow: AirflowStack, dags: Dags) -> str:
    name = dags.add_like("hello/streamflow.yml", "hello_now")
    airflow.api.unpause(name)
    return name


@pytest.fixture(scope="module")
def hello_daily(airflow: AirflowStack, dags: Dags) -> str:
    options = {"schedule": "@daily", "start_date": "2026-01-01"}
    name = dags.add_like("hello/streamflow.yml", "hello_daily", dag=options)
    airflow.api.wait_dag(name)
    return name


def outputs(airflow: AirflowStack, dag_id: str, run_id: str, timeout_s: float = 240.0) -> dict[str, Any]:
    """The output object of a run, which must succeed; its files must be where it says they are."""
    airflow.api.succeed(dag_id, run_id, timeout_s)
    value: dict[str, Any] = airflow.api.xcom(dag_id, run_id, OUTPUTS_TASK)
    for file in files(value):
        assert file_checksum(file["location"]) == file["checksum"]
    return value


def files(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("class") == "File":
            return [value]
        value = list(value.values())
    return [file for item in value for file in files(item)] if isinstance(value, list) else []


def test_examples_are_loaded_as_they_are(airflow: AirflowStack) -> None:
    names = {path.name for path in (ROOT / "dags").glob("*.py")}
    for name in sorted(names):
        airflow.api.wait_dag(name.removesuffix(".py"))
    assert {file: text for file, text in airflow.api.import_errors().items() if Path(file).name in names} == {}


def test_hello_by_rest_equals_cwltool(airflow: AirflowStack, hello: str, hello_by_cwltool: Any) -> None:
    run = airflow.api.trigger(hello)
    assert essence(outputs(airflow, hello, run)) == hello_by_cwltool


def test_hello_by_command_line_equals_cwltool(airflow: AirflowStack, hello: str, hello_by_cwltool: Any) -> None:
    airflow.airflow("dags", "trigger", hello, "--run-id", "by-hand")
    assert essence(outputs(airflow, hello, "by-hand")) == hello_by_cwltool


def test_hello_with_an_input_in_the_conf(airflow: AirflowStack, hello: str, tmp_path: Path, job_path: str) -> None:
    run = airflow.api.trigger(hello, {"top": 3})
    inputs = {**yaml.safe_load((ROOT / "dags/hello/inputs.yml").read_text()), "top": 3}
    inputs["book"]["location"] = str(ROOT / "dags/hello/book.txt")
    wanted = cwltool(ROOT / "dags/hello/main.cwl", inputs, tmp_path / "run", job_path)
    assert essence(outputs(airflow, hello, run)) == essence(wanted)


def test_a_schedule_starts_hello(airflow: AirflowStack, hello_daily: str, hello_by_cwltool: Any) -> None:
    airflow.api.unpause(hello_daily)

    def scheduled() -> list[str]:
        return [run["dag_run_id"] for run in airflow.api.runs(hello_daily) if run["run_type"] == "scheduled"]

    run = wait_for(scheduled, 120, lambda: f"no scheduled run: {airflow.api.runs(hello_daily)}")[0]
    assert essence(outputs(airflow, hello_daily, run)) == hello_by_cwltool


@pytest.mark.long
def test_a_backfill_over_three_dates(airflow: AirflowStack, hello_daily: str, hello_by_cwltool: Any) -> None:
    airflow.api.unpause(hello_daily)
    last = datetime.now(timezone.utc).date() - timedelta(days=3)
    dates = ["--from-date", str(last - timedelta(days=2)), "--to-date", str(last)]
    airflow.airflow("backfill", "create", "--dag-id", hello_daily, *dates)

    def backfilled() -> list[str]:
        runs = [run["dag_run_id"] for run in airflow.api.runs(hello_daily) if run["run_type"] == "backfill"]
        return runs if len(runs) == 3 else []

    for run in wait_for(backfilled, 120, lambda: f"not three runs: {airflow.api.runs(hello_daily)}"):
        assert essence(outputs(airflow, hello_daily, run)) == hello_by_cwltool


@pytest.mark.long
def test_claire_on_local_sites_equals_cwltool(airflow: AirflowStack, dags: Dags, claire_by_cwltool: Any) -> None:
    name = dags.add_like("claire/streamflow.yml", "claire_now")
    airflow.api.unpause(name)
    run = airflow.api.trigger(name)
    assert essence(outputs(airflow, name, run, CLAIRE_TIMEOUT_S)) == claire_by_cwltool


@pytest.mark.slow
@pytest.mark.long
def test_claire_on_slurm_and_a_cloud_host_equals_cwltool(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], claire_by_cwltool: Any
) -> None:
    """Train on Slurm behind ssh, metrics on another host, the report here; nothing is shared."""
    name = dags.add_like(
        "claire/streamflow-slurm.yml",
        "claire_sites",
        cloud=deployments["cloud"],
        login=deployments["login"],
        hpc={"config": {"services": {"train": {"file": "slurm-train.j2", "partition": "main", "account": "proj"}}}},
    )
    airflow.api.unpause(name)
    run = airflow.api.trigger(name)
    assert essence(outputs(airflow, name, run, CLAIRE_TIMEOUT_S)) == claire_by_cwltool
