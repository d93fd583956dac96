# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A checkpoint at the site where a step runs is a replica of its inputs, for the choice of the site and for staging."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment, parse_deployments
from airflow_hybrid.engine import FragmentOutcome
from airflow_hybrid.model import Checkpoint, CwlObject
from airflow_hybrid.sites.closing import close_all
from tests.unit.engine.fragments import execution, spec

MAKE = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'head -c 3000000 /dev/zero > large; echo small > small.txt']
inputs: []
outputs: {out: {type: 'File[]', outputBinding: {glob: '*'}}}
"""
USE = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [wc, -c]
inputs: {files: {type: 'File[]', inputBinding: {position: 1}}}
outputs: {out: stdout}
"""


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Deployment]:
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path / "cache"))
    names = ("here", "other", "archive")
    return parse_deployments({name: {"type": "local", "workdir": str(tmp_path / name)} for name in names})


async def _made(folder: Path, sites: dict[str, Deployment]) -> CwlObject:
    one = replace(spec(folder, sites, {"target": "here"}, [{}], MAKE), reuse=False, checkpoint=Checkpoint("archive"))
    try:
        outcome = await execution(one)[0].run()
    finally:
        await close_all()
    return outcome.results[0].outputs


async def _used(
    folder: Path, sites: dict[str, Deployment], made: CwlObject, binding: dict[str, Any], *targets: str
) -> FragmentOutcome:
    two = spec(folder, sites, binding, [{"files": made["out"]}], USE, origin="use")
    try:
        return await execution(replace(two, reuse=False, checkpoint_targets=targets))[0].run()
    finally:
        await close_all()


async def test_a_step_uses_the_checkpoint_that_is_where_it_runs(tmp_path: Path, sites: dict[str, Deployment]) -> None:
    made = await _made(tmp_path, sites)
    shutil.rmtree(tmp_path / "here")
    outcome = await _used(tmp_path, sites, made, {"target": "archive"}, "archive")
    staged = [entry for entry in outcome.lineage if entry.route not in ("produced", "placed")]
    assert {(entry.route, entry.source.split("/checkpoints/")[0]) for entry in staged} == {
        ("link", f"hybrid://archive/localhost{tmp_path}/archive")
    }
    store = tmp_path / "archive" / "store"
    assert sorted(path.name for path in store.glob("*/*/*")) == ["large", "small.txt"]
    # what expires is the name in the checkpoint's own folder
    assert {path.stat().st_nlink for path in store.glob("*/*/*")} == {2}


@pytest.mark.parametrize(("targets", "place"), [(("archive",), "archive"), ((), "other")])
async def test_the_site_with_the_checkpoints_has_nothing_to_move(
    tmp_path: Path, sites: dict[str, Deployment], targets: tuple[str, ...], place: str
) -> None:
    made = await _made(tmp_path, sites)
    binding = {"target": ["other", "archive"], "policy": "data_locality"}
    outcome = await _used(tmp_path, sites, made, binding, *targets)
    (placed,) = [entry for entry in outcome.lineage if entry.route == "placed"]
    assert placed.destination.startswith(f"hybrid://{place}/")
    assert placed.bytes == (0 if targets else 3_000_006)
