# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Loops as DAGs: here and at sites that share nothing, the outputs are cwltool's, and a kill repeats no iteration."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.system.cwl import cwltool, essence
from tests.system.dag_runs import run_dags
from tests.testbed.fixture import Testbed

DOCUMENTS = Path(__file__).parents[1] / "documents"
LOOPS = DOCUMENTS / "loops.cwl"
TURNS = 6


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "a text.txt").write_text("first line\n")
    (folder / "folder").mkdir()
    (folder / "folder" / "zero").write_text("0\n")
    return {
        "text": {"class": "File", "path": str(folder / "a text.txt")},
        "folder": {"class": "Directory", "path": str(folder / "folder")},
    }


@pytest.fixture(scope="module")
def expected(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("cwltool") / "run"
    document = Path(f"{LOOPS}#main")
    found: dict[str, Any] = essence(
        cwltool(document, given, folder, os.environ["PATH"], "--enable-dev", "--relax-path-checks")
    )
    return found


def test_loops_of_every_shape_give_what_cwltool_gives(
    given: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    sites = {name: {"type": "local", "config": {}, "workdir": str(tmp_path / name)} for name in ("left", "right")}
    # a loop whose inner steps are at two sites: its values travel in every iteration
    bindings = {"/": "left", "/sub/line": "right", "/trees": "right", "/nested": {"target": "right", "fuse": True}}
    document = f"{LOOPS}#main"
    endless = {"/": {"target": "left", "max_iterations": 2}}
    runs = run_dags(
        tmp_path / "airflow",
        [
            {"document": document, "options": {"deployments": sites, "bindings": bindings}, "conf": given},
            {"document": document, "options": {"deployments": sites, "bindings": endless}, "conf": given},
        ],
    )
    assert runs[0]["state"] == "success", runs[0]["log"][-8000:]
    assert essence(runs[0]["outputs"]) == expected
    assert {runs[0]["tasks"][name] for name in ("never", "never_all", "spread.inner[3]")} == {"skipped"}
    for said in ("/count: iteration 3 at left", "/nested/inner: iteration 2.2 at right", "/sub ran 3 iterations"):
        assert said in runs[0]["log"]
    assert runs[1]["state"] == "failed"
    assert "/count: the loop has had 2 iterations and its `when` is still true" in runs[1]["log"]
    assert "max_iterations" in runs[1]["log"]


def remote(name: str, document: str, bindings: list[dict[str, Any]], deployments: dict[str, Any]) -> dict[str, Any]:
    workflow = {
        "type": "cwl",
        "config": {"file": document},
        "bindings": bindings,
        "dag": {"default_args": {"retries": 2, "retry_delay": 1}},
    }
    return {"version": "v1.0", "workflows": {name: workflow}, "deployments": deployments}


SLURM = {"deployment": "hpc", "service": "main"}


@pytest.mark.slow
def test_loops_run_at_sites_and_their_data_stays_there(
    airflow: AirflowStack,
    dags: Dags,
    deployments: dict[str, Any],
    given: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    bindings: list[dict[str, Any]] = [
        {"step": "/", "target": "cloud"},
        *({"step": step, "target": SLURM} for step in ("/count", "/looped_scatter", "/trees", "/beside", "/spread")),
    ]
    dag = dags.add("loops", remote("loops", "loops.cwl#main", bindings, deployments))
    airflow.api.unpause(dag)
    run = airflow.api.trigger(dag, given)
    airflow.api.succeed(dag, run, 300)
    assert essence(airflow.api.xcom(dag, run, OUTPUTS_TASK)) == expected
    lineage = airflow.api.xcom(dag, run, "count", "lineage")
    came = [entry["source"] for entry in lineage if entry["route"] != "produced"]
    assert len(came) == 1 and came[0].startswith("file:"), f"more than the first input travelled: {lineage}"
    assert sum(entry["route"] == "produced" for entry in lineage) == 3
    assert "/count: iteration 3 at " in airflow.api.log(dag, run, "count")


@pytest.mark.slow
@pytest.mark.faults
def test_a_kill_in_the_middle_of_a_loop_repeats_no_iteration(
    airflow: AirflowStack, dags: Dags, deployments: dict[str, Any], testbed: Testbed
) -> None:
    places = {
        "hpc": (SLURM, "/home/hpcuser/loop.record"),
        "cloud": ({"deployment": "cloud"}, "/home/clouduser/loop.record"),
    }
    runs = {}
    for site, (target, record) in places.items():
        name = f"loop_record_{site}"
        dags.add(name, remote(name, "loop_record.cwl", [{"step": "/count", "target": target}], deployments))
        testbed.run(site, f"rm -f {record}")
    for site, (_, record) in places.items():
        airflow.api.unpause(f"loop_record_{site}")
        conf = {"turns": TURNS, "record": record, "seconds": 3}
        runs[site] = airflow.api.trigger(f"loop_record_{site}", conf)

    def ran(site: str) -> list[str]:
        return testbed.run(site, f"cat {places[site][1]} 2>/dev/null || true").split()

    def why() -> str:
        return "\n".join(airflow.api.failures(f"loop_record_{site}", run) for site, run in runs.items())

    wait_for(lambda: all(len(ran(site)) >= 2 for site in runs) or None, 180, why, poll_s=0.2)
    airflow.kill("triggerer")
    assert all(len(ran(site)) < TURNS for site in runs), "the loops were over before the kill: the test shows nothing"
    airflow.restart("triggerer")
    for site, run in runs.items():
        dag = f"loop_record_{site}"
        airflow.api.succeed(dag, run, 240)
        assert ran(site) == [str(n + 1) for n in range(TURNS)]
        assert Counter(ran(site)).most_common(1)[0][1] == 1
        assert airflow.api.xcom(dag, run, OUTPUTS_TASK)["trace"]["size"] == 2 * TURNS
