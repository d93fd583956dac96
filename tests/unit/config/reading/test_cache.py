# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from airflow_hybrid.config import HybridFile, load_hybrid_file
from airflow_hybrid.config.reading import cache
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.settings import reading
from airflow_hybrid.settings.sources import FilesAndVariables

TEXT = "version: v1.0\ndeployments: {h: {type: slurm, config: {services: {s: {file: t}}}}}\n"


@pytest.fixture
def hybrid_file(tmp_path: Path) -> Path:
    (tmp_path / "t").write_text("{{streamflow_command}}")
    path = tmp_path / "f.yml"
    path.write_text(TEXT)
    return path


def entry(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache" / "hybrid_files").iterdir()
    return found


def load(path: Path) -> HybridFile:
    return load_hybrid_file(path, cache_dir=str(path.parent / "cache"))


def test_a_warm_load_gives_the_same_values(hybrid_file: Path) -> None:
    assert load(hybrid_file) == load(hybrid_file)


def test_a_warm_load_imports_neither_pydantic_nor_yaml_nor_airflow(hybrid_file: Path) -> None:
    load(hybrid_file)
    code = (
        "import sys; from airflow_hybrid.config import HybridFile, load_hybrid_file;"
        f"load_hybrid_file({str(hybrid_file)!r}, cache_dir={str(hybrid_file.parent / 'cache')!r});"
        "print(sorted({'pydantic', 'yaml', 'ruamel', 'jinja2', 'airflow', 'difflib', 'cwltool'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_changed_file_is_read_anew(hybrid_file: Path) -> None:
    load(hybrid_file)
    hybrid_file.write_text("version: v1.0\ndeployments: {z: {type: local, config: {}}}\n")
    assert "z" in load(hybrid_file).deployments
    assert entry(hybrid_file.parent)


def test_a_changed_template_is_read_anew(hybrid_file: Path) -> None:
    before = load(hybrid_file)
    (hybrid_file.parent / "t").write_text("nice {{streamflow_command}}")
    after = load(hybrid_file)
    assert after.deployments["h"].templates["s"] == "nice {{streamflow_command}}"
    assert after.digest != before.digest


def test_a_template_that_went_away_is_an_error_and_not_the_old_text(hybrid_file: Path) -> None:
    load(hybrid_file)
    (hybrid_file.parent / "t").unlink()
    with pytest.raises(ConfigError) as caught:
        load(hybrid_file)
    assert str(caught.value) == (
        f"{hybrid_file}:2: deployments.h.config.services.s.file: "
        f"the template {hybrid_file.parent}/t cannot be read: No such file or directory"
    )


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 1}', "\0\1"])
def test_a_broken_entry_is_replaced(hybrid_file: Path, content: str) -> None:
    expected = load(hybrid_file)
    entry(hybrid_file.parent).write_text(content)
    assert load(hybrid_file) == expected
    assert load(hybrid_file) == expected
    assert len(entry(hybrid_file.parent).read_text()) > 100


def test_an_entry_of_another_shape_is_replaced(hybrid_file: Path) -> None:
    expected = load(hybrid_file)
    path = entry(hybrid_file.parent)
    path.write_text(path.read_text().replace('"deployments"', '"places"', 1))
    assert load(hybrid_file) == expected


def test_a_folder_that_cannot_be_written_is_no_error(hybrid_file: Path) -> None:
    (hybrid_file.parent / "cache").write_text("a file, not a folder")
    assert load(hybrid_file) == load(hybrid_file)


def test_another_version_of_the_package_does_not_take_the_entry(
    hybrid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(hybrid_file)
    content = hybrid_file.read_bytes()
    folder = str(hybrid_file.parent / "cache")
    assert cache.read(content, str(hybrid_file), folder) is not None
    monkeypatch.setattr(cache, "__version__", "0.0.0")
    assert cache.read(content, str(hybrid_file), folder) is None


def test_writers_at_the_same_time_leave_one_good_entry(hybrid_file: Path) -> None:
    expected = load(hybrid_file)
    entry(hybrid_file.parent).unlink()
    threads = [threading.Thread(target=load, args=(hybrid_file,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entry(hybrid_file.parent)  # and no temporary file beside it
    assert load(hybrid_file) == expected


def test_the_cache_is_in_airflows_home_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", raising=False)
    monkeypatch.setattr(reading, "_source", FilesAndVariables())
    monkeypatch.setenv("AIRFLOW_HOME", "/srv/airflow")
    assert cache.default_folder() == "/srv/airflow/airflow_hybrid_cache"
    monkeypatch.delenv("AIRFLOW_HOME")
    assert cache.default_folder() == os.path.expanduser("~/airflow/airflow_hybrid_cache")
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", "/cache")
    assert cache.default_folder() == "/cache"
