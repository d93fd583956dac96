# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Secrets of URLs are in no lineage, log, message or traceback. (Command lines: test_web_addresses.py.)"""

from __future__ import annotations

import json
import logging
import traceback
from pathlib import Path

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import LineageEntry
from airflow_hybrid.operators.gather.objects import upload
from airflow_hybrid.operators.gather.rules import OutputRules
from airflow_hybrid.sites.files import objects
from airflow_hybrid.sites.files.objects import open_object, with_listings
from airflow_hybrid.sites.files.requests import Copied, StageRequest
from airflow_hybrid.sites.hosts.local import LocalHost

SECRET = "s3cr3t"
STORE = f"nosuchstore://conn:{SECRET}@bucket/folder"


def told(error: BaseException) -> str:
    """All that a log would have of an error: its message, and the errors that led to it."""
    return "".join(traceback.format_exception(error))


def test_the_lineage_of_what_came_from_the_web_has_none() -> None:
    request = StageRequest(f"https://me:{SECRET}@example.org/a?sig={SECRET}&n=1", LocalHost(), "/work/a")
    found = Copied("fetch", 1, 0.1, "0" * 40).entry(request)
    assert found.source == "https://***@example.org/a?sig=***&n=***"
    assert SECRET not in json.dumps(found.to_json())


@pytest.mark.parametrize(
    "use", [lambda: open_object(STORE), lambda: with_listings({"class": "Directory", "location": STORE})]
)
def test_an_object_store_that_refuses_tells_none(use: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "STORES", ("nosuchstore",))
    assert callable(use)
    with pytest.raises(TransferError) as error:
        use()
    assert SECRET not in told(error.value) and "nosuchstore://conn:***@bucket/folder" in told(error.value)


def test_outputs_in_an_object_store_tell_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = MemoryFileSystem()
    files.store.clear()
    attach("memory", conn_id=f"conn:{SECRET}", fs=files)
    store = f"memory://conn:{SECRET}@bucket/folder"
    (tmp_path / "tree").mkdir()
    made = tmp_path / "tree/out.txt"
    lineage = [LineageEntry("file:///a", made.as_uri(), "copy", 1, 0.1)]
    log = logging.getLogger("outputs")
    for text in ("one", "two"):
        made.write_text(text)
        with caplog.at_level(logging.INFO):
            _, there = upload({"o": made.as_uri()}, lineage, str(tmp_path / "tree"), store, OutputRules(log, text))
        assert SECRET not in caplog.text + json.dumps([item.to_json() for item in there])
    assert there[0].destination == "memory://conn:***@bucket/folder/out.txt_2"
    assert [record.getMessage() for record in caplog.records] == [
        "memory://conn:***@bucket/folder/out.txt exists already and stays: the output is named out.txt_2"
    ]
