# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid cleanup`` removes checkpoints whose time is over, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airflow_hybrid.cli.cleanup import Cleanup, CleanupScope
from airflow_hybrid.config import parse_deployments
from airflow_hybrid.engine.checkpoints.expiry import _text
from airflow_hybrid.removal import MARKER, MARKER_LINE
from tests.needs import unavailable

DAY_S = 86400


@dataclass
class Site:
    """A work directory with checkpoints of a day and more of a name each."""

    work: Path
    said: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.work / "checkpoints"

    def add(self, name: str, until_s: float | None, age_s: float = 0.0) -> None:
        """:param until_s: from now on; None: its task was killed before it noted that."""
        copy = self.root / "store" / name
        (copy / "content").mkdir(parents=True)
        (copy / "content" / "f").write_text("x")
        (copy / "content").chmod(0o500)  # as a job may leave its folders
        os.utime(copy, (time.time() - age_s,) * 2)
        if until_s is not None:
            note = self.root / "until" / name
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
            os.utime(note, (time.time() + until_s,) * 2)

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.glob("*/*/*"))

    def clean(self) -> None:
        deployments = parse_deployments({"site": {"type": "local", "workdir": str(self.work)}})
        work = Cleanup([CleanupScope(dict(deployments), set())], self.said.append, self.problems.append)
        work.remove(work.checkpoints())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))  # of the deployment `local`
    made = Site(tmp_path / "My Project's [work] %y")
    for part in ("store", "until"):
        (made.root / part).mkdir(parents=True)
        (made.root / part / MARKER).write_text(f"{MARKER_LINE}\n")
    return made


def test_what_has_expired_goes_and_all_else_stays(site: Site) -> None:
    site.add("ab/ab1", -3600)
    site.add("ab/ab2x", 3600)
    site.add("ub/ub3", -DAY_S)
    site.add("cd/of a killed task", None, 3 * DAY_S)
    site.add("cd/just made", None)
    site.clean()
    assert site.left() == ["store/ab/ab2x", "store/cd/just made", "until/ab/ab2x"]
    (line,) = site.said
    size = r"\([\d.]+ kB\)"
    assert re.fullmatch(
        rf"removed: site at site \(localhost\): 3 expired checkpoints {size} in {re.escape(str(site.root))}", line
    )
    assert site.problems == []
    site.clean()
    assert site.said == [line]


def test_a_folder_of_that_name_that_we_did_not_make_stays_and_is_said(site: Site) -> None:
    site.add("ab/ab1", -3600)
    (site.root / "store" / MARKER).unlink()
    site.clean()
    assert site.left() == ["store/ab/ab1", "until/ab/ab1"]
    (line,) = site.said
    assert line.startswith(f"kept: site at site (localhost): {site.root}, which has no marker (`{MARKER}`)")


def test_nothing_is_removed_through_a_link(site: Site, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "ab1").mkdir(parents=True)
    site.add("ab/ab1", -3600)
    shutil.rmtree(site.root / "store" / "ab" / "ab1" / "content", ignore_errors=True)
    shutil.rmtree(site.root / "store" / "ab")
    (site.root / "store" / "ab").symlink_to(precious)
    site.clean()
    assert (precious / "ab1").exists()
    (problem,) = site.problems
    assert "some of it could not be removed: airflow_hybrid: not removed: " in problem


def test_sizes_are_numbers_with_base_ten(site: Site) -> None:
    site.add("ab/ab1", -3600)
    (site.root / "store" / "ab" / "ab1" / "content").chmod(0o700)
    (site.root / "store" / "ab" / "ab1" / "content" / "f").write_bytes(b"x" * (900 << 10))  # 9..: no octal number
    site.add("ab/ab2", -3600)
    site.clean()
    assert site.problems == [] and site.left() == []
    assert "2 expired checkpoints (9" in site.said[0]


def test_a_note_that_is_not_about_one_content_removes_nothing(site: Site) -> None:
    site.add("ab/ab1", 3600)
    note = site.root / "until" / "cd"
    note.touch()
    (site.root / "store" / "cd" / "cd1" / "content").mkdir(parents=True)
    os.utime(note, (time.time() - DAY_S,) * 2)
    site.clean()
    assert site.left() == ["store/ab/ab1", "store/cd/cd1", "until/ab/ab1"] and site.problems == []


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["busybox", "sh"]])
def test_the_script_runs_in_each_shell(site: Site, shell: list[str], tmp_path: Path) -> None:
    site.add("ab/ab1", -3600)
    site.add("ab/ab2", 3600)
    if shutil.which(shell[0]) is None:
        unavailable("this test", shell[0], f"apt-get install {shell[0]}")
    environment = dict(os.environ)
    if shell[0] == "busybox":  # with its own find and du, too
        subprocess.run(["busybox", "--install", "-s", str(tmp_path)], check=True)
        environment["PATH"] = str(tmp_path)
    command = [shutil.which(shell[0]) or "", *shell[1:], "-c", _text(str(site.root), remove=True)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"1\t\d+\tours\n", done.stdout) and site.left() == ["store/ab/ab2", "until/ab/ab2"]
