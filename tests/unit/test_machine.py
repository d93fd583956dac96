# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What tests do to the machine they run on is told, and what works on whole machines cannot reach it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import needs
from tests.machine import Machine, harm, names

TESTS = Path(__file__).parents[1]
KIT = TESTS / "testbed"


def another_kind(top: Path) -> None:
    (top / "bin").unlink()
    (top / "bin").mkdir()


def another_target(top: Path) -> None:
    (top / "bin").unlink()
    (top / "bin").symlink_to("x")


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda top: (top / "bin").unlink(), "{top}/bin' was a link to usr/bin and is gone"),
    "another kind": (another_kind, "{top}/bin' was a link to usr/bin and is a folder"),
    "another target": (another_target, "{top}/bin' was a link to usr/bin and is a link to x"),
    "more": (lambda top: (top / "evil").touch(), "{top}/evil' is a file and was not there"),
}


@pytest.mark.parametrize("kind", HARMS)
def test_what_is_not_as_it_was_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    machine = Machine([str(tmp_path)], bare=str(tmp_path))
    machine.check()
    do, said = HARMS[kind]
    do(tmp_path)
    with pytest.raises(AssertionError) as told:
        machine.check()
    assert str(told.value).splitlines() == [
        "folders of this machine are not as they were before the tests:",
        "'" + said.format(top=tmp_path),
    ]


def test_what_others_put_into_a_folder_meanwhile_is_no_harm(tmp_path: Path) -> None:
    machine = Machine([str(tmp_path)])
    (tmp_path / "of somebody").touch()
    machine.check()


def test_what_is_declared_may_come_and_go(tmp_path: Path) -> None:
    before = names([str(tmp_path)])
    (tmp_path / "made by a test 7").mkdir()
    after = names([str(tmp_path)])
    assert harm(before, after, [f"{tmp_path}/made by a test *"]) == harm(after, before, [f"{tmp_path}/*"]) == []


def test_a_command_that_runs_apart_changes_nothing_here(tmp_path: Path) -> None:
    needs.root("mount a file system for a command alone")
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    change = "rm bin; echo new >file; rm -r folder; rm /etc/passwd"
    text = f"cat file; echo; {change}; ls; sleep 1000 >/dev/null & exit 3"
    done = subprocess.run([TESTS / "apart", "sh", "-c", text], cwd=tmp_path, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (3, "")
    assert (said[0], [line for line in said[1:] if line in ("bin", "file", "folder")]) == ("old", ["file"])
    assert os.readlink(tmp_path / "bin") == "usr/bin" and (tmp_path / "folder").is_dir()
    assert (tmp_path / "file").read_text() == "old" and Path("/etc/passwd").is_file()


def run_kit(*words: str, **variables: str) -> tuple[int, str, str]:
    needs.root("bring the test bed up or down")
    done = subprocess.run([KIT / "testbed", *words], env={**os.environ, **variables}, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_test_bed_removes_no_folder_that_it_did_not_make(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "cloud").mkdir(parents=True)
    (folder / "cloud" / "file").write_text("mine")
    said = f"testbed: {folder} was not made by testbed: nothing is removed. Is TESTBED_DIR right?\n"
    assert run_kit("down", TESTBED_DIR=str(folder)) == (1, "", said)
    assert run_kit("down", "cloud", TESTBED_DIR=str(folder)) == (1, "", said)
    said = f"testbed: {folder} is no folder of a test bed, and not empty: set TESTBED_DIR\n"
    assert run_kit("up", "cloud", TESTBED_DIR=str(folder)) == (1, "", said)
    assert [path.name for path in folder.iterdir()] == ["cloud"]
    assert (folder / "cloud" / "file").read_text() == "mine"


def test_the_test_bed_takes_nothing_for_a_site_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "bed").mkdir()
    said = "testbed: unknown site: ../bin\n"
    assert run_kit("down", "../bin", TESTBED_DIR=str(tmp_path / "bed")) == (1, "", said)
    assert os.readlink(tmp_path / "bin") == "usr/bin"


def test_no_command_runs_in_a_site_that_still_has_this_machines_files(tmp_path: Path) -> None:
    waiting = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        started = Path(f"/proc/{waiting.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
        (tmp_path / "cloud").mkdir()
        (tmp_path / "cloud" / "pid").write_text(f"{waiting.pid} {started}\n")
        done = run_kit("exec", "cloud", "touch", str(tmp_path / "evil"), TESTBED_DIR=str(tmp_path))
    finally:
        waiting.communicate(b"\n")
    assert done == (1, "", "testbed: site cloud is still starting\n")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("program", ["site-init", "slurmsite", "sgesite", "kubesite"])
def test_what_makes_a_site_does_not_run_on_the_machine_itself(tmp_path: Path, program: str) -> None:
    needs.root("make a mount namespace")
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]  # in which a mistake harms nothing
    text = 'MACHINE=$(readlink /proc/self/ns/mnt) exec "$@"'
    environment = {**os.environ, "S": str(tmp_path), "SITE": "s"}
    done = subprocess.run([*alone, text, "sh", KIT / program, "down"], env=environment, capture_output=True, text=True)
    why = "started by testbed up only" if program == "site-init" else "runs inside a site of the test bed only"
    assert (done.returncode, done.stderr) == (1, f"{program}: {why}\n")
