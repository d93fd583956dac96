# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Checkpoints in an object store: Airflow's object storage, on fsspec's store in memory."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from airflow.sdk.io import fs

from airflow_hybrid.cli import cleanup
from airflow_hybrid.cli.cleanup import Cleanup, CleanupScope
from airflow_hybrid.config import parse_deployments
from airflow_hybrid.engine import FragmentSpec
from airflow_hybrid.engine.checkpoints.originals import lost_originals
from airflow_hybrid.engine.checkpoints.putting_back import put_back
from airflow_hybrid.model import Checkpoint, CwlObject, FileRef
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.files import objects
from tests.unit.engine.fragments import Log, execution, spec

URL = "memory://bucket/kept copies"
TOOL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'mkdir -p d/e d/empty; echo B > "d/e/b b%20.txt"; echo B > same.txt; echo "echo RAN" > run.sh;
  cp run.sh d/run.sh; chmod +x run.sh d/run.sh; cp run.sh plain.sh; chmod a-x plain.sh']
inputs: {}
outputs:
  folder: {type: Directory, outputBinding: {glob: d}}
  files: {type: 'File[]', outputBinding: {glob: ['run.sh', 'plain.sh', 'same.txt']}}
"""
EXPIRE_S = 3600.0
CHECKPOINT = Checkpoint(URL, EXPIRE_S)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[fsspec.AbstractFileSystem]:
    """A store whose URLs are ``memory://bucket/key``."""
    made = fsspec.filesystem("memory")
    monkeypatch.setattr(fs, "_register_filesystems", lambda: {"memory": lambda conn_id, options: made})
    monkeypatch.setattr(objects, "STORES", ("memory", "nostore"))
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path / "cache"))
    yield made
    made.store.clear()
    made.pseudo_dirs[:] = [""]


def _spec(folder: Path) -> FragmentSpec:
    sites = parse_deployments({"here": {"type": "local", "workdir": str(folder / "site")}})
    return replace(spec(folder, sites, {"target": "here"}, [{}], TOOL), reuse=False, checkpoint=CHECKPOINT)


async def _run(one: FragmentSpec) -> tuple[CwlObject, list[str]]:
    """The outputs, and what the log says of copies."""
    try:
        run, log = execution(one)
        outcome = await run.run()
    finally:
        await close_all()
    return outcome.results[0].outputs, [line for line in log.lines if "second cop" in line]


async def _back(one: FragmentSpec, value: Any, *uris: str) -> tuple[set[str], str]:
    """Which files are put back, and what the log says."""
    log = Log()
    originals = lost_originals(value, uris)
    try:
        entries = await put_back(list(originals.values()), [CHECKPOINT], one.deployments, (), log)
    finally:
        await close_all()
    return {entry.destination for entry in entries}, log.text


def _tree(folder: Path) -> dict[str, tuple[str | None, bool]]:
    """By path: the text of each file, and whether it is executable."""
    return {
        str(path.relative_to(folder)): (path.read_text(), os.access(path, os.X_OK)) if path.is_file() else (None, True)
        for path in folder.rglob("*")
    }


