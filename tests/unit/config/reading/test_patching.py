# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A patch of a hybrid file keeps everything that it need not change."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from airflow_hybrid.config import load_hybrid_file
from airflow_hybrid.config.reading.patching import bindings_as_yaml, patched
from airflow_hybrid.errors import ConfigError

FILE = """\
# our cluster
version: v1.0
workflows:
  w:
    type: cwl
    config: {file: 'main.cwl'}   # the document
    bindings:
      - step: /train
        target:
          deployment: hpc
        resources: {coresMin: 4, timelimit: 60}
      - step: /test   # small
        target: {deployment: hpc}
    dag: {dag_id: named}
deployments:
  hpc:
    type: local
    config: {}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "streamflow.yml"
    file.write_text(FILE)
    return file


def test_a_patch_changes_bindings_and_nothing_else(file: Path) -> None:
    patch = patched(str(file), "named", {"/train": {"coresMin": 2}, "/test": {"ramMin": 300}, "/more": {"ramMin": 64}})
    changed = [line for line in patch.splitlines()[2:] if line.startswith(("-", "+"))]
    assert changed == [
        "-        resources: {coresMin: 4, timelimit: 60}",
        "+        resources: {coresMin: 2, timelimit: 60}",
        "+        resources:",
        "+          ramMin: 300",
        "+      - step: /more",
        "+        resources:",
        "+          ramMin: 64",
    ]


def test_patch_takes_it_and_the_file_says_what_was_proposed(file: Path) -> None:
    text = patched(str(file), "named", {"/train": {"ramMin": 512}})
    subprocess.run(["patch", "-p0", str(file)], input=text, text=True, check=True, cwd="/", capture_output=True)
    train, _ = load_hybrid_file(file).workflows["w"].bindings
    assert train.resources is not None and train.resources.values == {"cores": 4, "ram_mib": 512, "walltime_s": 60}


def test_a_file_without_the_dag_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        patched(str(file), "w", {"/train": {"ramMin": 512}})
    assert str(caught.value) == (
        f"{file}: no workflow in the file is DAG w\n  -> name the right one: --hybrid-file FILE"
    )


def test_a_dag_without_a_hybrid_file_gets_its_bindings_as_yaml() -> None:
    assert bindings_as_yaml({"/train": {"coresMin": 1.0, "ramMin": 64}}) == (
        "bindings:\n- step: /train\n  resources:\n    coresMin: 1\n    ramMin: 64\n"
    )
