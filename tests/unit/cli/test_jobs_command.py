# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid jobs``: what it prints about runs in a real database of Airflow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from airflow_hybrid.amounts import duration, size
from airflow_hybrid.cli.jobs import progress_line, row, summary
from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import BatchProgress, JobRecord, JobsReport
from airflow_hybrid.overviews.tasks import TaskJobs, in_order
from tests.unit.web.served import ROOT, Served, served

DAG = """\
from airflow_hybrid import HybridDag
made = HybridDag(
    "made.cwl",
    dag_id="made",
    outdir={outdir!r},
    bindings=[dict(step="/say", target=dict(deployment="local"), resources=dict(ramMin=64, timelimit=60))],
)
"""
WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {code: "int[]"}
outputs: {o: {type: "File[]", outputSource: say/o}}
steps:
  say:
    in: {code: code}
    scatter: code
    out: [o]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'printf 1234; exit $0']
      inputs: {code: {type: int, inputBinding: {position: 1}}}
      stdout: o
      outputs: {o: stdout}
"""


@dataclass(frozen=True)
class Runs:
    """Two runs of a DAG: all jobs of one succeed, one of the other fails."""

    web: Served
    good: str
    bad: str

    def jobs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(self.web.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "COLUMNS": "400",
        }
        command = [sys.executable, "-m", "airflow", "hybrid", "jobs", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    home = tmp_path_factory.mktemp("home")
    (home / "dags").mkdir()
    (home / "dags/made.cwl").write_text(WORKFLOW)
    file = home / "dags/made.py"
    file.write_text(DAG.format(outdir=str(home / "results")))
    with served(home) as web:
        good, state = web.ask("run", file=str(file), dag_id="made", conf={"code": [0, 0]})
        assert state == "success"
        bad, state = web.ask("run", file=str(file), dag_id="made", conf={"code": [0, 5]})
        assert state == "failed"
        yield Runs(web, good, bad)


def test_json_has_all_that_is_known(runs: Runs) -> None:
    done = runs.jobs(runs.good, "--output", "json")
    first, second = json.loads(done.stdout)
    assert (first["step"], first["index"], second["index"]) == ("/say", "[0]", "[1]")
    for job in (first, second):
        assert (job["state"], job["exit_code"], job["bytes_out"]) == ("COMPLETED", 0, 4)
        assert job["ended"] == pytest.approx(job["began"] + job["seconds"])
        assert Path(job["directory"], "out/o").read_text() == "1234"


def test_yaml_has_the_same(runs: Runs) -> None:
    as_yaml = yaml.safe_load(runs.jobs(runs.good, "-o", "yaml").stdout)
    assert as_yaml == json.loads(runs.jobs(runs.good, "-o", "json").stdout)


def test_the_table_has_a_row_for_each_job_and_a_summary(runs: Runs) -> None:
    lines = [re.split(r" *\| *", line.strip()) for line in runs.jobs(runs.bad).stdout.splitlines()]
    header, _, first, second, *_, last = lines
    assert header[:6] == ["step", "job", "place", "node", "id", "state"]
    assert (first[:3], first[5]) == (["/say", "[0]", "local"], "COMPLETED")
    assert (second[:3], second[5]) == (["/say", "[1]", "local"], "FAILED (5)")
    assert last == ["2 jobs ended: 1 succeeded, 1 failed"]


def test_only_what_is_asked_for(runs: Runs) -> None:
    failed = json.loads(runs.jobs(runs.bad, "--failed", "-o", "json").stdout)
    assert [job["index"] for job in failed] == ["[1]"]
    assert json.loads(runs.jobs(runs.bad, "--step", "say", "-o", "json").stdout)[0]["step"] == "/say"


@pytest.mark.parametrize(
    ("command", "step", "lines"),
    [
        ("jobs", "--step=/nix", ["the DAG has no step /nix", "  -> its steps are /say"]),
        ("jobs", "--step=says", ["the DAG has no step /says", "  -> did you mean /say?"]),
        ("data", "--step=/Say/x", ["the DAG has no step /Say/x", "  -> did you mean /say?"]),
        ("why", "/sya", ["the DAG has no step /sya", "  -> did you mean /say?"]),
        ("logs", "/nix[3]", ["the DAG has no step /nix", "  -> its steps are /say"]),
    ],
)
def test_a_step_that_is_not_there(runs: Runs, command: str, step: str, lines: list[str]) -> None:
    code, _, errors = runs.web.cli("hybrid", command, runs.bad, step)
    assert (code, errors[-2:]) == (1, lines)


def test_a_plan_of_a_dag_knows_what_its_bindings_ask_for(runs: Runs) -> None:
    (say,) = json.loads(runs.web.cli("hybrid", "plan", "made", "--conf", '{"code": [0, 0]}', "-o", "json")[1])
    assert (say["memory_mib"], say["time_limit_s"], say["cores"]) == (64, 60, None)


def test_the_files_of_a_step(runs: Runs) -> None:
    found = json.loads(runs.web.cli("hybrid", "data", runs.good, "--step", "say", "-o", "json")[1])
    assert {(file["role"], file["task_id"]) for file in found} == {("output", "say")}


def test_a_run_that_is_not_there(runs: Runs) -> None:
    done = runs.jobs("nope")
    assert (done.returncode, done.stderr.splitlines()[-2:]) == (
        1, ["no DAG has a run nope", "  -> airflow dags list-runs DAG lists those of a DAG"]
    )  # fmt: skip
    done = runs.jobs("nope", "--dag-id", "made")
    assert done.stderr.splitlines()[-2:] == ["DAG made has no run nope", "  -> airflow dags list-runs made"]


def test_rows_for_people() -> None:
    record = JobRecord("/a\n", "[3]", "hpc", "gpu", "login", JobState.FAILED, "", 7, 2, seconds=187.4, bytes_in=1234)
    assert row(record) == {
        "step": "/a\\n", "job": "[3]", "place": "hpc/gpu", "node": "", "id": "", "state": "FAILED (7)", "try": "2",
        "waited": "", "ran": "3 min 7 s", "cpu": "", "memory": "", "in": "1.2 kB", "out": "",
    }  # fmt: skip
    assert row(replace(record, memory_used_mib=1790))["memory"] == "1790 MiB"
    assert row(replace(record, exit_code=0))["state"] == "FAILED (0)"
    assert row(replace(record, state=JobState.COMPLETED, exit_code=0))["state"] == "COMPLETED"
    assert row(replace(record, state=JobState.COMPLETED, exit_code=None, reused=True))["state"] == "reused"
    good = replace(record, state=JobState.COMPLETED)
    others = [replace(good, index="[4]"), replace(good, index="[5]", reused=True)]
    assert summary([record, *others]) == "3 jobs ended: 2 succeeded (1 of them reused), 1 failed"
    assert summary([replace(good, attempt=3), record]) == "1 job ended: 1 succeeded, 0 failed"


def test_progress_for_people() -> None:
    batch = BatchProgress("/a", "hpc", 12, 5, 4, 3, ("Priority", "Resources"), since=100.0)
    assert progress_line(batch, 824.0) == (
        "/a at hpc: 5 of 12 jobs ended, 4 running, 3 pending (Priority; Resources), for 12 min 4 s"
    )
    assert progress_line(replace(batch, failed=2, running=0, pending=7), 824.0) == (
        "/a at hpc: 5 of 12 jobs ended, 2 failed, 7 pending (Priority; Resources), for 12 min 4 s"
    )
    silent = BatchProgress("/a", "hpc", 1, unknown="it does not answer", since=100.0)
    assert progress_line(silent, 101.0) == (
        "/a at hpc: 0 of 1 job ended, the state of the others is unknown: it does not answer, for 1.00 s"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "0.00 s"),
        (59.9, "59.90 s"),
        (60, "1 min 0 s"),
        (18180, "5 h 3 min"),
        (59.996, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (-30.0, "0.00 s"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, ""),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (2_500_000, "2.5 MB"),
        (999.6, "1.0 kB"),
        (999_960, "1.0 MB"),
    ],
)
def test_sizes(count: float | None, text: str) -> None:
    assert size(count) == text


def test_instances_of_a_task_stay_in_their_order() -> None:
    def task(task_id: str, map_index: int, began: float | None) -> TaskJobs:
        record = JobRecord(f"/{task_id}", f"[{map_index}]", "here", "", "here", JobState.COMPLETED, began=began)
        return TaskJobs(task_id, map_index, JobsReport((record,)))

    tasks = [task("a", -1, 30.0), task("b", 1, 10.0), task("b", 0, 20.0), task("c", -1, None)]
    assert [(found.task_id, found.map_index) for found in in_order(tasks)] == [
        ("b", 0), ("b", 1), ("a", -1), ("c", -1)
    ]  # fmt: skip
