# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Removing on this machine: what is ours goes, everything else stays."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_hybrid.removal import MARKER, MARKER_LINE
from airflow_hybrid.removal.here import NotRemovedError, make_folder, remove_folder
from tests import needs
from tests.raising import raising


def test_a_folder_of_ours_goes_and_what_its_links_lead_to_keeps_content_and_mode(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "f").write_text("x")
    (victim / "f").chmod(0o400)
    folder = make_folder(tmp_path, "run-")
    (folder / "d").symlink_to(victim)
    (folder / "f").symlink_to(victim / "f")
    os.link(victim / "f", folder / "hard")
    victim.chmod(0o500)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "f").write_text("x")
    os.mkfifo(folder / "deep" / "fifo")
    remove_folder(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["victim"] and (victim / "f").read_text() == "x"
    assert (victim.stat().st_mode & 0o777, (victim / "f").stat().st_mode & 0o777) == (0o500, 0o400)
    remove_folder(folder)


def writes_meanwhile(folder: Path, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is written into the folder just before it is removed."""
    rmdir, calls = os.rmdir, []

    def late(name: str, *, dir_fd: int) -> None:
        calls.append(name)
        if len(calls) <= times:
            (folder / "late").write_text("x")
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", late)


def test_what_is_written_into_it_meanwhile_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path, "run-")
    writes_meanwhile(folder, 2, monkeypatch)
    remove_folder(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_always_written_into_is_named_and_keeps_its_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path, "run-")
    writes_meanwhile(folder, 3, monkeypatch)
    with raising(NotRemovedError, f"not removed: {folder}: Directory not empty"):
        remove_folder(folder)
    remove_folder(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_very_deep_tree_goes(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "run-")
    subprocess.run(
        [sys.executable, "-c", "import os\nfor i in range(3000):\n os.mkdir('d'); os.chdir('d')"],
        cwd=folder,
        check=True,
    )
    remove_folder(folder)
    assert list(tmp_path.iterdir()) == []


def test_folders_without_permissions_go(tmp_path: Path) -> None:
    needs.root("become an ordinary user")
    folder = make_folder(tmp_path, "run-")
    for name in ("shut/in", "read/in", "list/in"):
        (folder / name).mkdir(parents=True)
        (folder / name / "f").write_text("x")
        (folder / name).chmod(0)
    for name, mode in (("shut", 0), ("read", 0o400), ("list", 0o500)):
        (folder / name).chmod(mode)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    for above in tmp_path.parents:
        if above.name.startswith(("pytest-", "popen-")):
            above.chmod(above.stat().st_mode | 0o711)
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(tmp_path)
            os.setgid(65534)
            os.setuid(65534)
            remove_folder(folder.name)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("marker", ["none", "link", "folder", "words"])
def test_a_folder_without_our_marker_stays(tmp_path: Path, marker: str) -> None:
    folder, real = tmp_path / "data", make_folder(tmp_path, "run-")
    folder.mkdir()
    (folder / "f").write_text("x")
    if marker == "link":
        (folder / MARKER).symlink_to(real / MARKER)
    elif marker == "folder":
        (folder / MARKER).mkdir()
    elif marker == "words":
        (folder / MARKER).write_text("mine\n")
    with pytest.raises(NotRemovedError) as caught:
        remove_folder(folder)
    assert str(caught.value) == f"not removed: {folder}: it was not made by airflow_hybrid"
    assert (folder / "f").read_text() == "x"


def test_a_link_in_the_place_of_the_folder_stays_and_is_not_followed(tmp_path: Path) -> None:
    real = make_folder(tmp_path, "run-")
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(NotRemovedError) as caught:
        remove_folder(tmp_path / "link")
    assert str(caught.value) == f"not removed: {tmp_path}/link: Not a directory"
    assert (real / MARKER).read_text() == f"{MARKER_LINE}\n"


@pytest.mark.parametrize("way", ["--bind", "-t tmpfs"])
@pytest.mark.parametrize("inside", ["a b", "c/d"])
def test_a_mounted_folder_is_not_emptied_whatever_its_file_system(tmp_path: Path, way: str, inside: str) -> None:
    needs.root("mount something")
    source, target = tmp_path / "source", make_folder(tmp_path, "ours-")
    source.mkdir()
    (source / "f").write_text("x")
    place = target / inside
    place.mkdir(parents=True)
    mount = f"mount {way} {shlex.quote(str(source))} {shlex.quote(str(place))}"
    remove = f"""
from airflow_hybrid.removal.here import NotRemovedError, remove_folder
try:
    remove_folder({str(target)!r})
except NotRemovedError as error:
    print(error)
"""
    text = f'{mount} && touch "$0"/g && "$1" -c "$2" && ls "$0"'
    argv = ["unshare", "--mount", "sh", "-c", text, str(place), sys.executable, remove]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    left = ["f", "g"] if way == "--bind" else ["g"]
    assert done.stdout.splitlines() == [f"not removed: {target}: a file system is mounted in it", *left]
    assert (source / "f").read_text() == "x"
