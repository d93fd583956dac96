# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid cleanup`` in work directories: old runs' folders that carry our marker go, and nothing else."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from airflow_hybrid.cli import cleanup
from airflow_hybrid.cli.cleanup import Cleanup, CleanupScope
from airflow_hybrid.config import parse_deployments
from airflow_hybrid.removal import MARKER, MARKER_LINE

UNPROVEN = (
    "which has no marker (`.airflow_hybrid`): an older version of airflow_hybrid, or somebody else, made it. "
    "If nobody needs it, remove it by hand"
)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))  # of the deployment `local`
    folder = tmp_path / "My Project's [work] %y"
    folder.mkdir()
    return folder


def task(work: Path, path: str, *, marked: bool = True, age_days: float = 9) -> Path:
    folder = work / path
    (folder / "a1-x/k/out").mkdir(parents=True)
    (folder / "a1-x/k/out/f").write_text("x")
    if marked:
        (folder / MARKER).write_text(f"{MARKER_LINE}\n")
    aged(work / "/".join(path.split("/")[:2]), age_days)
    return folder


def aged(folder: Path, days: float) -> None:
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - days * 86400,) * 2, follow_symlinks=False)


def cleaned(work: Path, monkeypatch: pytest.MonkeyPatch, *dag_ids: str) -> tuple[list[str], list[str]]:
    """-> what was said, and what the problems were."""
    monkeypatch.setattr(cleanup, "known_runs", lambda: {("d", "running"): "running"})
    deployments = parse_deployments({"site": {"type": "local", "config": {}, "workdir": str(work)}})
    said: list[str] = []
    problems: list[str] = []
    cleaner = Cleanup([CleanupScope(dict(deployments), set(dag_ids or ("d",)))], said.append, problems.append)
    cleaner.remove(cleaner.folders(86400))
    return [re.sub(r"[\d.]+ MiB", "n MiB", line) for line in said], problems


def test_old_folders_of_ours_go_and_all_others_stay(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task(work, "d/old/t/g0-1")
    task(work, "d/old/m/3/g1-2")
    task(work, "d/new/t/g0-1", age_days=0)
    task(work, "d/running/t/g0-1")
    task(work, "other/old/t/g0-1")
    task(work, "d/before/t/g0", marked=False)
    said, problems = cleaned(work, monkeypatch)
    assert sorted(p.name for p in (work / "d").iterdir()) == ["before", "new", "running"]
    assert (work / "other/old/t/g0-1/a1-x/k/out/f").exists() and problems == []
    assert sorted(said) == [
        f"kept: site at site (localhost): {work}/d/before, {UNPROVEN}",
        f"removed: site at site (localhost): n MiB in {work}/d/old of d/old",
    ]


def test_a_folder_of_the_user_with_the_names_of_a_run_stays(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "data/raw/x/genes").mkdir(parents=True)
    (work / "data/raw/x/genes/p.txt").write_text("precious")
    aged(work / "data", 9)
    said, problems = cleaned(work, monkeypatch, "data")
    assert problems == []
    assert (work / "data/raw/x/genes/p.txt").read_text() == "precious"
    assert said == [f"kept: site at site (localhost): {work}/data/raw, {UNPROVEN}"]


def test_what_somebody_put_beside_ours_stays_and_is_said(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task(work, "d/old/t/g0-1")
    (work / "d/old/notes").mkdir()
    (work / "d/old/notes/n").write_text("mine")
    aged(work / "d", 9)
    said, problems = cleaned(work, monkeypatch)
    assert said == [] and not (work / "d/old/t").exists() and (work / "d/old/notes/n").read_text() == "mine"
    (problem,) = problems
    assert f"something in {work}/d/old is left, {UNPROVEN}" in problem


@pytest.mark.parametrize("level", ["d", "d/old", "d/old/t", "d/old/t/g0-1"])
def test_links_are_not_followed(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    victim = tmp_path / "victim"
    inner = victim / "d/old/t/g0-1".removeprefix(level).strip("/")
    inner.mkdir(parents=True, exist_ok=True)
    (inner / MARKER).write_text(f"{MARKER_LINE}\n")
    (inner / "f").write_text("precious")
    (inner / "empty").mkdir()
    inner.chmod(0o500)
    (work / level).parent.mkdir(parents=True, exist_ok=True)
    (work / level).symlink_to(victim)
    aged(work, 9)
    aged(victim, 9)
    cleaned(work, monkeypatch)
    assert (inner / "f").read_text() == "precious" and (inner / "empty").is_dir()
    assert inner.stat().st_mode & 0o777 == 0o500 and (work / level).is_symlink()


def test_no_empty_folder_behind_a_link_of_a_job_goes(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/empty").mkdir(parents=True)
    task(work, "d/old/t/g0-1")
    (work / "d/old/l").symlink_to(tmp_path / "home")
    aged(work / "d", 9)
    cleaned(work, monkeypatch)
    assert (tmp_path / "home/empty").is_dir()
