# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Records of real runs: others' programs read them, and we run them again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.needs import unavailable
from tests.system.dag_runs import run_dags

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
HELLO = ROOT / "dags/hello"
RUNNER = [sys.executable, "-m", "airflow_hybrid.runner"]
pytestmark = [pytest.mark.slow]


def call(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    env = {**own, "PYTHONPATH": str(ROOT), "AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR": str(folder / "cache")}
    return subprocess.run([*map(str, command)], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder of rocrate-validator, runcrate and their Python."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hybrid-crates"
    if not (cache / "bin/runcrate").exists():
        venv.create(cache, with_pip=True)
        install = [cache / "bin/pip", "install", "--quiet", "-r", HERE / "requirements.txt"]
        done = subprocess.run([*map(str, install)], capture_output=True, text=True, check=False)
        if done.returncode:
            unavailable("this test", "rocrate-validator and runcrate", f"pip install -r {HERE}/requirements.txt")
    return cache / "bin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crates")


@pytest.fixture(scope="module")
def crate(folder: Path) -> Path:
    """The record of a run of dags/hello, with copies of its files."""
    path = folder / "hello.crate.zip"
    options = ("--outdir", folder / "out", "--prov", path, "--with-inputs", "--with-outputs")
    done = call(folder, *RUNNER, *options, HELLO / "main.cwl", HELLO / "inputs.yml")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == f"airflow-hybrid-runner: the record of the run is in {path}"
    return path


def test_rocrate_validator_accepts_it(crate: Path, folder: Path, programs: Path) -> None:
    done = call(folder, programs / "python", HERE / "validate.py", crate)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


def test_runcrate_reads_it(crate: Path, folder: Path, programs: Path) -> None:
    done = call(folder, programs / "runcrate", "report", crate)
    assert done.returncode == 0, done.stderr
    actions = done.stdout.split("\n\n")
    assert len([action for action in actions if action.strip()]) == 7
    of_count = next(action for action in actions if "instrument: packed.cwl#count.cwl" in action)
    assert "  step: packed.cwl#main/count\n" in of_count
    assert "/chapter-01.tsv <- packed.cwl#count.cwl/counts" in of_count


@pytest.mark.long
def test_runcrate_runs_it_by_our_runner(crate: Path, folder: Path, programs: Path) -> None:
    runner = folder / "runner"
    runner.write_text(f'#!/bin/sh\nexec {sys.executable} -m airflow_hybrid.runner --outdir {folder}/theirs "$@"\n')
    runner.chmod(0o755)
    done = call(folder, programs / "runcrate", "run", "--executable", runner, crate)
    assert done.returncode == 0, done.stderr
    assert (folder / "theirs/summary.md").read_bytes() == (folder / "out/summary.md").read_bytes()


def test_the_same_outputs_again(crate: Path, folder: Path) -> None:
    done = call(folder, *RUNNER, "--outdir", folder / "again", crate)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["path"] == f"{folder}/again/summary.md"
    rows = ["summary    same", *(f"counts[{number}]  same" for number in range(4))]
    assert done.stderr.splitlines() == [*rows, "the outputs are the same: 5 compared"]


@pytest.mark.long
def test_other_outputs(crate: Path, folder: Path) -> None:
    done = call(folder, *RUNNER, "--outdir", folder / "other", crate, "--top", "3")
    assert done.returncode == 3, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("summary    different: was summary.md sha1$")
    assert lines[-1] == "the outputs differ: 4 same, 1 different"


@pytest.mark.long
def test_a_file_that_the_record_refers_to_and_that_was_changed(folder: Path) -> None:
    book = folder / "book.txt"
    book.write_bytes((HELLO / "book.txt").read_bytes())
    path = folder / "referring.zip"
    done = call(folder, *RUNNER, "--outdir", folder / "out_2", "--prov", path, HELLO / "main.cwl", "--book", book)
    assert done.returncode == 0, done.stderr
    book.write_text("# Another\n")
    done = call(folder, *RUNNER, "--outdir", folder / "again_2", path)
    assert done.returncode == 1
    assert done.stderr == (
        "airflow-hybrid-runner: the crate only refers to these inputs, and they are not here as the run had them:\n"
        f"  book: {book.as_uri()}\n"
        "  -> give the inputs on the command line, as for the document itself: --NAME PATH, or a job file\n"
    )


@pytest.fixture(scope="module")
def dag_run(folder: Path) -> dict[str, Any]:
    """A run of a DAG with a record beside its outputs, in ``result["outdir"]``."""
    inputs = {"book": {"class": "File", "location": str(HELLO / "book.txt")}}
    options = {"provenance": True, "outdir": f"{folder}/dag", "inputs": inputs}
    (result,) = run_dags(folder / "home", [{"document": str(HELLO / "main.cwl"), "options": options}])
    assert result["state"] == "success", result["log"][-5000:]
    return {**result, "outdir": next((folder / "dag").iterdir())}


def test_a_record_beside_the_outputs(dag_run: dict[str, Any], folder: Path, programs: Path) -> None:
    record = dag_run["outdir"] / "provenance.crate.zip"
    assert (dag_run["outdir"] / "summary.md").is_file() and record.is_file(), dag_run["log"][-5000:]
    assert set(dag_run["outputs"]) == {"summary", "counts"}
    done = call(folder, programs / "python", HERE / "validate.py", record)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
    lines = (dag_run["outdir"] / ".airflow_hybrid-outputs").read_text().splitlines()
    recorded = {json.loads(line)["path"] for line in lines[1:]}
    assert {"provenance.crate.zip", "summary.md"} <= recorded


@pytest.mark.long
def test_the_command_writes_a_record_of_a_dag_run(dag_run: dict[str, Any], folder: Path, programs: Path) -> None:
    home = folder / "home"
    own = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    env = {
        **own,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    airflow = str(Path(sys.executable).parent / "airflow")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [airflow, *arguments]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    run_id = dag_run["outdir"].name
    done = run("hybrid", "prov", run_id, "--file", "dag.zip", "--with-outputs")
    assert done.stdout.splitlines()[-1:] == [f"{folder}/dag.zip"], done.stderr  # after Airflow's logs
    with zipfile.ZipFile(folder / "dag.zip") as archive:
        outputs = [name for name in archive.namelist() if name.startswith("outputs/")]
    assert len(outputs) == 5
    valid = call(folder, programs / "python", HERE / "validate.py", folder / "dag.zip")
    assert (valid.stdout, valid.returncode) == ("", 0), valid.stderr
    summary = dag_run["outdir"] / "summary.md"
    summary.write_text("changed")
    changed = run("hybrid", "prov", run_id, "--file", "dag_2.zip", "--with-outputs")
    assert changed.returncode == 1
    assert f"{summary} was changed since the run: its checksum is sha1$" in changed.stderr
    assert not (folder / "dag_2.zip").exists()
