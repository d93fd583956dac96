# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files and folders of an object store: Airflow's object storage, on fsspec's store in memory."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import fsspec
import pytest
from airflow.sdk.io import fs
from fsspec.implementations.memory import MemoryFileSystem

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.errors import TransferError
from airflow_hybrid.operators.gather import objects as gathered
from airflow_hybrid.operators.gather.gathering import gather
from airflow_hybrid.operators.gather.rules import OutputRules
from airflow_hybrid.sites.files import objects
from airflow_hybrid.sites.files.objects import open_object, with_listings
from tests.raising import raising


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> fsspec.AbstractFileSystem:
    """A store whose URLs are ``memory://bucket/key``."""
    made = fsspec.filesystem("memory")
    monkeypatch.setattr(fs, "_register_filesystems", lambda: {"memory": lambda conn_id, options: made})
    monkeypatch.setattr(objects, "STORES", ("memory", "nostore"))
    made.pipe({"/bucket/in/x y.txt": b"x", "/bucket/in/deep/y.txt": b"yy"})
    yield made
    made.rm("/bucket", recursive=True)


def test_a_directory_of_a_store_is_the_files_in_it(store: fsspec.AbstractFileSystem) -> None:
    given = {"d": [{"class": "Directory", "location": "memory://bucket/in/"}], "n": 3}
    (folder,) = with_listings(given)["d"]
    assert folder["basename"] == "in" and "location" not in folder
    deep, file = folder["listing"]
    assert (deep["class"], deep["basename"], deep["listing"][0]["basename"]) == ("Directory", "deep", "y.txt")
    assert file == {"class": "File", "basename": "x y.txt", "location": "memory://bucket/in/x%20y.txt"}
    stream, size = open_object(file["location"])
    assert (stream.read(), size) == (b"x", 1)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("memory://bucket/none", "does not exist, or is not a directory\n  -> is the name right?"),
        (
            "nostore://bucket/in",
            "cannot be read: Unsupported filesystem: 'nostore'\n  -> object stores are read by Airflow's providers "
            "(s3: apache-airflow-providers-amazon[s3fs], gs: ...-google) with the Connection that the URL names, "
            "s3://conn_id@bucket/key",
        ),
    ],
)
def test_a_directory_that_cannot_be_had_is_said(store: fsspec.AbstractFileSystem, url: str, problem: str) -> None:
    with raising(TransferError, f"{url} {problem}"):
        with_listings({"class": "Directory", "location": url})


def test_what_is_of_no_store_stays_as_it_is() -> None:
    value = [{"class": "Directory", "location": "file:///d"}, {"class": "Directory", "listing": []}, "s3://b/d", None]
    assert with_listings(value) == value


