# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Code can be read in pieces: no file, function or folder is larger than a reader takes in at once."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("airflow_hybrid", "scripts", "tests", "benchmarks")
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 50
FILES_OF_A_FOLDER = 15
VENDORED = ("tests/conformance/v*",)
"""suites of others, as they were published"""


def is_ours(path: Path) -> bool:
    """Whether it is code that is kept here: neither hidden, nor made by a tool, nor of a suite of others."""
    inner = path.relative_to(ROOT)
    if any(part.startswith(".") or part == "__pycache__" for part in inner.parts):
        return False
    return not any(parent.match(pattern) for parent in (inner, *inner.parents) for pattern in VENDORED)


def sources(root: Path = ROOT) -> list[Path]:
    """Files of code: Python, and shell text by its name or its first line. What is data has no code's name."""
    found = [path for place in PLACES for path in (root / place).rglob("*") if path.is_file() and is_ours(path)]
    return sorted(path for path in found if path.suffix in (".py", ".sh") or is_script(path))


def is_script(path: Path) -> bool:
    """Whether a file without a suffix is a program."""
    if path.suffix:
        return False
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def long_files(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        lines = len(path.read_bytes().splitlines())
        if lines > LINES_OF_A_FILE:
            yield f"{path.relative_to(ROOT)}: {lines} lines, at most {LINES_OF_A_FILE}"


def long_functions(paths: list[Path]) -> Iterator[str]:
    """Functions, their decorators not counted; a class is as long as its file may be."""
    for path in paths:
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LINES_OF_A_FUNCTION:
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                yield f"{where}: {node.name} has {lines} lines, at most {LINES_OF_A_FUNCTION}"


def full_folders(paths: list[Path]) -> Iterator[str]:
    folders: dict[Path, int] = {}
    for path in paths:
        folders[path.parent] = folders.get(path.parent, 0) + 1
    for folder, files in folders.items():
        if files > FILES_OF_A_FOLDER:
            yield f"{folder.relative_to(ROOT)}: {files} files of code, at most {FILES_OF_A_FOLDER}"


@pytest.mark.parametrize("too_large", [long_files, long_functions, full_folders])
def test_nothing_is_too_large_to_be_read_at_once(too_large: Callable[[list[Path]], Iterator[str]]) -> None:
    if offenders := list(too_large(sources())):
        pytest.fail("\n".join(offenders), pytrace=False)


def test_what_is_too_large_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    folder = tmp_path / "scripts"
    folder.mkdir()
    body = "    pass\n" * 50
    (folder / "a.py").write_text(f"class C:\n    async def f(self):\n{body.replace('    pass', '        pass')}")
    (folder / "program").write_text("#!/bin/sh\n" + ":\n" * 400)
    (folder / "data").write_text("x\n" * 500)
    (folder / ".hidden.py").write_text("x = 1\n" * 500)
    vendored = tmp_path / "tests" / "conformance" / "v9" / "deep"
    vendored.mkdir(parents=True)
    (vendored / "x.py").write_text("x = 1\n" * 500)
    for number in range(14):
        (folder / f"m{number}.sh").touch()
    found = sources(tmp_path)
    assert list(long_files(found)) == ["scripts/program: 401 lines, at most 400"]
    assert list(long_functions(found)) == ["scripts/a.py:2: f has 51 lines, at most 50"]
    assert list(full_folders(found)) == ["scripts: 16 files of code, at most 15"]
