# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Crates that anybody may have made."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.crates import unpacking
from airflow_hybrid.crates.crate import INPUTS_FILE, CrateOptions, write_crate
from airflow_hybrid.crates.unpacking import UnpackedCrate, unpack, usable_inputs
from airflow_hybrid.errors import InputError
from airflow_hybrid.sites.files.nofollow import opened
from tests.unit.crates.facts import hello

METADATA = {"@graph": [{"@id": "./", "mainEntity": {"@id": "packed.cwl"}}]}
HINT = "\n  -> a crate for `airflow hybrid run` is a zip file that `airflow hybrid prov` has written"


def crate_with(path: Path, *members: tuple[str | zipfile.ZipInfo, str], metadata: Any = METADATA) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ro-crate-metadata.json", json.dumps(metadata))
        archive.writestr("packed.cwl", "{}")
        archive.writestr("primary-job.json", "{}")
        archive.writestr("primary-output.json", "{}")
        for name, text in members:
            archive.writestr(name, text)
    return str(path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    facts = hello()
    path = write_crate(facts, str(tmp_path / "run.zip"), opened, CrateOptions()).path
    crate = unpack(path, tmp_path / "crate")
    assert crate.inputs == facts.inputs and crate.outputs == facts.outputs
    assert Path(crate.document).read_text().startswith("{")
    assert sorted(p.name for p in (tmp_path / "crate/document").iterdir()) == ["count.sh", "split.awk", "summarise.sh"]


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../outside", "which leads out of the crate"),
        ("a/../../outside", "which leads out of the crate"),
        ("/etc/cron.d/job", "which leads out of the crate"),
        ("a//b", "which leads out of the crate"),
        ("a\\..\\b", "whose name has signs that it must not have"),
        ("a\nb", "whose name has signs that it must not have"),
        (link("inputs"), "which is neither a file nor a folder"),
    ],
)
def test_members_that_are_not_unpacked(tmp_path: Path, name: str | zipfile.ZipInfo, why: str) -> None:
    path = crate_with(tmp_path / "bad.zip", (name, "/etc/passwd"))
    with pytest.raises(InputError) as caught:
        unpack(path, tmp_path / "crate")
    shown = name if isinstance(name, str) else name.filename
    assert str(caught.value) == f"{path} has the member {shown!r}, {why}: it is not unpacked{HINT}"
    assert not list((tmp_path / "crate").iterdir())


def test_a_member_twice(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = crate_with(tmp_path / "bad.zip", ("packed.cwl", "{}"))
    with pytest.raises(InputError, match=r"has the member 'packed.cwl', which it has twice: it is not unpacked"):
        unpack(path, tmp_path / "crate")


def test_a_file_below_a_file(tmp_path: Path) -> None:
    path = crate_with(tmp_path / "bad.zip", ("packed.cwl/x", "{}"))
    with pytest.raises(InputError, match=r"bad.zip cannot be unpacked: (Not a directory|File exists)"):
        unpack(path, tmp_path / "crate")


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_UNPACKED", 1 << 20)
    path = crate_with(tmp_path / "bomb.zip", ("zeros", "\0" * (4 << 20)))
    with pytest.raises(InputError) as caught:
        unpack(path, tmp_path / "crate")
    assert str(caught.value) == f"{path} would be 20 times as large when it is unpacked: it is not"


def test_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 5)
    path = crate_with(tmp_path / "bad.zip", ("a", ""), ("b", ""))
    with pytest.raises(InputError, match=r"has 6 members: more than 5 are not unpacked"):
        unpack(path, tmp_path / "crate")


def test_no_zip_file(tmp_path: Path) -> None:
    path = tmp_path / "not.zip"
    path.write_text("cwlVersion: v1.2")
    with pytest.raises(InputError) as caught:
        unpack(str(path), tmp_path / "crate")
    assert str(caught.value) == f"{path} cannot be unpacked: File is not a zip file{HINT}"


