# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_hybrid.config import HybridFile, load_hybrid_file
from airflow_hybrid.errors import ConfigError

Load = Callable[[str], HybridFile]
Problems = Callable[[str], list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a hybrid file's text from ``<tmp_path>/f.yml``; the version is put before it, so the first line is 2."""

    def load(text: str) -> HybridFile:
        path = tmp_path / "f.yml"
        path.write_text("version: v1.0\n" + textwrap.dedent(text).lstrip("\n"))
        return load_hybrid_file(path, cache_dir=str(tmp_path / "cache"))

    return load


@pytest.fixture
def problems(load: Load, tmp_path: Path) -> Problems:
    """The problems of a hybrid file's text, as ``line: path: message``, and hints as ``-> hint``."""

    def problems(text: str) -> list[str]:
        with pytest.raises(ConfigError) as e:
            load(text)
        lines = str(e.value).replace(f"{tmp_path}/", "").splitlines()
        if "problems" in lines[0]:
            lines = lines[1:]
        return [line.strip().removeprefix("f.yml:") for line in lines]

    return problems
