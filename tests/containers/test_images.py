# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How images are had, and what is said when they, or what runs them, are not there; with podman."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import SiteError, UnsupportedError
from airflow_hybrid.settings import variable_of
from tests.containers.conftest import MINI
from tests.containers.engine import Bench, text_of
from tests.containers.test_boxes import PULL, TOOL, script


def test_an_image_that_cannot_be_had_is_one_clear_message(bench: Bench) -> None:
    name = "localhost:1/nobody/nothing:0"
    with pytest.raises(SiteError, match=f"podman could not get the image '{name}'") as caught:
        bench.run(script("true", TOOL % f'dockerPull: "{name}"'))
    assert "refused" in str(caught.value)
    assert not list((bench.root / "work").rglob("runner.sh")), "nothing was submitted"


def test_an_image_is_built_loaded_imported(bench: Bench, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable_of("document_roots"), f"{images.parent} {bench.root}")
    build = f"""{TOOL % "dockerFile: $(inputs), dockerImageId: localhost/airflow_hybrid-tests/built:1"}"""
    build = build.replace("$(inputs)", f'"FROM {MINI}\\nENV BUILT=here\\n"')
    assert text_of(bench.run(script("echo $BUILT", build))["said"]) == "here\n"
    archive = bench.root / "built.tar"
    subprocess.run(["podman", "save", "-q", "-o", str(archive), "localhost/airflow_hybrid-tests/built:1"], check=True)
    assert text_of(bench.run(script("echo $BUILT", TOOL % f"dockerLoad: {archive}"))["said"]) == "here\n"
    imported = TOOL % f"dockerImport: {images}, dockerImageId: localhost/airflow_hybrid-tests/imported:1"
    assert text_of(bench.run(script("echo files", imported))["said"]) == "files\n"


def test_a_scatter_asks_for_its_image_once(bench: Bench, tmp_path: Path) -> None:
    tool = f"{PULL}inputs: {{n: {{type: int, inputBinding: {{}}}}}}\noutputs: {{said: stdout}}\n"
    bench.write(f"{tool}stdout: said\nbaseCommand: echo\n", "inner.cwl")
    flow = """cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {n: "int[]"}
outputs: {said: {type: "File[]", outputSource: say/said}}
steps: {say: {run: inner.cwl, scatter: n, in: {n: n}, out: [said]}}
"""
    result = bench.run(flow, {"n": [1, 2, 3, 4]})
    assert [text_of(file) for file in result["said"]] == ["1\n", "2\n", "3\n", "4\n"]
    assert len(list((tmp_path / "work" / "images").glob("*.lock"))) == 1


# --- no runtime -----------------------------------------------------------------------------------------------------


def test_without_a_runtime_a_requirement_fails_and_a_hint_does_not(bench: Bench) -> None:
    bench.deployments = {
        "local": Deployment("local", "local", workdir=str(bench.root / "w"), containers={"runtime": "none"})
    }
    with pytest.raises(UnsupportedError, match="requires a container") as caught:
        bench.run(script("true"))
    assert "name a runtime there" in str(caught.value)
    hint = PULL.replace("requirements:\n  DockerR", "hints:\n  DockerR")
    assert "container" not in text_of(bench.run(script("env", hint))["said"])


def test_a_runtime_that_is_named_and_not_there_is_said(bench: Bench) -> None:
    local = Deployment("local", "local", workdir=str(bench.root / "w"), containers={"runtime": "apptainer"})
    bench.deployments = {"local": local}
    with pytest.raises(UnsupportedError, match="apptainer cannot be used: apptainer is not on the PATH"):
        bench.run(script("true"))