async def test_files_and_folders_are_kept_once_and_put_back_as_they_were(
    store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    one = _spec(tmp_path)
    value, said = await _run(one)
    assert said == [f"/tool: second copies of 4 outputs at {URL}: 4 made (31 B), 0 already there"]
    contents = {path: store.cat(path) for path in store.find("/bucket/kept copies/store")}
    # the same text is there once as a program, and once as none
    assert sorted(text for text in contents.values() if b"{" not in text) == [b"B\n", b"echo RAN\n", b"echo RAN\n"]
    _, said = await _run(one)
    assert said == [f"/tool: second copies of 4 outputs at {URL}: 0 made (0 B), 4 already there"]
    uris = [value["folder"]["location"], *(file["location"] for file in value["files"])]
    out = Path(FileRef.parse(uris[0]).path).parent
    before = _tree(out)
    shutil.rmtree(tmp_path / "site")
    back, log = await _back(one, value, *uris)
    assert (back, log) == (set(uris), "")
    # which of two files of the same content is a program is not known when both are gone
    before["plain.sh"] = ("echo RAN\n", True)
    assert _tree(out) == before and before["d/empty"] == (None, True) and before["d/run.sh"] == ("echo RAN\n", True)
    assert (out.parents[2] / ".airflow_hybrid").exists()  # so that the folder can be cleaned up like others


async def test_a_copy_that_was_changed_is_not_used(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    one = _spec(tmp_path)
    value, _ = await _run(one)
    same = next(file for file in value["files"] if file["basename"] == "same.txt")
    shutil.rmtree(tmp_path / "site")
    (path,) = [path for path in store.find("/bucket/kept copies/store") if store.cat(path) == b"B\n"]
    store.pipe(path, b"X\n")
    back, log = await _back(one, value, same["location"])
    assert back == set() and "the content of memory://bucket/kept%20copies/store/" in log and "differs: SHA-1" in log
    assert not list((tmp_path / "site").rglob("same.txt"))


async def test_a_copy_that_was_changed_does_not_spoil_the_others(
    store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    one = _spec(tmp_path)
    value, _ = await _run(one)
    uris = {file["basename"]: file["location"] for file in value["files"]}
    shutil.rmtree(tmp_path / "site")
    (path,) = [path for path in store.find("/bucket/kept copies/store") if store.cat(path) == b"B\n"]
    store.pipe(path, b"X\n")
    back, log = await _back(one, value, *uris.values())
    assert back == {uris["run.sh"], uris["plain.sh"]}
    assert log.count("a lost file is not taken from the checkpoint") == 1 and "differs: SHA-1" in log


async def test_nothing_is_put_back_or_removed_through_a_link_that_a_job_has_made(
    store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    one = _spec(tmp_path)
    value, _ = await _run(one)
    out = Path(FileRef.parse(value["folder"]["location"]).path).parent
    precious = tmp_path / "precious"
    (precious / "d" / "empty").mkdir(parents=True)
    (out / "link").symlink_to(precious)
    # what a task has published was edited
    edited = [
        {**file, "location": file["location"].replace("/out/", "/out/link/")}
        for file in (*value["files"], value["folder"])
    ]
    (out / "same.txt").unlink()
    same = next(file for file in value["files"] if file["basename"] == "same.txt")
    uris = [same["location"], *(file["location"] for file in edited)]
    back, _ = await _back(one, [*edited, same], *uris)
    assert back == {same["location"]}
    assert [str(path.relative_to(precious)) for path in sorted(precious.rglob("*"))] == ["d", "d/empty"]


async def test_a_list_of_a_folder_cannot_name_files_outside_of_it(
    store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    one = _spec(tmp_path)
    value, _ = await _run(one)
    (path,) = [path for path in store.find("/bucket/kept copies/store") if b"{" in store.cat(path)]
    listed = json.loads(store.cat(path))
    listed["files"][0][0] = "../../../stolen"
    store.pipe(path, json.dumps(listed).encode())
    shutil.rmtree(tmp_path / "site")
    back, _ = await _back(one, value, value["folder"]["location"])
    assert back == set() and not list(tmp_path.rglob("stolen"))


async def test_a_content_is_kept_until_the_latest_time_that_a_run_asked_for(
    store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    one = _spec(tmp_path)

    def until() -> set[Any]:
        notes = [json.loads(store.cat(path)) for path in store.find("/bucket/kept copies/until")]
        assert len(notes) == 4 and {note["what"] for note in notes} == {"airflow_hybrid checkpoint"}
        return {note["until"] for note in notes}

    await _run(one)
    assert all(abs(time_s - time.time() - EXPIRE_S) < 300 for time_s in until())
    await _run(replace(one, checkpoint=Checkpoint(URL, None)))
    assert None in until()
    kept = until()
    await _run(one)
    assert until() == kept


def test_cleanup_removes_what_has_expired_and_is_proved_to_be_ours(
    store: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "is_store", lambda target: target.startswith("memory://"))
    ours = "airflow_hybrid checkpoint"
    notes = {
        "ab/old": {"what": ours, "until": time.time() - 5}, "ab/new": {"what": ours, "until": time.time() + 500},
        "ab/good": {"what": ours, "until": None}, "cd/theirs": {"until": 5}, "cd/odd": "text",
    }  # fmt: skip
    for name, note in notes.items():
        store.pipe(f"/bucket/kept copies/until/{name}", json.dumps(note).encode())
        store.pipe(f"/bucket/kept copies/store/{name}/content", b"x")
    said: list[str] = []
    problems: list[str] = []
    work = Cleanup([CleanupScope({}, set(), stores=frozenset({URL}))], said.append, problems.append)
    work.remove(work.checkpoints())
    assert said == [f"removed: 1 expired checkpoint in {URL}"] and problems == []
    left = {path.split("/")[4:6][-1] for path in store.find("/bucket/kept copies/store")}
    assert left == {"new", "good", "theirs", "odd"}
    assert len(store.find("/bucket/kept copies/until")) == 4
    work.remove(work.checkpoints())
    assert len(said) == 1
