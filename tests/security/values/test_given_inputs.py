# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a job was given stays as it was: nothing is put into it, and links that come into it later lead nowhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import TaskIdentity
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import FileRef, JobScript, StageEntry
from airflow_hybrid.sites.batches.script import job_function
from tests.needs import SHELLS, posix_shell
from tests.unit.engine.execution import execute

HEAD = """\
cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}, InitialWorkDirRequirement: {listing: %s}}
inputs: {d: Directory, f: File}
baseCommand: [ls, -R]
stdout: o
outputs: {o: stdout}
"""
HINT = "make that entry of InitialWorkDirRequirement `writable`: it is then a copy for the job to change"


def given(folder: Path) -> dict[str, Any]:
    (folder / "data").mkdir()
    (folder / "data/precious").write_text("precious")
    (folder / "f.txt").write_text("other")
    return {
        "d": {"class": "Directory", "path": str(folder / "data")},
        "f": {"class": "File", "path": str(folder / "f.txt")},
    }


@pytest.mark.parametrize("site", ["local", "site"])
@pytest.mark.parametrize(
    "listing",
    [
        "[$(inputs.d), {entryname: data/precious, entry: $(inputs.f), writable: true}]",
        "[$(inputs.d), {entryname: data/new, entry: $(inputs.f), writable: true}]",
        "[$(inputs.d), {entryname: data/new, entry: $(inputs.f)}]",
        "[$(inputs.d), {entryname: data/new, entry: 'some text'}]",
        "[$(inputs.d), {entryname: data/deep/new, entry: $(inputs.f), writable: true}]",
        "[{entryname: data/new, entry: $(inputs.f), writable: true}, $(inputs.d)]",
    ],
)
def test_nothing_is_put_into_an_input_that_is_not_a_copy(tmp_path: Path, listing: str, site: str) -> None:
    job = given(tmp_path)
    (tmp_path / "tool.cwl").write_text(HEAD % listing)
    places = {site: {"type": "local", "config": {}, "workdir": str(tmp_path / "work")}}
    identity = TaskIdentity("dag", "run", "task", origin="origin")
    with pytest.raises(CwlError) as caught:
        execute(tmp_path / "tool.cwl", job, places, {"/": site}, identity=identity)
    out = caught.value.message.partition(" is a staged")[0]
    assert out.endswith("/out/data")
    assert str(caught.value) == (
        f"/tool: {out} is a staged input, but something else would be put into it\n  -> {HINT}"
    )
    assert {path.name: path.read_text() for path in (tmp_path / "data").iterdir()} == {"precious": "precious"}


def test_a_writable_copy_may_be_added_to(tmp_path: Path) -> None:
    job = given(tmp_path)
    listing = "[{entry: $(inputs.d), writable: true}, {entryname: data/new, entry: $(inputs.f), writable: true}]"
    (tmp_path / "tool.cwl").write_text(HEAD % listing)
    places = {"site": {"type": "local", "config": {}, "workdir": str(tmp_path / "work")}}
    identity = TaskIdentity("dag", "run", "task", origin="origin")
    outcome, _ = execute(tmp_path / "tool.cwl", job, places, {"/": "site"}, identity=identity)
    listed = Path(FileRef.parse(outcome.results[0].outputs["o"]["location"]).path).read_text()
    assert listed.split() == [".:", "data", "o", "./data:", "new", "precious"]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["precious"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_link_that_a_job_left_is_not_followed_when_its_folder_is_copied(tmp_path: Path, shell: str) -> None:
    data = tmp_path / "work/dag/run/task/g0-0a1b2c/a1-0d/00000-ab/out/data"
    data.mkdir(parents=True)
    (data / "y").write_text("1")
    (data / "x").symlink_to(tmp_path / "later")
    (tmp_path / "later").write_text("what came later")
    job = tmp_path / "job"
    for name in ("out", "tmp"):
        (job / name).mkdir(parents=True)
    script = JobScript(command=("ls", "data"), outdir=str(job / "out"), tmpdir=str(job / "tmp"))
    entry = StageEntry("copy", str(job / "out/data"), str(data))
    functions = 'ah_bad() { cat ../stderr; exit 71; }\nah_exec() { exec "$@"; }\n'
    text = f"{functions}{job_function(0, script, [entry])}(ah_j0)\n"
    subprocess.run([*posix_shell(shell), "-c", text], check=True, timeout=240)
    assert (job / "stdout").read_text() == "x\ny\n"
    copied = job / "out/data/x"
    assert copied.is_symlink() and copied.readlink() == tmp_path / "later"
    assert json.loads((job / "out/data/y").read_text()) == 1
