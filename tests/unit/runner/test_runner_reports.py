# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``--report`` of a runner."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.reasons import clues, programs, refused, slurm
from airflow_hybrid.reasons import failed as failed_module
from airflow_hybrid.reasons.actions import without_airflow
from airflow_hybrid.reasons.errors import of_error
from airflow_hybrid.reasons.explanation import Rule
from airflow_hybrid.reasons.failed import Ended, failed
from airflow_hybrid.reasons.tasks import not_run

MODULES = (clues, failed_module, programs, refused, slurm)
ASKS_AIRFLOW = re.compile(r"clear (it|the task)|airflow hybrid logs|the task's (log|next try)")
ROOT = Path(__file__).parents[3]
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c]
inputs: {script: {type: string, inputBinding: {}}}
outputs: []
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "code", "state"), [("exit 0", 0, "success"), ("echo E: index missing >&2; exit 3", 1, "failed")]
)
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
    if state == "failed":
        assert value["jobs"][0]["reason"].endswith("E: index missing")
        assert [part["remedy"] for part in value["reasons"]] == [
            "the last line of its stderr is under *Failed jobs*; `--leave-tmpdir` of another run keeps its files",
            "repair that, then run the document again",
        ]


def test_no_remedy_of_a_run_alone_asks_airflow() -> None:
    remedies = [part.remedy for module in MODULES for part in _rules(vars(module).values())]
    remedies += [failed(Ended(state, code)).remedy for state in JobState for code in (None, 0, 1, 126, 137, 143)]
    remedies += [not_run(["/a"]).remedy, of_error({"message": "x"}).remedy]
    assert len(remedies) > 100
    asking = [text for text in map(without_airflow, remedies) if ASKS_AIRFLOW.search(text)]
    assert asking == []
    assert [text for text in remedies if ASKS_AIRFLOW.search(text)]


def _rules(values: Iterable[Any]) -> Iterator[Rule]:
    for value in values:
        if isinstance(value, Rule):
            yield value
        elif isinstance(value, tuple | list):
            yield from _rules(value)
        elif isinstance(value, Mapping):
            yield from _rules(value.values())
