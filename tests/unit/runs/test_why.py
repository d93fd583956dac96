# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Why runs wait or failed, from a real database of Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.web.served import ROOT, Served, served

DAG = """\
from airflow_hybrid import HybridDag
made = HybridDag("made.cwl", dag_id="made", outdir={outdir!r})
"""
WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {codes: "int[]"}
outputs: {o: {type: "File[]", outputSource: each/o}, s: {type: File, outputSource: size/s}}
steps:
  each:
    scatter: code
    in: {code: codes}
    out: [o]
    run:
      class: CommandLineTool
      requirements: {ResourceRequirement: {ramMin: 100}}
      baseCommand: [sh, -c, '[ "$0" -ne 1 ] || echo "ModuleNotFoundError: No module named ''numpy''" >&2; exit $0']
      inputs: {code: {type: int, inputBinding: {position: 1}}}
      stdout: o
      outputs: {o: stdout}
  size:
    in: {files: each/o}
    out: [s]
    run:
      class: CommandLineTool
      baseCommand: [wc, -c]
      inputs: {files: {type: "File[]", inputBinding: {}}}
      stdout: s
      outputs: {s: stdout}
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    (home / "dags").mkdir()
    (home / "dags/made.cwl").write_text(WORKFLOW)
    (home / "dags/made.py").write_text(DAG.format(outdir=str(home / "results")))
    with served(home) as web:
        yield web


def run(web: Served, codes: list[int], **more: Any) -> str:
    run_id, _ = web.ask("run", file=str(web.home / "dags/made.py"), dag_id="made", conf={"codes": codes, **more})
    return str(run_id)


@pytest.fixture(scope="module")
def good(web: Served) -> str:
    return run(web, [0, 0])


@pytest.fixture(scope="module")
def bad(web: Served) -> str:
    return run(web, [0, 1, 1, 137, 3])


def why(web: Served, run_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = web.ask("why", dag_id="made", run_id=run_id)
    return found


def test_there_is_nothing_to_say_of_a_run_that_went_well(web: Served, good: str) -> None:
    assert why(web, good) == []


def test_failed_jobs_are_explained_together_and_what_follows_says_which_step_failed(web: Served, bad: str) -> None:
    found = [(a["step"], a["state"], a["jobs"], a["total"], a["first"], a["sentence"]) for a in why(web, bad)]
    assert found == [
        ("/each", "failed", 2, 5, "[1]", "Python finds no module `numpy` (exit code 1)"),
        (
            "/each",
            "failed",
            1,
            5,
            "[3]",
            "somebody, or the kernel for lack of memory, killed it (exit code 137, SIGKILL)",
        ),
        ("/each", "failed", 1, 5, "[4]", "its program reports a failure: exit code 3"),
        ("/size", "not run", 0, 0, "", "because /each failed"),
        ("outputs", "not run", 0, 0, "", "because /each failed"),
    ]
    remedies = [answer["remedy"] for answer in why(web, bad)]
    assert remedies[1:4] == [
        "it asked for 100 MiB: perhaps raise `ramMin` of the step's ResourceRequirement or of its binding's"
        " `resources`",
        f"its stderr may say more: `airflow hybrid logs {bad} '/each[4]'`",
        "repair that and clear it: what was not run follows by itself",
    ]


def test_the_error_of_a_task_without_jobs_is_told(web: Served) -> None:
    (answer, *_) = why(web, run(web, [0], nosuch=1))
    assert (answer["step"], answer["state"], answer["sentence"]) == ("inputs", "failed", "unknown conf key: 'nosuch'")


HELD = [
    ({"state": None}, {}, "it waits for data of /each (running)"),
    ({"state": "scheduled"}, {"pool_slots": 0}, "all 0 slots of the pool `default_pool` are taken"),
    ({"state": "scheduled"}, {"paused": True}, "the DAG is paused"),
    ({"state": "scheduled"}, {}, "it waits for a slot of Airflow's executor"),
    ({"state": "scheduled", "pool": "nosuch"}, {}, "Airflow has no pool `nosuch`"),
    ({"state": "queued", "queue": "gpu"}, {}, "it waits for a worker (queue `gpu`)"),
    (
        {"state": "queued"},
        {"scheduler_silent_s": 600},
        "no scheduler of Airflow has given a sign of life for 10 min, so nobody starts its tasks",
    ),
    (
        {"state": "deferred"},
        {"trigger": "airflow_hybrid.triggers.logins.LoginTrigger"},
        "it waits for a login that works",
    ),
    ({"state": "skipped"}, {}, None),
]


@pytest.mark.parametrize(("task", "facts", "sentence"), HELD)
def test_a_task_that_waits_in_airflow(
    web: Served, good: str, task: dict[str, Any], facts: dict[str, Any], sentence: str | None
) -> None:
    each = {"task_id": "each", "state": "running" if task["state"] is None else "success"}
    web.ask("hold", dag_id="made", run_id=good, task=each)
    size = {"task_id": "size", "queue": "default", "pool": "default_pool", "trigger_id": None, **task}
    web.ask("hold", dag_id="made", run_id=good, task=size, **facts)
    found = [answer["sentence"] for answer in why(web, good) if answer["step"] == "/size"]
    web.ask("hold", dag_id="made", run_id=good, task={**size, "state": "success"}, run_state="success")
    assert found == ([] if sentence is None else [sentence])


def test_a_run_that_has_not_begun(web: Served, good: str) -> None:
    web.ask("hold", dag_id="made", run_id=good, task={"task_id": "size"}, run_state="queued", paused=True)
    found = why(web, good)
    web.ask("hold", dag_id="made", run_id=good, task={"task_id": "size"}, run_state="success")
    assert [(answer["step"], answer["sentence"]) for answer in found] == [("", "the DAG is paused")]


def command(web: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(web.home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "COLUMNS": "400",
    }
    words = [sys.executable, "-m", "airflow", "hybrid", "why", *arguments]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


def test_the_command_prints_paragraphs_and_json(web: Served, good: str, bad: str) -> None:
    assert command(web, bad, "size").stdout == (
        "/size was not run because /each failed\n  -> repair that and clear it: what was not run follows by itself\n"
    )
    assert command(web, bad, "outputs").stdout == (
        "the run's outputs (task outputs) was not run because /each failed\n"
        "  -> repair that and clear it: what was not run follows by itself\n"
    )
    assert command(web, good).stdout == "nothing waits or has failed\n"
    assert json.loads(command(web, bad, "-o", "json").stdout) == why(web, bad)
