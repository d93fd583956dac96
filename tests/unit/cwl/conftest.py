# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Documents written in the test, compiled and run on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.cwl.fragments.fragment import Fragment
from airflow_hybrid.cwl.given.run_inputs import validate_inputs
from airflow_hybrid.model import CwlObject, WorkflowGraph
from tests.unit.cwl.driver import Driver

Run = Callable[..., CwlObject]


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(folder))
    return folder


class Bench:
    """Writes, compiles and runs documents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.driver = Driver(folder / "jobs")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def compile(self, text: str, **options: Any) -> WorkflowGraph:
        return compile_document(str(self.write("main.cwl", "cwlVersion: v1.2\n" + text)), **options)

    def run(self, text: str, given: dict[str, Any] | None = None, **options: Any) -> CwlObject:
        """The workflow's outputs, run step by step."""
        graph = self.compile(text)
        if options:
            self.driver = Driver(self.folder / f"jobs{len(list(self.folder.iterdir()))}", **options)
        return self.driver.run_graph(graph, validate_inputs(graph, given or {}, str(self.folder)))

    def fragment(self, text: str, step: int = 0) -> Fragment:
        from airflow_hybrid.cwl.documents.cache import read_document

        return Fragment.load(read_document(self.compile(text).steps[step].document))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    folder = tmp_path / "documents"
    folder.mkdir()
    return Bench(folder)


@pytest.fixture
def run(bench: Bench) -> Run:
    return bench.run
