# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Who may execute an input belongs to it, as its content does: for copies in the store, and for reuse."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.engine import TaskIdentity, executables
from airflow_hybrid.errors import CommandError, HostUnreachableError, JobFailedError
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.hosts.local import LocalHost
from tests.unit.engine.execution import run_spec, spec_of
from tests.unit.sites.shell_hosts import EVERY_SHELL, ShellHost

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

    def run(self, value: dict[str, Any], *, reuse: bool = False) -> tuple[dict[str, object], bool]:
        self.count += 1
        sites = {"site": {"type": "local", "config": {}, "workdir": f"{self.folder}/site"}}
        identity = TaskIdentity("dag", f"run{self.count}", "tool", generation=0, origin="origin")
        spec = spec_of(self.folder / "tool.cwl", value, sites, {"/": {"target": "site"}}, identity)
        outcome, log = run_spec(replace(spec, reuse=reuse, reuse_asked=reuse))
        return dict(outcome.results[0].outputs), "their outputs are reused" in log.text


@pytest.fixture(params=["here", "at a site"])
def seen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where inputs are: on this machine, or where only commands can tell."""
    if request.param == "at a site":
        monkeypatch.setattr(executables, "_is_here", lambda *_: False)


def program(path: Path, mode: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\necho ran\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("kind", "name"), [("File", ""), ("Directory", "/run.sh")])
@pytest.mark.usefixtures("seen")
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


@pytest.mark.usefixtures("seen")
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


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_a_site_says_the_same_as_this_machine(tmp_path: Path, shell: str) -> None:
    folder, job = tmp_path / "a folder", tmp_path / "dag/run/task/g0-0a/a1-0f/00000/out"
    for path, mode in ((folder / "x", 0o755), (folder / "plain", 0o644), (folder / "sub" / "odd\nname $(x)", 0o500)):
        program(path, mode)
    job.mkdir(parents=True)
    program(job / "run.sh", 0o755)
    (folder / "link").symlink_to("x")
    (job / "link").symlink_to(folder / "x")
    paths = [str(path) for path in (folder, folder / "x", folder / "plain", folder / "link", tmp_path / "none", job)]
    said = await executables._names_at(ShellHost(shell), paths)
    assert [sorted(names) for names in said[:5]] == [sorted(executables._names(path)) for path in paths[:5]]
    assert said[1:] == [[""], [], [""], [], ["/run.sh"]]
    assert await executables._names_at(ShellHost(shell), [paths[1]]) == [[""]]


async def test_a_site_that_does_not_say_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as error:
        await executables._names_at(LocalHost("hpc", "login", prelude="exit 3\n"), [str(tmp_path)])
    assert str(error.value) == (
        "hpc (login): look for executables: the look for executables was not answered (0 of 1) (exit code 3)"
    )


async def test_a_site_that_cannot_be_asked_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(executables, "_is_here", lambda *_: False)
    deployments = parse_deployments({"site": {"type": "local", "config": {}, "workdir": str(tmp_path)}})
    files = [{"class": "File", "location": "hybrid://site/elsewhere/f"}]

    async def down(*_: object) -> None:
        raise HostUnreachableError("no answer", where="site (elsewhere)")

    monkeypatch.setattr(Locations, "host_of", down)
    assert await executables.words_at_sites(files, Locations(deployments), logging.getLogger("t")) == {}
    assert [record.getMessage() for record in caplog.records] == [
        "it is unknown which of 1 input files are executable: site (elsewhere): no answer"
    ]
