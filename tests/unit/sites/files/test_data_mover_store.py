# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.sites.files.store import content_digest, incoming_root, is_content_addressed, store_path
from airflow_hybrid.sites.hosts.job_folders import producer_of
from tests.raising import raising

A, B = "a" * 40, "b" * 40


def file(name: str = "f", digest: str | None = A, **more: Any) -> dict[str, Any]:
    made = {"class": "File", "location": f"hybrid://hpc/n/out/{name}", "basename": name, **more}
    return {**made, "checksum": f"sha1${digest}"} if digest else made


def test_a_path_is_a_function_of_content_and_name() -> None:
    path = store_path("/w", file())
    assert path == f"/w/store/aa/{A}/f"
    assert store_path("/w", file(location="file:///elsewhere/f")) == path
    assert store_path("/w", file("g")) == f"/w/store/aa/{A}/g"
    assert is_content_addressed(path, A) and not is_content_addressed(path, B) and not is_content_addressed(path, None)
    assert incoming_root(path) == "/w/store" and incoming_root("/outdir/x/f") == "/outdir/x"


def test_a_file_that_tells_no_content_is_known_by_its_location() -> None:
    one, two = store_path("/w", file(digest=None)), store_path("/w", file("g", None))
    assert one != two and one.endswith("/f") and "/store/u" in one
    assert not is_content_addressed(one, A)


def test_a_directory_is_known_by_its_listing() -> None:
    listing = [file("x"), {"class": "Directory", "basename": "s", "location": "l", "listing": [file("y", B)]}]
    folder = {"class": "Directory", "location": "hybrid://hpc/n/d", "basename": "d", "listing": listing}
    digest = content_digest(folder)
    assert digest is not None and digest == content_digest({**folder, "listing": listing[::-1], "location": "x"})
    assert digest != content_digest({**folder, "listing": [file("z"), *listing[1:]]})
    assert content_digest({**folder, "listing": [file("x", None)]}) is None
    assert content_digest({"class": "Directory", "location": "l"}) is None


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a\0b"])
def test_a_name_cannot_lead_out_of_the_store(name: str) -> None:
    with raising(ValueError, f"not a file name: {name!r}"):
        store_path("/w", file(name))


@pytest.mark.parametrize("checksum", ["md5$" + A, "sha1$../../x", "sha1$" + "A" * 40, 5, None])
def test_a_checksum_of_another_form_is_no_content(checksum: Any) -> None:
    assert content_digest({"class": "File", "location": "l", "checksum": checksum}) is None


def test_the_producer_is_read_from_the_path_of_a_job_directory() -> None:
    assert producer_of("/w/dag/run/align/g0-0123456789/a1-x/0001/out/f") == "task align of run run of DAG dag"
    assert producer_of("/w/dag/run/align/12/g1-0123456789/a1-x/0001/out/f") == "task align[12] of run run of DAG dag"
    assert producer_of("/data/f") is None
