# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Outputs are copied to their checkpoint when their jobs have ended: once, by content, and without harm to the run."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.engine import FragmentSpec
from airflow_hybrid.engine.checkpoints import copying
from airflow_hybrid.engine.checkpoints.originals import lost_originals
from airflow_hybrid.model import Checkpoint
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.files import carrier
from airflow_hybrid.sites.patience.backoff import Backoff
from tests.unit.engine.fragments import execution, spec

TOOL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo same > a.txt; cp a.txt b.txt; echo $0 > own.txt']
inputs: {name: {type: string, inputBinding: {position: 1}}}
outputs: {out: {type: 'File[]', outputBinding: {glob: '*.txt'}}}
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path / "cache"))


def _spec(folder: Path, *names: str, expire_s: float | None = 3600.0, **deployments: Any) -> FragmentSpec:
    sites = {"here": {"type": "local", "workdir": str(folder / "site")}, **deployments}
    made = spec(folder, parse_deployments(sites), {"target": "here"}, [{"name": name} for name in names], TOOL)
    return replace(made, reuse=False, checkpoint=Checkpoint("archive", expire_s))


def _archive(folder: Path) -> dict[str, Any]:
    return {"archive": {"type": "local", "workdir": str(folder / "archive")}}


async def _run(one: FragmentSpec) -> tuple[list[str], list[tuple[str, str]]]:
    """What the log says of copies; and the way of each copy."""
    try:
        run, log = execution(one)
        outcome = await run.run()
    finally:
        await close_all()
    lines = [re.sub(r"archive \(localhost\):\S*:", "archive:", line) for line in log.lines if "second cop" in line]
    copies = [(entry.route, entry.destination) for entry in outcome.lineage if "archive" in entry.destination]
    return lines, copies


async def test_a_content_is_copied_once_and_a_later_try_copies_nothing(tmp_path: Path) -> None:
    one = _spec(tmp_path, "x", "y", **_archive(tmp_path))
    lines, copies = await _run(one)
    assert lines == ["/tool: second copies of 6 outputs at archive: 3 made (9 B), 3 already there"]
    store = tmp_path / "archive" / "checkpoints" / "store"
    assert sorted(path.read_text() for path in store.rglob("content")) == ["same\n", "x\n", "y\n"]
    assert {route for route, _ in copies} == {"copy"} and len(copies) == 3
    (note, *_) = notes = [path for path in (tmp_path / "archive/checkpoints/until").glob("*/*")]
    assert len(notes) == 3 and 3000 < note.stat().st_mtime - time.time() < 3700
    # what the first try has copied is found by the next one, which keeps it for longer
    lines, copies = await _run(replace(one, checkpoint=Checkpoint("archive", None)))
    assert lines == ["/tool: second copies of 6 outputs at archive: 0 made (0 B), 6 already there"] and copies == []
    assert {path.stat().st_mtime for path in notes} == {4102444800.0}
    lines, _ = await _run(one)
    assert {path.stat().st_mtime for path in notes} == {4102444800.0}


async def test_a_copy_that_is_damaged_is_made_again(tmp_path: Path) -> None:
    one = _spec(tmp_path, "x", **_archive(tmp_path))
    await _run(one)
    for path in (tmp_path / "archive" / "checkpoints" / "store").rglob("content"):
        path.write_text(path.read_text().upper())
    lines, _ = await _run(one)
    assert lines == ["/tool: second copies of 3 outputs at archive: 2 made (7 B), 1 already there"]


async def test_a_checkpoint_that_fails_is_a_warning_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archive").write_text("in the way")
    monkeypatch.setattr(copying, "PAUSE_S", 0.01)
    monkeypatch.setattr(carrier, "PAUSE_S", 0.01)
    monkeypatch.setattr(copying, "LIMIT_S", 0.2)
    (line,), copies = await _run(_spec(tmp_path, "x", "y", **_archive(tmp_path)))
    assert copies == []
    assert line.startswith(
        "/tool: 6 files of its outputs have no second copy at `archive`; the run goes on: archive (localhost): "
    )
    assert line.endswith(": Not a directory")
    monkeypatch.setattr(copying, "LIMIT_S", 60.0)
    original = Backoff.pause

    async def repaired(self: Backoff, at_most_s: float = 0.0) -> None:
        (tmp_path / "archive").unlink(missing_ok=True)
        await original(self, 0.01)

    monkeypatch.setattr(Backoff, "pause", repaired)
    lines, copies = await _run(_spec(tmp_path, "x", "y", **_archive(tmp_path)))
    assert len(copies) == 3 and all("already there" in line for line in lines)


async def test_outputs_at_the_place_of_the_checkpoint_have_no_second_copy_there(tmp_path: Path) -> None:
    one = replace(_spec(tmp_path, "x"), checkpoint=Checkpoint("here"))
    lines, copies = await _run(one)
    assert lines == ["/tool: no second copies of its outputs: they are at `here` themselves"] and copies == []
    shutil.rmtree(tmp_path / "site")


def test_whatever_a_task_has_published_nothing_outside_of_outputs_of_jobs_is_put_back() -> None:
    job = "hybrid://hpc/login/work/d/r/t/g0-1111111111/a1-2222222222/00000-x"
    lost = f"{job}/out/d/f"
    for above in ("hybrid://hpc/login/work", "hybrid://hpc/login/", job, f"{job}/in"):
        assert lost_originals({"class": "Directory", "location": above}, [lost, f"{above}/f"]) == {}
    folder = {"class": "Directory", "location": f"{job}/out/d"}
    assert lost_originals({"x": [folder]}, [lost])[lost].ref.uri == folder["location"]
