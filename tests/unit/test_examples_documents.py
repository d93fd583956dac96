# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The examples in ``dags/``: valid documents, hybrid files that fit them, outputs that repeat."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_hybrid.config import check_bindings, load_hybrid_file
from tests.needs import unavailable

DAGS = Path(__file__).resolve().parents[2] / "dags"
EXAMPLES = ("hello", "claire")
DOCUMENTS = sorted(path.relative_to(DAGS).as_posix() for path in DAGS.rglob("*.cwl"))
HYBRID_FILES = sorted(path.relative_to(DAGS).as_posix() for path in DAGS.rglob("streamflow*.yml"))
INPUT_FILES = sorted(path.relative_to(DAGS).as_posix() for path in DAGS.rglob("inputs*.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def step_paths(document: Path, prefix: str = "") -> list[str]:
    """Paths of all steps, those of sub-workflows included."""
    paths = []
    for name, step in load(document).get("steps", {}).items():
        paths.append(f"{prefix}/{name}")
        paths.extend(step_paths(document.parent / step["run"], f"{prefix}/{name}"))
    return paths


def python_with(*modules: str) -> str:
    """Folder of a ``python3`` that has ``modules``: the one on PATH, the system's, or this test's own."""
    command = ["-c", f"import {', '.join(modules)}"]
    for python in (shutil.which("python3"), "/usr/bin/python3", sys.executable):
        if (
            python
            and os.path.exists(python)
            and subprocess.run([python, *command], capture_output=True).returncode == 0
        ):
            return str(Path(python).parent)
    unavailable("this test", f"a python3 with {', '.join(modules)}", "make .venv/.dev")


def run_cwltool(document: str, job: dict[str, Any], folder: Path, path: str) -> dict[str, str]:
    """Run a document with cwltool; name -> SHA-256 of the files that it put into ``folder``."""
    folder.mkdir()
    (folder.parent / f"{folder.name}.json").write_text(json.dumps(job))
    subprocess.run(
        [sys.executable, "-m", "cwltool", "--quiet", "--outdir", folder, DAGS / document, f"{folder}.json"],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}"},
    )
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_cwltool_finds_nothing_to_say_about_the_document(document: str) -> None:
    from cwltool.main import main

    messages = io.StringIO()
    arguments = ["--validate", "--strict", "--disable-color", str(DAGS / document)]
    code = main(arguments, stdout=io.StringIO(), stderr=messages)
    assert code == 0, messages.getvalue()
    assert "WARNING" not in messages.getvalue()


@pytest.mark.parametrize("file", HYBRID_FILES)
def test_hybrid_file_loads_and_its_bindings_fit_the_document(file: str, tmp_path: Path) -> None:
    hybrid = load_hybrid_file(DAGS / file, cache_dir=str(tmp_path))
    assert list(hybrid.workflows) == [file.split("/")[0]]
    for workflow in hybrid.workflows.values():
        check_bindings(workflow.bindings, hybrid.deployments, step_paths(Path(workflow.file)))


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_runs_by_default_needs_no_other_host(example: str, tmp_path: Path) -> None:
    deployments = load_hybrid_file(DAGS / example / "streamflow.yml", cache_dir=str(tmp_path)).deployments
    assert {deployment.type for deployment in deployments.values()} == {"local"}
    folders = [deployment.workdir for deployment in deployments.values() if deployment.workdir]
    assert len(folders) == len(set(folders)) >= 2


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_form_explains_every_input(example: str) -> None:
    inputs = load(DAGS / example / "main.cwl")["inputs"]
    assert [name for name, port in inputs.items() if not (port.get("label") and port.get("doc"))] == []


@pytest.mark.parametrize("file", INPUT_FILES)
def test_inputs_are_those_of_the_document(file: str) -> None:
    declared = load((DAGS / file).parent / "main.cwl")["inputs"]
    given = load(DAGS / file)
    assert set(given) <= set(declared)
    assert {name for name, port in declared.items() if "default" not in port} <= set(given)


def test_hello_needs_no_javascript() -> None:
    assert [path for path in (DAGS / "hello").glob("*.cwl") if "Javascript" in path.read_text()] == []


@pytest.mark.parametrize("path", sorted(DAGS.glob("*/*.py")), ids=lambda path: path.name)
def test_the_dag_processor_does_not_take_scripts_of_the_sites_for_dag_files(path: Path) -> None:
    ignored = (DAGS / ".airflowignore").read_text().split()
    assert f"{path.parent.name}/" in ignored


@pytest.mark.slow
def test_hello_gives_the_same_bytes_again(tmp_path: Path) -> None:
    job = {**load(DAGS / "hello/inputs.yml"), "book": {"class": "File", "path": str(DAGS / "hello/book.txt")}}
    first, second = (run_cwltool("hello/main.cwl", job, tmp_path / name, "/usr/bin") for name in ("1", "2"))
    assert first == second
    assert sorted(first) == [*(f"chapter-{number:02d}.tsv" for number in range(1, 5)), "summary.md"]


@pytest.mark.slow
def test_claire_gives_the_same_bytes_again(tmp_path: Path) -> None:
    python = python_with("numpy", "sklearn", "matplotlib")
    job = {"learning_rates": 1, "layers": 1, "folds": 2, "epochs": 3}
    first, second = (run_cwltool("claire/main.cwl", job, tmp_path / name, python) for name in ("1", "2"))
    assert first == second
    assert sorted(first) == ["report.csv", "report.md", "report.png", "v001.json"]


def test_the_full_grid_has_108_variants_of_5_folds() -> None:
    job = load(DAGS / "claire/inputs-full.yml")
    variants = job["learning_rates"] * job["step_sizes"] * job["layers"] * job["weight_decays"]
    assert (variants, job["folds"]) == (108, 5)
