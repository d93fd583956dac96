# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is read of a job on this machine is what lies in its directory, whatever a process of it does meanwhile."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import FileRef
from airflow_hybrid.operators.gather.copies import copy_folder
from airflow_hybrid.sites.files.nofollow import opened, opened_at

HINT = "\n  -> a job changed its outputs after it had ended; clear the task that made them"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "home").symlink_to(tmp_path)  # the work directory itself may be reached by links
    folder = tmp_path / "home" / "dag" / "run" / "task" / "g0" / "a1-0f" / "00000" / "out"
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_text("s3cr3t")
    (folder / "plain").write_text("plain")
    return folder


def content(path: Path) -> str:
    with opened(str(path)) as number:
        return os.read(number, 100).decode()


def test_a_file_of_a_job_is_read(out: Path) -> None:
    assert content(out / "plain") == "plain"


@pytest.mark.parametrize("where", ["link", "folder/secret", "out-of-it/../link"])
def test_a_link_is_not_followed(out: Path, tmp_path: Path, where: str) -> None:
    (out / "link").symlink_to(tmp_path / "secret")
    (out / "folder").symlink_to(tmp_path)
    path = os.path.normpath(out / where)
    with pytest.raises(TransferError) as error:
        content(Path(path))
    assert str(error.value) == (f"a symbolic link has replaced {path} or a folder above it: it is not followed" + HINT)
    assert not error.value.retryable


def test_the_folder_of_the_outputs_is_no_link_either(out: Path, tmp_path: Path) -> None:
    os.rename(out, f"{out}.old")
    out.symlink_to(tmp_path)
    with pytest.raises(TransferError, match="a symbolic link has replaced"), opened(str(out), folder=True):
        pass


def test_a_fifo_is_not_waited_for(out: Path) -> None:
    os.mkfifo(out / "fifo")
    with pytest.raises(TransferError) as error:
        content(out / "fifo")
    assert str(error.value) == f"{out}/fifo is not a regular file: it is not read" + HINT


def test_a_walk_opens_no_link(out: Path, tmp_path: Path) -> None:
    (out / "link").symlink_to(tmp_path / "secret")
    with opened(str(out), folder=True) as folder:
        number = opened_at(folder, "plain", f"{out}/plain")
        assert os.read(number, 100) == b"plain"
        os.close(number)
        with pytest.raises(TransferError, match="a symbolic link has replaced"):
            opened_at(folder, "link", f"{out}/link")


def test_files_that_a_user_named_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    (tmp_path / "link").symlink_to("data")
    assert content(tmp_path / "link") == "mine"


def test_a_process_that_swaps_folders_shows_nothing_else(out: Path, tmp_path: Path) -> None:
    (out / "a").mkdir()
    (out / "a" / "secret").write_text("plain")
    (out / "b").symlink_to(tmp_path)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(out / "a", out / "c")
            os.rename(out / "b", out / "a")
            os.rename(out / "a", out / "b")
            os.rename(out / "c", out / "a")

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(400):
            try:
                seen.add(content(out / "a" / "secret"))
            except (TransferError, FileNotFoundError):
                seen.add("refused")
    finally:
        stop.set()
        thread.join()
    assert seen <= {"plain", "refused"}


def test_a_folder_of_a_job_is_copied_without_links(out: Path, tmp_path: Path) -> None:
    (out / "d/sub").mkdir(parents=True)
    (out / "d/sub/run.sh").write_text("plain")
    (out / "d/sub/run.sh").chmod(0o755)
    (out / "d/link").symlink_to(tmp_path / "secret")
    (out / "d/folder").symlink_to(tmp_path)
    os.mkfifo(out / "d/fifo")
    entry = copy_folder(FileRef("local", "localhost", f"{out}/d"), str(tmp_path / "copy"), "file:///copy", (0, 0))
    assert sorted(str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*")) == [
        "sub",
        "sub/run.sh",
    ]
    assert entry.bytes == 5 and os.access(tmp_path / "copy/sub/run.sh", os.X_OK)
