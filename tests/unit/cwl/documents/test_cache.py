# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The compile cache: fast when warm, right when anything changed, safe when shared."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.cwl.documents import cache, graphs
from airflow_hybrid.errors import CwlError
from tests.unit.cwl.conftest import Bench
from tests.unit.cwl.texts import ECHO

FLOW = """\
cwlVersion: v1.2
class: Workflow
inputs: {s: string}
outputs: {o: {type: File, outputSource: one/said}}
steps:
  one: {run: echo.cwl, in: {text: s}, out: [said]}
"""


@pytest.fixture
def path(bench: Bench) -> str:
    bench.write("echo.cwl", "cwlVersion: v1.2\n" + ECHO)
    return str(bench.write("main.cwl", FLOW))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that were really compiled."""
    from airflow_hybrid.cwl.documents import compile as compiler

    calls: list[str] = []
    real = compiler.compile_document

    def recorded(path: str, **options: Any) -> object:
        calls.append(path)
        return real(path, **options)

    monkeypatch.setattr(compiler, "compile_document", recorded)
    return calls


def test_a_warm_cache_imports_nothing_of_cwltool(path: str) -> None:
    graph = graphs.load_graph(path)
    code = (
        "import sys\n"
        "from airflow_hybrid.cwl.documents.cache import read_document\n"
        "from airflow_hybrid.cwl.documents.graphs import load_graph\n"
        f"graph = load_graph({path!r})\n"
        "read_document(graph.steps[0].document)\n"
        "import airflow_hybrid.cwl.values.inputs\n"
        "heavy = {'cwltool', 'schema_salad', 'ruamel', 'rdflib', 'cwl_utils', 'requests'}\n"
        "print(graph.steps[0].document, heavy & {name.split('.')[0] for name in sys.modules})\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == f"{graph.steps[0].document} set()\n"


def test_an_unchanged_document_is_compiled_once(path: str, compiled: list[str]) -> None:
    assert graphs.load_graph(path) == graphs.load_graph(path)
    assert len(compiled) == 1


@pytest.mark.parametrize("name", ["main.cwl", "echo.cwl"])
def test_a_change_in_any_file_compiles_anew(bench: Bench, path: str, compiled: list[str], name: str) -> None:
    graphs.load_graph(path)
    file = bench.folder / name
    file.write_text(file.read_text() + "label: changed\n")
    graphs.load_graph(path)
    graphs.load_graph(path)
    assert len(compiled) == 2


def test_a_deleted_file_is_noticed(bench: Bench, path: str) -> None:
    graphs.load_graph(path)
    (bench.folder / "echo.cwl").unlink()
    with pytest.raises(CwlError, match=r"echo\.cwl, which is not there"):
        graphs.load_graph(path)


def test_what_else_the_result_depends_on_is_part_of_the_key(path: str, compiled: list[str]) -> None:
    graphs.load_graph(path, extra_key=b"a")
    graphs.load_graph(path, extra_key=b"b")
    assert len(compiled) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b'{"versions": 3}', b"[]", b"\xff\xfe"])
def test_a_corrupt_entry_is_compiled_anew(path: str, cache_dir: Path, compiled: list[str], damage: bytes) -> None:
    graph = graphs.load_graph(path)
    (entry,) = (cache_dir / "graphs").iterdir()
    entry.write_bytes(damage)
    assert graphs.load_graph(path) == graph
    assert len(compiled) == 2


def test_an_entry_whose_step_documents_are_gone_is_compiled_anew(path: str, cache_dir: Path) -> None:
    graph = graphs.load_graph(path)
    for file in (cache_dir / "steps").rglob("*.json"):
        file.unlink()
    with pytest.raises(CwlError, match="not in the cache"):
        cache.read_document(graph.steps[0].document)
    assert cache.read_document(graphs.load_graph(path).steps[0].document)["class"] == "Workflow"


def test_a_damaged_step_document_is_never_used(path: str, cache_dir: Path) -> None:
    key = graphs.load_graph(path).steps[0].document
    (file,) = (cache_dir / "steps").rglob(f"{key}.json")
    file.write_text(file.read_text().replace("echo", "evil"))
    with pytest.raises(CwlError, match="damaged"):
        cache.read_document(key)
    graphs.load_graph(path)
    assert cache.read_document(key)


def test_a_key_is_no_path(cache_dir: Path) -> None:
    with pytest.raises(CwlError, match="not the key"):
        cache.read_document("../../etc/passwd")


def test_many_processes_may_compile_at_once(path: str) -> None:
    code = f"from airflow_hybrid.cwl.documents.graphs import load_graph; print(load_graph({path!r}).steps[0].document)"

    def one(_: int) -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(one, range(3)))) == 1


def test_the_longest_unused_entries_go_first_and_young_ones_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "steps" / "ab"
    folder.mkdir(parents=True)
    day = 24 * 3600
    names = {name: f"{name * 64}.json" for name in "abc"}
    others = ["notes.txt", f"{'d' * 63}.json"]
    for name, age_days in ((names["a"], 9), (names["b"], 10), (names["c"], 0), *((other, 20) for other in others)):
        (folder / name).write_bytes(b"x" * 100)
        os.utime(folder / name, (time.time() - age_days * day,) * 2)
    thesis = tmp_path / "cache" / "thesis.tex"
    thesis.write_text("mine")
    os.utime(thesis, (1, 1))
    cache.clean_up(tmp_path / "cache", max_bytes=250)
    assert sorted(file.name for file in folder.iterdir()) == sorted([names["a"], names["c"], *others])
    cache.clean_up(tmp_path / "cache", max_bytes=0)
    assert sorted(file.name for file in folder.iterdir()) == sorted([names["c"], *others])
    assert thesis.read_text() == "mine"
