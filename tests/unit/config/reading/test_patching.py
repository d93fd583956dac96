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
    subprocess.run(["patch", str(file)], input=text, text=True, check=True, cwd="/", capture_output=True)
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


def test_a_value_that_an_anchor_gives_to_several_places_is_not_changed(file: Path) -> None:
    shared = FILE.replace("resources: {coresMin: 4, timelimit: 60}", "resources: &asked {coresMin: 4}").replace(
        "target: {deployment: hpc}", "target: {deployment: hpc}\n        resources: *asked"
    )
    file.write_text(shared)
    with pytest.raises(ConfigError) as caught:
        patched(str(file), "named", {"/train": {"ramMin": 512}})
    assert str(caught.value) == (
        f"{file}: no patch can be made: an anchor (`&name`) in the file gives what would be changed to other places,"
        " too\n  -> add this to the workflow by hand:\n"
        "bindings:\n- step: /train\n  resources:\n    ramMin: 512"
    )


def test_ends_of_lines_stay_as_they_are(file: Path) -> None:
    file.write_bytes(FILE.replace("\n", "\r\n").encode())
    text = patched(str(file), "named", {"/train": {"ramMin": 512}})
    assert [line for line in text.splitlines(keepends=True)[2:] if not line.endswith("\r\n")] == [
        line for line in text.splitlines(keepends=True)[2:] if line.startswith("@@")
    ]


def test_a_workflow_without_bindings_gets_some(file: Path) -> None:
    start, end = FILE.index("    bindings:"), FILE.index("    dag:")
    file.write_text(FILE[:start] + "    bindings:\n" + FILE[end:])
    assert "+      resources:\n" in patched(str(file), "named", {"/train": {"ramMin": 512}})
