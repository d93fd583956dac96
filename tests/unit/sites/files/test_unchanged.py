# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files are what was recorded of them when they are used, or it is said: in place, and in the store."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import FileRef
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.connectors.locations import Locations
from airflow_hybrid.sites.files import unchanged
from airflow_hybrid.sites.files.mover import DataMover, StageRequest, store_path
from airflow_hybrid.sites.hosts.base import Host
from tests.raising import raising
from tests.unit.sites.files.test_data_mover import DEPLOYMENTS

JOB = "dag/run/align/g0-0123456789/a1-ab/0001"


async def host(name: str) -> Host:
    return (await open_connector(DEPLOYMENTS, name).hosts())[0]


def described(path: Path) -> dict[str, Any]:
    made: dict[str, Any] = {"class": "Directory" if path.is_dir() else "File", "basename": path.name}
    made["location"] = FileRef("one", "localhost", str(path)).uri
    if path.is_file():
        made |= {"size": path.stat().st_size, "checksum": "sha1$" + hashlib.sha1(path.read_bytes()).hexdigest()}
    return made


def output(folder: Path) -> Path:
    """An output of a job that has ended, as it is in its job directory; beside it a folder of outputs."""
    out = folder / JOB / "out"
    (out / "tree").mkdir(parents=True)
    for path in (out / "f", out / "tree/f"):
        path.write_text("right\n")
        os.utime(path, (1000, 1000))
    for folder_ in (out / "tree", out):
        os.utime(folder_, (1000, 1000))
    (out / "../../ec").mkdir()
    return out


def remove(out: Path) -> None:
    (out / "f").unlink()


def shorten(out: Path) -> None:
    (out / "f").write_text("x\n")


def rewrite(out: Path) -> None:
    (out / "f").write_text("wrong\n")


def make_a_folder(out: Path) -> None:
    remove(out)
    (out / "f").mkdir()


WRONG = "sha1$" + hashlib.sha1(b"wrong\n").hexdigest()
RIGHT = "sha1$" + hashlib.sha1(b"right\n").hexdigest()


@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (remove, "no longer exists"),
        (shorten, "was changed after it was produced: it has 2 bytes, not 6"),
        (rewrite, f"was changed after it was produced: its checksum is {WRONG}, not {RIGHT}"),
        (make_a_folder, "is a directory, not a file"),
    ],
)
async def test_an_output_that_is_not_what_it_was_is_told_with_the_task_that_made_it(
    spoil: Callable[[Path], None], said: str, small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "SMALL_BYTES", 1 << 20 if small else 0)
    out = output(tmp_path)
    asked = StageRequest.of(described(out / "f"), await host("one"), str(out / "f"))
    await DataMover(Locations(DEPLOYMENTS)).check_in_place([asked])
    spoil(out)
    with pytest.raises(TransferError) as caught:
        await DataMover(Locations(DEPLOYMENTS)).check_in_place([asked])
    assert str(caught.value) == (
        f"one (localhost): {asked.source} {said}\n"
        "  -> it was made by task align of run run of DAG dag: clear that task to make it again"
    )
    assert not caught.value.retryable


@pytest.mark.parametrize("finished_s", [-10, 10])
async def test_a_large_output_is_read_if_it_was_touched_after_its_job_ended(
    finished_s: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "SMALL_BYTES", 0)
    out = output(tmp_path)
    asked = StageRequest.of(described(out / "f"), await host("one"), str(out / "f"))
    ended = time.time() + finished_s
    os.utime(out / "../../ec", (ended, ended))
    os.link(out / "f", out / "other")  # no harm
    await DataMover(Locations(DEPLOYMENTS)).check_in_place([asked])
    rewrite(out)
    os.utime(out / "f", (1000, 1000))  # the time of its content is set back
    if finished_s > 0:  # it is not read: nothing of it is later than the job's end
        await DataMover(Locations(DEPLOYMENTS)).check_in_place([asked])
        return
    with pytest.raises(TransferError) as caught:
        await DataMover(Locations(DEPLOYMENTS)).check_in_place([asked])
    assert str(caught.value).startswith(
        f"one (localhost): {asked.source} was changed after it was produced: its checksum is {WRONG}, not {RIGHT}\n"
    )


