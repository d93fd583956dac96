# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``--report`` of a runner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c]
inputs: {script: {type: string, inputBinding: {}}}
outputs: []
"""


@pytest.mark.slow
@pytest.mark.parametrize(("script", "code", "state"), [("exit 0", 0, "success"), ("exit 3", 1, "failed")])
def test_a_report_of_a_run_that_succeeded_or_failed(tmp_path: Path, script: str, code: int, state: str) -> None:
    (tmp_path / "tool.cwl").write_text(TOOL)
    report, page = tmp_path / "run.json", tmp_path / "run.html"
    own = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    env = {**own, "PYTHONPATH": str(ROOT), "AIRFLOW__AIRFLOW_HYBRID__PUE": "1.25"}
    command = [sys.executable, "-m", "airflow_hybrid.runner", "--report", str(report), "tool.cwl"]
    command += ["--script", script, "--report", "run.html"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert f"airflow-hybrid-runner: the report about the run is {report}\n" in done.stderr
    assert f"airflow-hybrid-runner: the report about the run is {page}\n" in done.stderr
    assert page.read_text().startswith("<!DOCTYPE html>")
    value = json.loads(report.read_text())
    assert (value["state"], value["by_last_task"], len(value["jobs"])) == (state, False, 1)
    assert value["footprint"]["constants"]["pue"] == {"value": 1.25, "source": "setting [airflow_hybrid] pue"}
