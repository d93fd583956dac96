# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Who may execute an input belongs to it, as its content does: for copies in the store, and for reuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_hybrid.engine import TaskIdentity
from airflow_hybrid.errors import JobFailedError
from tests.unit.engine.execution import execute

RUN = """cwlVersion: v1.2
class: CommandLineTool
inputs: {program: %s}
arguments: [$(inputs.program.path)%s]
outputs: {said: stdout}
stdout: said
"""
LIST = """cwlVersion: v1.2
class: CommandLineTool
inputs: {of: %s}
baseCommand: [stat, -L, -c, '%%A']
arguments: [$(inputs.of.path)%s]
outputs: {said: {type: string, outputBinding: {glob: said, loadContents: true, outputEval: '$(self[0].contents)'}}}
stdout: said
"""


class Runs:
    """Runs of one tool in one work directory."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self.count = folder, 0
        (folder / "tool.cwl").write_text(text)

    def run(self, value: dict[str, object], *, reuse: bool = False) -> tuple[dict[str, object], bool]:
        self.count += 1
        sites = {"site": {"type": "local", "config": {}, "workdir": f"{self.folder}/site"}}
        identity = TaskIdentity("dag", f"run{self.count}", "tool", generation=0, origin="origin")
        outcome, log = execute(
            self.folder / "tool.cwl",
            value,
            sites,
            {"/": {"target": "site"}},
            identity=identity,
            reuse=reuse,
            asked=reuse,
        )
        return dict(outcome.results[0].outputs), "their outputs are reused" in log.text


def program(path: Path, mode: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\necho ran\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("kind", "name"), [("File", ""), ("Directory", "/run.sh")])
def test_a_copy_can_be_executed_as_its_source_can(tmp_path: Path, kind: str, name: str) -> None:
    source = program(tmp_path / "bin" / "run.sh", 0o644)
    value = {"program": {"class": kind, "path": str(source if kind == "File" else source.parent)}}
    runs = Runs(tmp_path, RUN % (kind, name))
    with pytest.raises(JobFailedError, match="exit code 126"):
        runs.run(value)
    source.chmod(0o755)
    runs.run(value)
    source.chmod(0o644)
    with pytest.raises(JobFailedError, match="exit code 126"):
        runs.run(value)


def test_a_copy_of_another_run_takes_no_right_away(tmp_path: Path) -> None:
    plain, executable = program(tmp_path / "a" / "run.sh", 0o644), program(tmp_path / "b" / "run.sh", 0o755)
    runs = Runs(tmp_path, RUN % ("File", ""))
    with pytest.raises(JobFailedError, match="exit code 126"):
        runs.run({"program": {"class": "File", "path": str(plain)}})
    runs.run({"program": {"class": "File", "path": str(executable)}})
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "site" / "store").glob("*/*/run.sh")}
    assert modes == {0o644, 0o755}


@pytest.mark.parametrize(("kind", "name"), [("File", ""), ("Directory", "/run.sh")])
def test_a_job_is_not_reused_for_an_input_that_can_be_executed_now(tmp_path: Path, kind: str, name: str) -> None:
    source = program(tmp_path / "bin" / "run.sh", 0o644)
    value = {"of": {"class": kind, "path": str(source if kind == "File" else source.parent)}}
    runs = Runs(tmp_path, LIST % (kind, name))
    assert runs.run(value, reuse=True) == ({"said": "-rw-r--r--\n"}, False)
    assert runs.run(value, reuse=True) == ({"said": "-rw-r--r--\n"}, True)
    source.chmod(0o755)
    assert runs.run(value, reuse=True) == ({"said": "-rwxr-xr-x\n"}, False)