async def test_an_input_of_the_run_that_is_written_while_it_runs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "SMALL_BYTES", 0)
    path = tmp_path / "f"
    path.write_text("right\n")
    os.utime(path, (1000, 1000))
    asked = StageRequest.of(described(path), await host("one"), str(path))
    path.write_text("wrong\n")
    with pytest.raises(TransferError) as caught:
        await DataMover(Locations(DEPLOYMENTS)).check_in_place([asked], since=2000.0)
    assert str(caught.value) == (
        f"one (localhost): {asked.source} was changed after it was taken as an input of the run: "
        f"its checksum is {WRONG}, not {RIGHT}\n"
        "  -> if the change is intended, clear the run's task `inputs` and all tasks after it. If Airflow's tasks run"
        f" on several machines: this machine ({socket.gethostname()}) must have the same file"
    )


def add(tree: Path) -> None:
    (tree / "new").write_text("")


@pytest.mark.parametrize(
    ("spoil", "late"),
    [
        (lambda tree: (tree / "f").write_text("wrong\n"), "tree/f"),
        (lambda tree: (tree / "f").unlink(), "tree"),
        (add, "tree"),
    ],
)
async def test_a_folder_of_outputs_that_was_changed_is_told(
    spoil: Callable[[Path], None], late: str, tmp_path: Path
) -> None:
    out = output(tmp_path)
    asked = StageRequest.of(described(out / "tree"), await host("one"), str(out / "tree"))
    await DataMover(Locations(DEPLOYMENTS)).check_in_place([asked])
    spoil(out / "tree")
    with pytest.raises(TransferError) as caught:
        await DataMover(Locations(DEPLOYMENTS)).check_in_place([asked])
    said = f"{asked.source} was changed after it was produced: {out / late} is newer than its job"
    assert caught.value.message == said


CHANGED = (
    "was changed after it was taken as an input of the run: its checksum is "
    "sha1$50446f1c13ef309ddb543f4066adbcc28f99e5ae, not sha1$663118c7c06d38d3996e8a6a45759e16e03ea17b\n"
    "  -> if the change is intended, clear the run's task `inputs` and all tasks after it. If Airflow's tasks run"
    f" on several machines: this machine ({socket.gethostname()}) must have the same file"
)


async def test_a_link_to_an_input_is_followed(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("right\n")
    (tmp_path / "link").symlink_to("f")
    asked = StageRequest.of(described(tmp_path / "link"), await host("one"), str(tmp_path / "link"))
    await DataMover(Locations(DEPLOYMENTS)).check_in_place([asked])
    (tmp_path / "f").write_text("wrong\n")
    with raising(TransferError, f"one (localhost): {asked.source} {CHANGED}"):
        await DataMover(Locations(DEPLOYMENTS)).check_in_place([asked])


@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
@pytest.mark.parametrize("text", ["x\n", "wrong\n"])
async def test_a_copy_in_the_store_that_was_changed_is_made_again(
    text: str, small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "SMALL_BYTES", 1 << 20 if small else 0)
    (tmp_path / "f").write_text("right\n")
    file = described(tmp_path / "f")
    asked = StageRequest.of(file, await host("two"), store_path(str(tmp_path / "w"), file))
    await DataMover(Locations(DEPLOYMENTS)).stage([asked])
    (entry,) = await DataMover(Locations(DEPLOYMENTS)).stage([asked])
    assert entry.route == "in place"
    Path(asked.path).write_text(text)
    (entry,) = await DataMover(Locations(DEPLOYMENTS)).stage([asked])
    assert (entry.route, Path(asked.path).read_text()) == ("copy", "right\n")


async def test_a_link_in_the_store_is_not_made_to_a_source_that_was_changed(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("right\n")
    file = described(tmp_path / "f")
    asked = StageRequest.of(file, await host("one"), store_path(str(tmp_path / "w"), file))
    (entry,) = await DataMover(Locations(DEPLOYMENTS)).stage([asked])
    assert entry.route == "link"
    (tmp_path / "f").write_text("wrong\n")  # the copy is the same file
    with raising(TransferError, f"one (localhost): {asked.source} {CHANGED}"):
        await DataMover(Locations(DEPLOYMENTS)).stage([asked])