def test_outputs_go_to_a_store_with_all_that_is_in_their_folders(
    store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    (tmp_path / "d/deep").mkdir(parents=True)
    (tmp_path / "d/deep/z z.txt").write_text("z")
    folder = {"class": "Directory", "location": (tmp_path / "d").as_uri(), "basename": "d"}
    rules = OutputRules(logging.getLogger("t"))
    value, _ = asyncio.run(gather({"d": folder}, "memory://bucket/out", parse_deployments({}), None, rules))
    assert store.cat("/bucket/out/d/deep/z z.txt") == b"z"
    assert value["d"]["location"] == "memory://bucket/out/d"
    assert value["d"]["listing"][0]["listing"][0]["location"] == "memory://bucket/out/d/deep/z%20z.txt"


def test_objects_in_s3_have_a_type_by_their_names(
    store: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The store in memory is made to take a type for each object, as fsspec's file system of S3 does."""
    types: dict[str, str] = {}
    without_type = MemoryFileSystem._open

    def opened(self: Any, path: str, mode: str = "rb", *args: Any, **more: Any) -> Any:
        kind = more.pop("ContentType", "")
        if mode == "wb":
            types[path.rpartition("/")[2]] = kind
        return without_type(self, path, mode, *args, **more)

    monkeypatch.setattr(MemoryFileSystem, "_open", opened)
    monkeypatch.setattr(gathered, "_S3", ("memory",))
    sent({name: name for name in ("run-report.html", "t.csv", "a.tar.gz", "x.unknown")}, tmp_path)
    assert types == {
        "run-report.html": "text/html", "t.csv": "text/csv", "a.tar.gz": "application/gzip", "x.unknown": "",
        ".airflow_hybrid-outputs": "application/json",
    }  # fmt: skip


def sent(outputs: dict[str, str], tmp_path: Path, **more: Any) -> dict[str, str]:
    """Send files by name and content; -> their URLs."""
    value = {}
    for name, text in outputs.items():
        path = tmp_path / "job" / text / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        value[name.partition(".")[0]] = {"class": "File", "location": path.as_uri(), "basename": name}
    rules = OutputRules(logging.getLogger("t"), **more)
    result, lineage = asyncio.run(gather(value, "memory://bucket/out/", parse_deployments({}), None, rules))
    assert {entry.destination for entry in lineage} == {item["location"] for item in result.values()}
    return {name: item["location"] for name, item in result.items()}


def test_what_is_in_a_store_stays_and_an_earlier_try_is_replaced(
    store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    store.pipe("/bucket/out/a.txt", b"mine")
    for text in ("one", "two"):
        urls = sent({"a.txt": text, "b.txt": text}, tmp_path, run="r")
        assert urls == {"a": "memory://bucket/out/a.txt_2", "b": "memory://bucket/out/b.txt"}
    assert [store.cat(f"/bucket/out/{name}") for name in ("a.txt", "a.txt_2", "b.txt")] == [b"mine", b"two", b"two"]
    store.pipe("/bucket/out/b.txt", b"changed by hand")
    assert sent({"b.txt": "three"}, tmp_path, run="r") == {"b": "memory://bucket/out/b.txt_2"}
    assert sent({"b.txt": "four"}, tmp_path, run="s") == {"b": "memory://bucket/out/b.txt_3"}
    assert sent({"b.txt": "five"}, tmp_path, run="t", existing="replace") == {"b": "memory://bucket/out/b.txt_2"}
    assert store.cat("/bucket/out/b.txt") == b"changed by hand"


def test_the_same_content_in_a_store_is_left_alone_and_does_not_become_ours(
    store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    store.pipe("/bucket/out/a.txt", b"input")
    made = store.info("/bucket/out/a.txt")["created"]
    assert sent({"a.txt": "input"}, tmp_path, run="r") == {"a": "memory://bucket/out/a.txt"}
    assert store.info("/bucket/out/a.txt")["created"] == made
    assert sent({"a.txt": "other"}, tmp_path, run="r") == {"a": "memory://bucket/out/a.txt_2"}
    assert store.cat("/bucket/out/a.txt") == b"input"


def test_it_can_be_an_error_that_something_is_in_a_store(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    store.pipe("/bucket/out/a.txt", b"mine")
    with pytest.raises(TransferError) as caught:
        sent({"a.txt": "x", "b.txt": "x"}, tmp_path, run="r", existing="fail")
    assert str(caught.value) == (
        "memory://bucket/out has other objects under the names of this run's outputs: a.txt\n"
        "  -> choose another `outdir` (`--outdir`), or let outputs get new names"
        " (`existing_outputs: rename`, `--existing rename`)"
    )
    assert not store.exists("/bucket/out/b.txt")


@pytest.mark.parametrize("scheme", ["sftp", "ssh", "local", "memory"])
@pytest.mark.parametrize("place", [{"location": "URL"}, {"location": None, "path": "URL"}, {"path": "URL"}])
def test_what_is_no_object_store_is_not_listed(scheme: str, place: dict[str, Any]) -> None:
    value = {"class": "Directory", **{key: item and f"{scheme}://anna@x/home/anna" for key, item in place.items()}}
    assert with_listings(value) == value


def test_a_listing_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(objects, "MOST_LISTED", 2)
    monkeypatch.setattr(objects, "STORES", ("file-store",))
    for name in "abc":
        (tmp_path / name).touch()

    class Store:
        def __new__(cls, url: str) -> Any:
            return tmp_path

    monkeypatch.setattr("airflow.sdk.ObjectStoragePath", Store)
    with pytest.raises(TransferError) as caught:
        with_listings({"class": "Directory", "location": "file-store://x"})
    assert str(caught.value) == (
        "there are more than 2 files and folders below file-store://x\n  -> name a folder further below, or the files"
    )
