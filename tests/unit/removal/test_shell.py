# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Removing at sites: what is ours goes, everything else stays, in every shell and under every name."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid.removal import MARKER, MARKER_LINE, shell
from tests.needs import SHELLS, posix_shell, unavailable

NAMES = ["a b", "it's", '"q"', "$HOME", "50%", "two\nlines", "[ab]", "-rf", "*", "~", "a;b&", "\\", "ü", " "]


@pytest.fixture(params=sorted(SHELLS))
def sh(request: pytest.FixtureRequest) -> list[str]:
    return posix_shell(request.param)


@pytest.fixture(params=NAMES, ids=repr)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder whose name breaks what does not quote, beside what such a mistake would hit."""
    for name in ("a", "b", "it", "q", "two", "lines", "x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").write_text("precious")
    folder = tmp_path / request.param
    folder.mkdir()
    yield folder
    for name in ("a", "b", "it", "q", "two", "lines", "x"):
        assert (tmp_path / name / "precious").read_text() == "precious"


def run(argv: list[str], text: str, cwd: Path | None = None) -> tuple[int, str]:
    done = subprocess.run([*argv, "-c", shell.functions() + text], capture_output=True, text=True, cwd=cwd)
    assert done.stdout == ""
    return done.returncode, done.stderr


def ours(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / MARKER).write_text(f"{MARKER_LINE}\n")
    return folder


def as_nobody(argv: list[str], folder: Path) -> list[str]:
    """Root may enter everything: give ``folder`` to an ordinary user, who runs the command."""
    if os.getuid() != 0:
        return argv
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    for above in folder.parents:
        if above.name.startswith(("pytest-", "popen-")):
            above.chmod(above.stat().st_mode | 0o711)
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *argv]


def refused(path: Path, why: str) -> tuple[int, str]:
    return 1, f"airflow_hybrid: not removed: {path}: {why}\n"


def test_a_folder_that_was_made_by_us_goes_and_its_neighbours_stay(sh: list[str], base: Path) -> None:
    name = base.name
    keep = base / "keep"
    keep.mkdir()
    (keep / "f").write_text("x")
    target = base / name
    assert run(sh, shell.make(str(target))) == (0, "")
    assert (target / MARKER).read_text() == f"{MARKER_LINE}\n"
    (target / "sub" / name).mkdir(parents=True)
    (target / "sub" / name / name).write_text("x")
    (target / name).symlink_to(keep)
    assert run(sh, shell.remove(str(target))) == (0, "")
    assert [path.name for path in base.iterdir()] == ["keep"] and (keep / "f").read_text() == "x"
    assert run(sh, shell.remove(str(target))) == (0, ""), "what is not there is no error"


def test_what_was_there_before_is_not_made_ours(sh: list[str], tmp_path: Path) -> None:
    theirs = tmp_path / "data"
    theirs.mkdir()
    (theirs / "f").write_text("x")
    assert run(sh, shell.make(str(theirs))) == (0, "")
    assert [path.name for path in theirs.iterdir()] == ["f"]
    assert run(sh, shell.remove(str(theirs))) == refused(theirs, "it was not made by airflow_hybrid")
    assert (theirs / "f").read_text() == "x"


def test_an_empty_folder_is_made_ours_and_a_link_to_one_is_not(sh: list[str], tmp_path: Path) -> None:
    for name in ("empty", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("other")
    assert run(sh, shell.make(f"{tmp_path}/empty") + "\n" + shell.make(f"{tmp_path}/link")) == (0, "")
    assert [p.name for p in (tmp_path / "empty").iterdir()] == [MARKER] and not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_link_at_any_level_is_never_followed_nor_removed(sh: list[str], tmp_path: Path, level: int) -> None:
    parts = ["one", "two", "three"]
    root = ours(tmp_path / "root")
    victim = tmp_path / "victim"
    inner = victim.joinpath(*parts[level + 1 :])
    inner.mkdir(parents=True)
    (inner / "precious").write_text("x")
    (inner / "precious").chmod(0o400)
    inner.chmod(0o500)
    above = root.joinpath(*parts[:level])
    above.mkdir(parents=True, exist_ok=True)
    (above / parts[level]).symlink_to(victim)
    target = root.joinpath(*parts)
    assert run(sh, shell.remove(str(target), below=3)) == refused(target, "it is a symbolic link")
    assert (inner / "precious").read_text() == "x" and inner.stat().st_mode & 0o777 == 0o500
    assert (inner / "precious").stat().st_mode & 0o777 == 0o400 and (above / parts[level]).is_symlink()


def test_links_inside_go_and_what_they_lead_to_keeps_content_and_mode(sh: list[str], tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "f").write_text("x")
    (victim / "f").chmod(0o400)
    victim.chmod(0o500)
    target = ours(tmp_path / "t")
    (target / "d").symlink_to(victim)
    (target / "f").symlink_to(victim / "f")
    os.link(victim / "f", target / "hard")
    (target / "locked" / "in").mkdir(parents=True)
    (target / "locked").chmod(0)
    text = shell.remove(str(target))
    assert run(as_nobody(sh, tmp_path), text) == (0, "")
    assert not target.exists() and (victim / "f").read_text() == "x"
    assert (victim / "f").stat().st_mode & 0o777 == 0o400 and victim.stat().st_mode & 0o777 == 0o500


def test_what_cannot_be_seen_is_not_taken_for_gone(sh: list[str], tmp_path: Path) -> None:
    root = ours(tmp_path / "closed" / "root")
    (root / "f").write_text("x")
    argv = as_nobody(sh, tmp_path)
    (tmp_path / "closed").chmod(0)
    try:
        assert run(argv, shell.remove(f"{root}/f")) == refused(root / "f", f"{tmp_path}/closed cannot be entered")
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert (root / "f").exists()


@pytest.mark.parametrize("marker", ["link", "folder", "words"])
def test_what_only_looks_like_our_marker_proves_nothing(sh: list[str], tmp_path: Path, marker: str) -> None:
    real = ours(tmp_path / "real")
    target = tmp_path / "t"
    target.mkdir()
    (target / "f").write_text("x")
    if marker == "link":
        (target / MARKER).symlink_to(real / MARKER)
    elif marker == "folder":
        (target / MARKER).mkdir()
    else:
        (target / MARKER).write_text("mine\n")
    assert run(sh, shell.remove(str(target))) == refused(target, "it was not made by airflow_hybrid")
    assert (target / "f").read_text() == "x"


@pytest.mark.parametrize("path", ["", ".", "..", "../x", "a/../x", "a//b", "/x", "a/", "a/.", "./a"])
def test_a_path_that_is_not_plain_is_refused(sh: list[str], tmp_path: Path, path: str) -> None:
    root = ours(tmp_path / "root")
    (tmp_path / "x").mkdir()
    (root / "a").mkdir()
    text = f"ah_rm {shlex.quote(str(root))} {shlex.quote(path)}"
    assert run(sh, text) == (1, f"airflow_hybrid: not removed: {root}/{path}: not a plain path\n")
    assert (tmp_path / "x").is_dir() and (root / "a").is_dir()


def test_a_folder_that_becomes_a_link_during_the_removal_leads_nowhere(sh: list[str], tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (victim / "sub").mkdir(parents=True)
    (victim / "sub" / "f").write_text("x")
    (victim / MARKER).write_text(f"{MARKER_LINE}\n")
    root = ours(tmp_path / "root")
    (root / "a" / "sub").mkdir(parents=True)
    (root / "a" / "sub" / "mine").write_text("x")
    # what runs between the check and the step down swaps the folder for a link
    swap = f'cd() {{ mv {root}/a {root}/b && ln -s {victim} {root}/a; unset -f cd; command cd "$@"; }}\n'
    text = shell.functions().replace('cd -P -- "./$1"', swap + 'cd -P -- "./$1"')
    done = subprocess.run([*sh, "-c", text + shell.remove(f"{root}/a/sub", below=2)], capture_output=True, text=True)
    assert (victim / "sub" / "f").read_text() == "x"
    assert (done.returncode, done.stderr) == refused(root / "a" / "sub", "a folder was replaced by a symbolic link")


def test_a_mounted_file_system_is_not_emptied(sh: list[str], tmp_path: Path) -> None:
    source, target = tmp_path / "source", ours(tmp_path / "t")
    source.mkdir()
    (source / "f").write_text("x")
    (target / "a b").mkdir()
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        unavailable("this test", "the right to mount something", "run it as root")
    mount = f"mount --bind {source} {shlex.quote(str(target / 'a b'))} && "
    inner = shlex.join([*sh, "-c", shell.functions() + shell.remove(str(target))])
    done = subprocess.run(["unshare", "-m", "sh", "-c", mount + inner], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == refused(target, f"a file system is mounted at {target}/a b")
    assert (source / "f").read_text() == "x"


def test_a_file_goes_only_from_a_folder_of_ours(sh: list[str], tmp_path: Path) -> None:
    root = ours(tmp_path / "root")
    (root / "-f x").write_text("x")
    (tmp_path / "f").write_text("x")
    assert run(sh, shell.remove(f"{root}/-f x")) == (0, "")
    assert not (root / "-f x").exists()
    assert run(sh, shell.remove(f"{tmp_path}/f")) == refused(tmp_path / "f", "it was not made by airflow_hybrid")


def test_what_cannot_be_removed_whole_keeps_its_proof(sh: list[str], tmp_path: Path) -> None:
    target = ours(tmp_path / "t")
    (target / "f").write_text("x")
    # something is put in while the folder is emptied
    text = shell.functions().replace("rm -f ./" + MARKER, f"rm -f ./{MARKER}; echo late >late")
    done = subprocess.run([*sh, "-c", text + shell.remove(str(target))], capture_output=True, text=True)
    assert done.returncode == 1 and (target / MARKER).read_text() == f"{MARKER_LINE}\n"
    assert run(sh, shell.remove(str(target))) == (0, "")
    assert not target.exists()


WRITER = """
rmdir() {{
    echo x >>'{count}'
    [ "$(grep -c x '{count}')" -gt {times} ] || echo late >"{folder}/late"
    command rmdir "$@"
}}
"""


@pytest.mark.parametrize("ours_above", [False, True])
def test_what_is_written_into_it_meanwhile_goes_with_it(sh: list[str], tmp_path: Path, ours_above: bool) -> None:
    folder = ours(tmp_path / "d")
    if ours_above:
        folder = folder / "sub"
        folder.mkdir()
    writer = WRITER.format(count=tmp_path / "count", folder=folder, times=2)
    assert run(sh, writer + shell.remove(str(folder))) == (0, "")
    assert not folder.exists()


def test_a_folder_that_is_always_written_into_is_named_and_keeps_its_proof(sh: list[str], tmp_path: Path) -> None:
    folder = ours(tmp_path / "d")
    writer = WRITER.format(count=tmp_path / "count", folder=folder, times=3)
    code, errors = run(sh, writer + shell.remove(str(folder)))
    assert code == 1 and "Directory not empty" in errors
    assert run(sh, shell.remove(str(folder))) == (0, "")
    assert not folder.exists()


def test_an_empty_folder_of_others_that_gets_a_file_meanwhile_stays_theirs(sh: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    writer = WRITER.format(count=tmp_path / "count", folder=folder, times=1)
    code, errors = run(sh, writer + shell.remove(str(folder)))
    assert (code, errors) == refused(folder, "it was not made by airflow_hybrid")
    assert [path.name for path in folder.iterdir()] == ["late"]


def test_on_a_full_disk_no_folder_without_a_marker_is_left(sh: list[str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False).returncode:
        unavailable("this test", "the right to mount a tmpfs", "run it as root")
    try:
        (disk / "all").write_bytes(b"x" * (64 << 10))
        folder = disk / "work" / "new"
        code, said = run(sh, f"{shell.make(str(folder))}; ah_x=$?; {shell.remove(str(folder))} && exit $ah_x")
        left = list((disk / "work").iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert (code, said, left) == (1, "cat: write error: No space left on device\n", [])
