# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A workflow over a real Grid Engine and a PBS: files go from site to site, outputs are those of cwltool."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.fakes.jobstore import install
from tests.system.cwl import cwltool, essence
from tests.system.dag_runs import run_dags
from tests.testbed.fixture import Testbed

DOCUMENT = Path(__file__).parents[1] / "documents" / "clusters.cwl"
INPUTS = {"words": ["alpha", "beta", "gamma"]}


def test_a_workflow_over_grid_engine_and_pbs(grid: Testbed, tmp_path: Path) -> None:
    site = grid.sites["grid"]
    programs = install(tmp_path / "pbs", "pbs.py", "qsub", "qstat", "qdel")
    node = {"hostname": site.host, "username": site.user, "sshKey": str(site.key)}
    deployments = {
        "login": {"type": "ssh", "config": {"nodes": [node], "known_hosts": [str(grid.known_hosts)]}},
        "grid": {
            "type": "sge",
            "wraps": "login",
            "deferrable": False,  # DAG.test() runs no triggers that end their tasks
            "workdir": "~/air flow",
            "config": {"services": {"main": {"queue": "all.q", "pe": "smp"}}},
        },
        "pbs": {"type": "pbs", "deferrable": False, "workdir": str(tmp_path / "pbs work")},
    }
    bindings = {"/join": {"target": {"deployment": "grid", "service": "main"}}, "/sum": {"target": "pbs"}}
    options = {"deployments": deployments, "bindings": bindings}
    environment = {"PATH": f"{tmp_path}/pbs/bin:{os.environ['PATH']}"}
    run = {"document": str(DOCUMENT), "options": options, "conf": INPUTS}
    with grid.counting("grid", "qsub") as calls:
        (result,) = run_dags(tmp_path / "airflow", [run], **environment)
        (submit,) = calls.calls("qsub")
    assert result["state"] == "success", result["log"][-5000:]
    expected = cwltool(DOCUMENT, INPUTS, tmp_path / "cwltool", os.environ["PATH"])
    assert essence(result["outputs"]) == essence(expected)
    assert "-pe smp 2 -l h_vmem=50M -l h_rt=100" in submit
    jobs = json.loads((tmp_path / "pbs" / "jobs.json").read_text())
    assert {tuple(job["resources"]) for job in jobs.values()} == {("select=1:ncpus=1:mem=100mb",)}
    assert programs["FAKE"]
