# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a person sees of a run on a terminal."""

from __future__ import annotations

import json
import re
from contextlib import AbstractContextManager
from pathlib import Path

from tests.system.examples.test_runner import RUNNER, environment, has_ended
from tests.terminals import Terminal, on_terminal

SCATTERED = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {names: "string[]", go: string}
outputs: {all: {type: "File[]", outputSource: align/out}}
steps:
  align:
    scatter: name
    in: {name: names, go: go}
    out: [out]
    run:
      class: CommandLineTool
      inputs: {name: string, go: string}
      outputs: {out: stdout}
      stdout: $(inputs.name)
      baseCommand: [sh, -c]
      arguments: ['echo $$ >"$0.$1"; until [ -e "$0" ]; do sleep 0.2; done; echo "$1"', $(inputs.go), $(inputs.name)]
"""
JOBS = 3
ALIGN = re.compile(r"/align +━*─* +(.*), at here \(localhost\)")


def on_screen(folder: Path) -> AbstractContextManager[Terminal]:
    """A run whose jobs wait until there is a file ``go``."""
    (folder / "main.cwl").write_text(SCATTERED)
    (folder / "job.json").write_text(json.dumps({"names": list("abc"), "go": str(folder / "go")}))
    workflow = {"type": "cwl", "config": {"file": "main.cwl"}, "bindings": [{"step": "/", "target": "here"}]}
    # as many cores as jobs, whatever else runs on this machine
    here = {"type": "local", "config": {"cores": JOBS}}
    file = {"version": "v1.0", "workflows": {"main": workflow}, "deployments": {"here": here}}
    (folder / "streamflow.yml").write_text(json.dumps(file))
    command = [*RUNNER, "--outdir", "out", "--hybrid-file", "streamflow.yml", "main.cwl", "job.json"]
    return on_terminal(command, environment(folder), folder, (120, 40))


def jobs_run(lines: list[str]) -> bool:
    seen = next((match[1] for match in map(ALIGN.fullmatch, lines) if match), "")
    return seen.startswith(f"0 of {JOBS} jobs ended, {JOBS} running, for ")


def test_each_step_at_work_has_a_line_and_in_the_end_there_is_the_output_object_only(tmp_path: Path) -> None:
    with on_screen(tmp_path) as terminal:
        terminal.until(lambda lines: any("starting Airflow, " in line for line in lines))
        lines = terminal.until(jobs_run)
        assert len(lines) == 2
        assert re.fullmatch(rf"run +0 of 1 step done, 0 jobs ended, {JOBS} running, (\d+ min )?\d+ s", lines[1])
        (tmp_path / "go").touch()
        code, lines = terminal.to_the_end()
    out = json.loads("\n".join(lines))
    assert code == 0 and [file["basename"] for file in out["all"]] == list("abc")
    assert lines == json.dumps(out, indent=4).split("\n")
    assert terminal.shows_cursor


def test_ctrl_c_puts_the_terminal_back_and_cancels_the_jobs(tmp_path: Path) -> None:
    with on_screen(tmp_path) as terminal:
        terminal.until(jobs_run)
        terminal.type(b"\x03")
        assert terminal.to_the_end() == (130, ["airflow-hybrid-runner: interrupted"])
    assert terminal.shows_cursor
    pids = [int(path.read_text()) for path in tmp_path.glob("go.*")]
    assert len(pids) == JOBS and all(map(has_ended, pids))
