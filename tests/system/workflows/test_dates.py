# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run knows its date: templates among the inputs, in runs of a backfill, by hand and of assets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_hybrid.model import FileRef
from airflow_hybrid.operators.values import INPUTS_TASK, OUTPUTS_TASK
from tests.needs import unavailable
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")


@pytest.fixture(scope="module")
def daily(airflow: AirflowStack, dags: Dags) -> str:
    name = dags.add_like("daily/streamflow.yml", "daily_now")
    airflow.api.wait_dag(name)
    return name


def summaries(airflow: AirflowStack, dag_id: str) -> dict[str, tuple[str, str]]:
    """Of each run, by its summary's name: how many days its mean is of, and the date of its readings."""
    by_name = {}
    for run in airflow.api.runs(dag_id):
        value = airflow.api.xcom(dag_id, run["dag_run_id"], OUTPUTS_TASK)
        summary = Path(FileRef.parse(value["summary"]["location"]).path).read_text()
        selected = Path(FileRef.parse(value["selected"]["location"]).path).read_text()
        days = summary.split("mean of ")[1].split(" ")[0]
        by_name[value["summary"]["basename"]] = (days, selected.partition(",")[0])
    return by_name


def wait_for_runs(airflow: AirflowStack, dag_id: str, number: int) -> None:
    wait_for(lambda: len(airflow.api.runs(dag_id)) == number or None, 60.0, lambda: str(airflow.api.runs(dag_id)))


@pytest.mark.slow
def test_a_backfill_gives_each_run_the_inputs_of_its_date(airflow: AirflowStack, daily: str) -> None:
    if airflow.database_pid is None:
        unavailable("a backfill", "PostgreSQL (Airflow refuses it on SQLite)", "apt-get install postgresql")
    airflow.airflow("backfill", "create", "--dag-id", daily, "--from-date", DAYS[0], "--to-date", DAYS[-1])
    airflow.api.unpause(daily)

    def ended() -> list[dict[str, Any]] | None:
        runs = [run for run in airflow.api.runs(daily) if run["state"] in ("success", "failed")]
        return runs if len(runs) >= len(DAYS) else None

    runs = wait_for(ended, 240.0, lambda: str(airflow.api.runs(daily)))
    for run in runs:
        airflow.api.succeed(daily, run["dag_run_id"])
    expected = {f"summary-{day}.md": (str(number), day) for number, day in enumerate(DAYS, 1)}
    assert {name: value for name, value in summaries(airflow, daily).items() if name in expected} == expected


def add_daily(dags: Dags, name: str, schedule: list[str] | None, **inputs: str) -> None:
    """Add a DAG like the example's, with other templates: ``day``, ``days`` and ``month`` of the file's name."""
    folder = dags.folder / "daily"
    values = yaml.safe_load((folder / "inputs.yml").read_text())
    values["readings"]["path"] = f"readings-{inputs.pop('month')}.csv"
    (folder / f"{name}_inputs.yml").write_text(yaml.safe_dump({**values, **inputs}))
    hybrid = yaml.safe_load((folder / "streamflow.yml").read_text())
    workflow = hybrid["workflows"].pop("daily")
    workflow["config"]["settings"] = f"{name}_inputs.yml"
    workflow["dag"] = {"schedule": schedule}
    hybrid["workflows"][name] = workflow
    hybrid["deployments"]["station"]["workdir"] = str(dags.work / "station")
    dags.add(name, hybrid, "daily")


@pytest.mark.slow
def test_a_run_of_an_asset_gets_what_its_event_carries(airflow: AirflowStack, dags: Dags) -> None:
    name, asset = "daily_asset", "file:///data/readings"
    extra = "(triggering_asset_events.values() | first | first).extra"
    add_daily(
        dags,
        name,
        [asset],
        day=f"{{{{ {extra}.day }}}}",
        days=f"{{{{ {extra}.days }}}}",
        month=f"{{{{ {extra}.day[:7] }}}}",
    )
    airflow.api.unpause(name)
    (known,) = [item for item in airflow.api.call("GET", "/assets")["assets"] if item["uri"] == asset]
    for days in (1, 2):
        event = {"asset_id": known["id"], "extra": {"day": DAYS[days - 1], "days": days}}
        airflow.api.call("POST", "/assets/events", json=event)
        wait_for_runs(airflow, name, days)
    for run in airflow.api.runs(name):
        airflow.api.succeed(name, run["dag_run_id"])
    assert summaries(airflow, name) == {f"summary-{DAYS[n]}.md": (str(n + 1), DAYS[n]) for n in (0, 1)}


@pytest.mark.slow
def test_what_a_run_is_given_is_never_rendered(airflow: AirflowStack, daily: str) -> None:
    airflow.api.unpause(daily)
    run = airflow.api.trigger(daily, {"day": "{{ ds }}", "days": 1}, logical_date="2026-01-04T00:00:00Z")
    airflow.api.wait_run(daily, run, 120)
    assert airflow.api.xcom(daily, run, INPUTS_TASK)["day"] == "{{ ds }}"


@pytest.mark.slow
def test_a_run_without_a_date_says_what_it_lacks(airflow: AirflowStack, daily: str) -> None:
    airflow.api.unpause(daily)
    run = airflow.api.trigger(daily, {})
    airflow.api.wait_run(daily, run, 120)
    assert airflow.api.states(daily, run)[INPUTS_TASK] == "failed"
    message = "input 'day': the template `{{ ds }}` cannot be rendered: 'ds' is undefined"
    assert message in airflow.api.log(daily, run, INPUTS_TASK)


SHOW_JOB = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'scontrol --oneliner show job "$SLURM_JOB_ID"']
requirements: {EnvVarRequirement: {envDef: {}}}
inputs: {minutes: int}
stdout: job.txt
outputs: {job: {type: stdout}}
"""


@pytest.mark.slow
@pytest.mark.testbed
@pytest.mark.long
def test_options_of_a_service_are_templates(airflow: AirflowStack, dags: Dags, deployments: dict[str, Any]) -> None:
    (dags.folder / "documents/show_job.cwl").write_text(SHOW_JOB)
    name = "options_of_the_day"
    service = {
        "partition": "main",
        "account": "proj",
        "comment": "of {{ ds }}",
        "nice": "{{ logical_date.day }}",
        "time": "{{ params.minutes }}",
    }
    hpc = {**deployments["hpc"], "config": {"services": {"main": service}}}
    workflow = {
        "type": "cwl",
        "config": {"file": "show_job.cwl"},
        "bindings": [{"step": "/", "target": {"deployment": "hpc", "service": "main"}}],
    }
    dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": {**deployments, "hpc": hpc}})
    airflow.api.unpause(name)
    run = airflow.api.trigger(name, {"minutes": 7}, logical_date="2026-01-04T00:00:00Z")
    airflow.api.succeed(name, run)
    output = airflow.api.xcom(name, run, OUTPUTS_TASK)["job"]["location"]
    words = dict(word.partition("=")[::2] for word in Path(FileRef.parse(output).path).read_text().split())
    assert (words["TimeLimit"], words["Nice"], words["Comment"]) == ("00:07:00", "4", "of")