@pytest.mark.parametrize("main", ["../x.cwl", "/x.cwl", "https://example.org/x.cwl", "x.py", None])
def test_a_document_that_is_not_in_the_crate(tmp_path: Path, main: str | None) -> None:
    metadata = {"@graph": [{"@id": "./", "mainEntity": {"@id": main}}]}
    path = crate_with(tmp_path / "bad.zip", metadata=metadata)
    with pytest.raises(InputError) as caught:
        unpack(path, tmp_path / "crate")
    assert str(caught.value) == f"{path} is not the record of a run of a CWL document{HINT}"


def crate_of(tmp_path: Path, **inputs: Any) -> UnpackedCrate:
    folder = tmp_path / "crate"
    folder.mkdir(exist_ok=True)
    return UnpackedCrate(str(folder / "packed.cwl"), inputs, {}, str(folder))


def test_inputs_that_only_the_user_may_name(tmp_path: Path) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("key")
    files: dict[str, Any] = {
        "a": {"class": "File", "location": secret.as_uri()},
        "b": {"class": "File", "location": secret.as_uri(), "checksum": "sha1$00"},
        "c": [{"class": "File", "path": str(secret)}],
        "d": {"class": "File", "location": "../id_rsa"},
        "e": {"class": "Directory", "location": tmp_path.as_uri()},
        "f": {"class": "File", "location": "hybrid://cluster/node/etc/passwd"},
        "g": {"class": "Directory", "basename": "x", "listing": [{"class": "File", "location": "s3://ann@b/k"}]},
        "h": {"class": "Directory", "location": "file:///", "listing": [{"class": "File", "location": "file:///x"}]},
    }
    with pytest.raises(InputError) as caught:
        usable_inputs(crate_of(tmp_path, **files), {}, lambda path: "sha1$11")
    assert str(caught.value) == (
        "the crate only refers to these inputs, and they are not here as the run had them:\n"
        f"  a: {secret.as_uri()}\n  b: {secret.as_uri()}\n  c: {secret}\n  d: ../id_rsa\n  e: {tmp_path.as_uri()}\n"
        "  f: hybrid://cluster/node/etc/passwd\n  g: s3://ann@b/k\n  h: file:///x\n"
        "  -> give the inputs on the command line, as for the document itself: --NAME PATH, or a job file"
    )


def test_inputs_that_are_used(tmp_path: Path) -> None:
    crate = crate_of(
        tmp_path,
        copy={"class": "File", "location": "inputs/1/a%20b.txt"},
        same={"class": "File", "location": "file:///data/x", "checksum": "sha1$11"},
        other={"class": "File", "location": "file:///data/y"},
        folder={
            "class": "Directory",
            "location": "file:///data/a%20folder/",
            "listing": [{"class": "File", "location": "file:///data/x", "checksum": "sha1$11"}],
        },
        number=3,
    )
    inside = tmp_path / "crate/inputs/1/a b.txt"
    inside.parent.mkdir(parents=True)
    inside.touch()
    given = {"other": {"class": "File", "location": "file:///mine"}}
    assert usable_inputs(crate, given, lambda path: "sha1$11") == {
        "copy": {"class": "File", "location": inside.as_uri()},
        "same": {"class": "File", "location": "file:///data/x", "checksum": "sha1$11"},
        "other": {"class": "File", "location": "file:///mine"},
        "folder": {
            "class": "Directory",
            "basename": "a folder",
            "listing": [{"class": "File", "location": "file:///data/x", "checksum": "sha1$11"}],
        },
        "number": 3,
    }


def test_a_member_that_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("packed.cwl", "cwlVersion: v1.2\n" * 100)
    content = bytearray(path.read_bytes())
    start = 30 + len("packed.cwl")
    content[start : start + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"bad.zip cannot be unpacked: Error -3 while decompressing data"):
        unpack(str(path), tmp_path / "crate")


def test_inputs_that_would_take_long_to_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(unpacking._MOST_VALUES, INPUTS_FILE, 1)
    with pytest.raises(InputError, match=rf"{INPUTS_FILE} is too large"):
        unpack(crate_with(tmp_path / "big.zip"), tmp_path / "crate")
