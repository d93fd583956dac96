# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``--report`` of a runner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.runner.reports import check_report

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
    report = tmp_path / "run.json"
    own = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    env = {**own, "PYTHONPATH": str(ROOT), "AIRFLOW__AIRFLOW_HYBRID__PUE": "1.25"}
    command = [sys.executable, "-m", "airflow_hybrid.runner", "--report", str(report), "tool.cwl", "--script", script]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert f"airflow-hybrid-runner: the report about the run is {report}\n" in done.stderr
    value = json.loads(report.read_text())
    assert (value["state"], value["by_last_task"], len(value["jobs"])) == (state, False, 1)
    assert value["footprint"]["constants"]["pue"] == {"value": 1.25, "source": "setting [airflow_hybrid] pue"}


def test_what_cannot_be_written_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        check_report("run.doc")
    assert (
        str(error.value) == "--report: run.doc: the ending says what is written: .html, .pdf, .png, .svg, .csv, .json"
    )
    with pytest.raises(ConfigError) as error:
        check_report(str(tmp_path / "none/run.html"))
    assert str(error.value) == f"--report: the report cannot be written: {tmp_path}/none is no folder, or not writable"
