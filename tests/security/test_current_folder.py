# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A folder that somebody downloaded is no place for modules: Python that we start imports nothing from it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_hybrid.errors import HybridError
from airflow_hybrid.interpreter import module_command, module_environment
from airflow_hybrid.sites.kubernetes.helm import Release

BIN = Path(sys.executable).parent
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs: []
outputs: []
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with modules that leave a trace when they are imported."""
    folder = tmp_path / "downloaded"
    (folder / "airflow_hybrid").mkdir(parents=True)
    trace = f"open({str(tmp_path / 'imported')!r}, 'a').write(__name__ + ' ')\n"
    for name in (
        "airflow_hybrid/__init__",
        "yaml",
        "json",
        "runpy",
        "sitecustomize",
        "helm_python",
        "queue",
        "cwltool",
    ):
        (folder / f"{name}.py").write_text(trace)
    (folder / "main.cwl").write_text(TOOL)
    monkeypatch.chdir(folder)
    return folder


def imported(folder: Path) -> str:
    trace = folder.parent / "imported"
    return trace.read_text() if trace.exists() else ""


@pytest.mark.parametrize("version", [(3, 10), (3, 11)])
@pytest.mark.parametrize("path", ["", ":/nowhere", ".:/nowhere", "downloaded/.."])
def test_a_module_is_never_that_of_the_current_folder(hostile: Path, version: tuple[int, int], path: str) -> None:
    environment = module_environment({**os.environ, "PYTHONPATH": path})
    command = [*module_command("airflow_hybrid.runner", version), "--validate", "main.cwl"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "main.cwl is valid CWL.\n")
    assert imported(hostile) == ""


@pytest.mark.parametrize("version", [(3, 10), (3, 11)])
def test_the_command_alone_keeps_the_current_folder_out(hostile: Path, version: tuple[int, int]) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [*module_command("airflow_hybrid.runner", version), "--version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, imported(hostile)) == (0, "", "")


def test_a_folder_that_was_named_in_full_stays(tmp_path: Path) -> None:
    assert module_environment({"PYTHONPATH": f":{tmp_path}:x", "A": "b"}) == {
        "PYTHONPATH": str(tmp_path),
        "A": "b",
        "PYTHONSAFEPATH": "1",
    }


def test_the_commands(hostile: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path / "airflow")}
    environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{tmp_path / 'a.db'}"
    for command in (
        [str(BIN / "airflow-hybrid-runner"), "--validate", "main.cwl"],
        [str(BIN / "airflow"), "hybrid", "run", "--validate", "main.cwl"],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.endswith("main.cwl is valid CWL.\n")
    assert imported(hostile) == ""


def test_helm_s_process(hostile: Path) -> None:
    class Nowhere:
        namespace = title = "default"

        async def connect(self) -> None:
            pass

        async def access(self) -> dict[str, str]:
            return {}

    release = Release(Nowhere(), "r", {"chart": str(hostile / "chart")}, {})  # type: ignore[arg-type]  # a stand-in
    with pytest.raises(HybridError):
        asyncio.run(release.render())
    assert imported(hostile) == ""
