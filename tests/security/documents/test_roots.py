# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The roots of a document: Airflow's own files are never below them; a home, /tmp and / are never one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.cwl.given.run_inputs import validate_inputs
from airflow_hybrid.errors import CwlError
from airflow_hybrid.settings import variable_of

HINT = (
    "\n  -> if it may: set [airflow_hybrid] document_roots in Airflow's configuration to the folders (or URL prefixes) "
    "that documents may read from, joined by spaces"
)


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        variable_of("document_roots"),
        "AIRFLOW_CONFIG",
        "AIRFLOW__CORE__DAGS_FOLDER",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))


def airflow_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (home / "dags").mkdir(parents=True)
    (home / "logs").mkdir()
    for name in ("airflow.cfg", "logs/scheduler.log", "simple_auth_manager_passwords.json.generated", "dags/words"):
        (home / name).write_text("")
    monkeypatch.setenv("AIRFLOW_HOME", str(home))
    return home


def said_of(folder: Path, named: Path, kind: str = "File") -> str | None:
    """What is said of a document in ``folder`` that uses a file by default, without its position; None: nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    document = folder / "main.cwl"
    document.write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: cat\noutputs: []\n"
        f"inputs: {{f: {{type: {kind}, default: {{class: {kind}, location: {named.as_uri()!r}}}}}}}\n"
    )
    try:
        validate_inputs(compile_document(str(document), cache_dir=folder.parent / ".cache"), {}, str(folder))
    except CwlError as error:
        return error.message + f"\n  -> {error.hint}"
    return None


FILES = ["airflow.cfg", "logs/scheduler.log", "simple_auth_manager_passwords.json.generated"]


@pytest.mark.parametrize("name", FILES)
def test_airflow_s_files_beside_the_dags_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    home = airflow_home(tmp_path / "airflow", monkeypatch)
    assert said_of(home / "dags" / "flows", home / "dags" / "words") is None
    assert said_of(home / "dags" / "flows", home / name) == (
        f"a document may not name {(home / name).as_uri()}: it is outside {home / 'dags'}{HINT}"
    )


@pytest.mark.parametrize("name", FILES)
def test_airflow_s_home_in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    home = airflow_home(project / "airflow", monkeypatch)
    (project / "words").write_text("")
    assert said_of(project / "flows", project / "words") is None
    assert said_of(project / "flows", home / "dags" / "words") is None
    own = f"a document may not name {(home / name).as_uri()}: it is a file of Airflow itself{HINT}"
    assert said_of(project / "flows", home / name) == own
    assert said_of(project / "flows", project, "Directory") == (
        f"a document may not name the folder {project.as_uri()}: it contains files of Airflow itself{HINT}"
    )
    link = project / "flows" / "link"
    link.symlink_to(home / name)
    assert said_of(project / "flows", link) == own.replace((home / name).as_uri(), link.as_uri())


def test_airflow_s_home_is_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = airflow_home(tmp_path / "airflow", monkeypatch)
    (home / ".git").mkdir()
    (home / "flows").mkdir()
    (home / "flows" / "words").write_text("")
    for named in (home / "airflow.cfg", home / "flows" / "words"):
        assert said_of(home / "flows", named) == (
            f"a document may not name {named.as_uri()}: it is outside its own site{HINT}"
        )


def test_airflow_s_home_is_the_dags_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = airflow_home(tmp_path / "airflow", monkeypatch)
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(home))
    assert said_of(home / "flows", home / "airflow.cfg") == (
        f"a document may not name {(home / 'airflow.cfg').as_uri()}: it is outside its own site{HINT}"
    )


def test_the_dags_folder_of_airflow_cfg_and_a_home_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = airflow_home(tmp_path / "real", monkeypatch)
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "link"))
    flows = tmp_path / "repository" / "flows"
    flows.mkdir(parents=True)
    (home / "airflow.cfg").write_text(f"[core]\ndags_folder = {tmp_path / 'repository'}\n")
    (tmp_path / "repository" / "words").write_text("")
    assert said_of(flows, tmp_path / "repository" / "words") is None
    assert said_of(flows, home / "airflow.cfg") == (
        f"a document may not name {(home / 'airflow.cfg').as_uri()}: it is outside {tmp_path / 'repository'}{HINT}"
    )


def test_logs_that_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = airflow_home(tmp_path / "airflow", monkeypatch)
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(home / "dags" / "out"))
    log = home / "dags" / "out" / "x.log"
    assert (
        said_of(home / "dags", log) == f"a document may not name {log.as_uri()}: it is a file of Airflow itself{HINT}"
    )


def test_a_home_directory_is_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow_home(tmp_path / "airflow", monkeypatch)
    user = tmp_path / "user"
    (user / ".git").mkdir(parents=True)
    (user / "mail").write_text("")
    nowhere = f"a document may not name {(user / 'mail').as_uri()}: it is outside its own site{HINT}"
    assert said_of(user, user / "mail") == nowhere
    assert said_of(user / "flows", user / "mail") == nowhere.replace("its own site", str(user / "flows"))


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("/", "everybody's files are in it"),
        ("/tmp", "everybody's files are in it"),
        ("/tmp/../tmp/", "everybody's files are in it"),
        ("/etc", "everybody's files are in it"),
        ("/home/somebody", "it is a home directory"),
        ("~", "it is a home directory"),
        ("airflow", "it is Airflow's home, with its settings, keys and logs"),
    ],
)
def test_what_cannot_be_given_as_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, why: str) -> None:
    home = airflow_home(tmp_path / "airflow", monkeypatch)
    given = {"~": str(tmp_path / "user"), "airflow": str(home)}.get(root, root)
    monkeypatch.setenv(variable_of("document_roots"), f"{tmp_path / 'fine'} {given}")
    assert said_of(tmp_path / "flows", tmp_path / "x") == (
        f"[airflow_hybrid] document_roots names {given}, which cannot be a root of documents: {why}"
        "\n  -> name only the folders in it that documents may read"
    )


def test_roots_that_are_given_do_not_open_airflow_s_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = airflow_home(tmp_path / "airflow", monkeypatch)
    monkeypatch.setenv(variable_of("document_roots"), str(tmp_path))
    cfg = home / "airflow.cfg"
    own = f"a document may not name {cfg.as_uri()}: it is a file of Airflow itself{HINT}"
    assert said_of(tmp_path / "flows", cfg) == own
    (home / "include").mkdir()
    (home / "include" / "words").write_text("")
    monkeypatch.setenv(variable_of("document_roots"), f"{home / 'include'}")
    assert said_of(tmp_path / "flows", home / "include" / "words") is None
    assert os.path.exists(cfg)


def test_a_document_keeps_its_own_folder_beside_url_prefixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow_home(tmp_path / "airflow", monkeypatch)
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "words").write_text("")
    monkeypatch.setenv(variable_of("document_roots"), "https://example.org/workflows/")
    assert said_of(project / "flows", project / "words") is None
    assert said_of(project / "flows", Path("/etc/hostname")) == (
        f"a document may not name file:///etc/hostname: it is outside {project}{HINT}"
    )
