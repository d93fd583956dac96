# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A gathering that fails: what is there stays, nothing half is left, and the next try completes it."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from airflow_hybrid.errors import TransferError
from airflow_hybrid.operators.gather import outdir as outdir_module
from airflow_hybrid.removal.here import make_folder

from .test_gather import content, file, gathered, names


def fails_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system ends its service when so many outputs have their names."""
    place = outdir_module._name
    placed: list[str] = []

    def name(source: str, number: int, name: str) -> bool:
        if len(placed) == count:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        placed.append(name)
        return place(source, number, name)

    monkeypatch.setattr(outdir_module, "_name", name)


@pytest.mark.parametrize("existing", ["rename", "replace", "fail"])
def test_a_later_try_takes_up_what_a_failed_one_has_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: str
) -> None:
    outputs = {name: file(tmp_path / f"1/{name}", name * 3) for name in ("a", "b", "c")}
    out = tmp_path / "out"
    file(out / "mine", "mine")
    with monkeypatch.context() as patch:
        fails_after(2, patch)
        with pytest.raises(TransferError) as caught:
            gathered(outputs, out, run="r", existing=existing)
    assert str(caught.value) == (
        f"the outputs cannot be written to {out}: Input/output error\n"
        "  -> is the disk full, is `outdir` a folder and writable?"
    )
    brought = [name for name in "abc" if (out / name).exists()]
    assert len(brought) == 2 and names(out) == [*brought, "mine"], "and no folder of ours"
    assert all((out / name).read_text() == name * 3 for name in brought)
    value = gathered(outputs, out, run="r", existing=existing)
    assert names(out) == ["a", "b", "c", "mine"] and (out / "mine").read_text() == "mine"
    assert {name: content(value[name]) for name in "abc"} == {"a": "aaa", "b": "bbb", "c": "ccc"}


def test_what_a_failed_try_has_brought_is_another_runs_to_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        fails_after(1, patch)
        with pytest.raises(TransferError):
            gathered({"o": file(tmp_path / "1/o", "one"), "p": file(tmp_path / "1/p", "one")}, out, run="1")
    (brought,) = names(out)
    value = gathered({"o": file(tmp_path / f"2/{brought}", "two")}, out, run="2")
    assert (out / brought).read_text() == "one"
    assert value["o"]["location"] == (out / f"{brought}_2").as_uri() and content(value["o"]) == "two"


def test_of_tries_that_were_killed_only_the_runs_own_folders_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    gathered({"o": file(tmp_path / "1/o", "one")}, out, run="1")
    mine, other = (f".airflow_hybrid-incoming-{digest_of(run)}-" for run in ("1", "2"))
    left, of_another_run = make_folder(out, mine), make_folder(out, other)
    users = out / f"{mine}x"
    for folder in (left, of_another_run, users):
        file(folder / "tree/f", "x")
    (out / f"{mine}link").symlink_to(of_another_run)
    gathered({"o": file(tmp_path / "2/o", "two")}, out, run="1")
    assert names(out) == sorted(["o", of_another_run.name, users.name, f"{mine}link"])
    assert (users / "tree/f").read_text() == (of_another_run / "tree/f").read_text() == "x"
    assert (out / "o").read_text() == "two"
    assert sorted(record.getMessage() for record in caplog.records if record.levelname == "WARNING") == [
        f"not removed: {out}/{mine}link: Not a directory",
        f"not removed: {users}: it was not made by airflow_hybrid",
    ]


def digest_of(run: str) -> str:
    """As folders of a run's tries are called."""
    return hashlib.sha256(run.encode()).hexdigest()[:12]
