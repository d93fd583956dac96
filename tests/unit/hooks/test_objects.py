# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files and folders of an object store: Airflow's object storage, on fsspec's store in memory."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import fsspec
import pytest
from airflow.sdk.io import fs

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.errors import TransferError
from airflow_hybrid.gather import gather
from airflow_hybrid.hooks.objects import open_object, with_listings


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> fsspec.AbstractFileSystem:
    """A store whose URLs are ``memory://bucket/key``."""
    made = fsspec.filesystem("memory")
    monkeypatch.setattr(fs, "_register_filesystems", lambda: {"memory": lambda conn_id, options: made})
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


@pytest.mark.parametrize("url", ["memory://bucket/none", "nostore://bucket/in"])
def test_a_directory_that_cannot_be_had_is_said(store: fsspec.AbstractFileSystem, url: str) -> None:
    with pytest.raises(TransferError, match=re.escape(url)):
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
    log = logging.getLogger("t")
    value, _ = asyncio.run(gather({"d": folder}, "memory://bucket/out", parse_deployments({}), None, log))
    assert store.cat("/bucket/out/d/deep/z z.txt") == b"z"
    assert value["d"]["location"] == "memory://bucket/out/d"
    assert value["d"]["listing"][0]["listing"][0]["location"] == "memory://bucket/out/d/deep/z%20z.txt"
