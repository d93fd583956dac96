# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A task's tries, one after the other, with real jobs: what is run again, what is kept, what ends it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.engine import FragmentSpec
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import FileRef
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.patience.backoff import Backoff
from tests.unit.engine.fragments import execution, spec

TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo >>"$0"; exit "$1"']
inputs:
  runs: {type: string, inputBinding: {position: 1}}
  code: {type: int, inputBinding: {position: 2}}
outputs: {}
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path / "cache"))


def task(folder: Path, jobs: list[dict[str, Any]], text: str = TOOL, **binding: Any) -> FragmentSpec:
    sites = parse_deployments({"here": {"type": "local", "config": {}, "workdir": str(folder / "site")}})
    return spec(folder, sites, {"target": "here", **binding}, jobs, text)


async def attempt(one: FragmentSpec, number: int) -> HybridError | None:
    """One try of the task; why it failed."""
    made, _ = execution(replace(one, identity=replace(one.identity, try_number=number)))
    try:
        await made.run()
    except HybridError as error:
        return error
    finally:
        await close_all()
    return None


async def until_it_ends(one: FragmentSpec, most: int = 4) -> int:
    """Try a task as Airflow does; -> the number of tries."""
    for number in range(1, most):
        error = await attempt(one, number)
        if error is None or not error.retryable:
            return number
    await attempt(one, most)
    return most


def runs(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize(
    ("of_dag", "binding", "declared", "number"),
    [
        (0, {}, "", 1),
        (0, {}, "temporaryFailCodes: [3]", 1),
        (2, {}, "", 3),
        (2, {}, "temporaryFailCodes: [3]", 3),
        (2, {}, "permanentFailCodes: [3]", 1),
        (2, {}, "permanentFailCodes: [4]", 3),
        (0, {"retries": 1}, "", 2),
        (2, {"retries": 0}, "", 1),
        (2, {"retry": {"not": [3, 4]}}, "", 1),
        (2, {"retry": {"codes": [75]}}, "", 1),
        (2, {"retry": {"codes": 3}}, "permanentFailCodes: [3]", 3),
        (0, {"retry": {"codes": [3]}}, "", 1),
    ],
)
async def test_a_failing_tool_is_run_as_often_as_it_should_be(
    tmp_path: Path, of_dag: int, binding: Mapping[str, Any], declared: str, number: int
) -> None:
    file = tmp_path / "runs"
    one = task(tmp_path, [{"runs": str(file), "code": 3}], f"{TOOL}{declared}\n", **binding)
    assert await until_it_ends(replace(one, retries=of_dag)) == number
    assert runs(file) == number


async def test_only_failed_jobs_are_run_again(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    one = task(tmp_path, [{"runs": str(good), "code": 0}, {"runs": str(bad), "code": 3}])
    assert await until_it_ends(replace(one, retries=1)) == 2
    assert (runs(good), runs(bad)) == (1, 2)


async def test_one_job_that_failed_for_good_ends_the_task_and_the_message_says_why(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    one = task(tmp_path, [{"runs": str(first), "code": 4}, {"runs": str(second), "code": 3}], retry={"not": 3})
    error = await attempt(replace(one, retries=2), 1)
    assert error is not None and not error.retryable
    assert error.hint == "not run again: exit code 3 is in `retry: not` of its binding"
    assert (runs(first), runs(second)) == (1, 1)


async def test_a_try_after_a_failure_for_good_repeats_its_message(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    one = task(tmp_path, [{"runs": str(file), "code": 3}])
    first = await attempt(one, 1)
    second = await attempt(one, 2)
    assert second is not None and not second.retryable
    assert str(second) == (
        f"an earlier try failed for good, so nothing was run again:\n{first}\n  -> clear the task to run it again"
    )
    assert runs(file) == 1


def lose(folder: Path) -> None:
    """Make it as if the last try had been lost before it could judge its failed jobs."""
    verdicts = [*folder.glob("site/**/judged"), *folder.glob("site/**/permanent-*")]
    assert verdicts
    for file in verdicts:
        file.unlink()


@pytest.mark.parametrize(("of_dag", "number"), [(0, 1), (1, 2)])
async def test_a_lost_try_runs_no_tool_again_unless_somebody_asked(tmp_path: Path, of_dag: int, number: int) -> None:
    file = tmp_path / "runs"
    one = replace(task(tmp_path, [{"runs": str(file), "code": 3}]), retries=of_dag)
    await attempt(one, 1)
    lose(tmp_path)
    error = await attempt(one, 2)
    assert error is not None and not error.retryable
    message = re.sub(r"/\S+/(?=std)|(?<=job id: ).*|(?<=-c ).*", "...", str(error))
    assert message == (
        "the job failed\n"
        "/tool at here (localhost): exit code 3 (permanentFail)\n"
        "  command: sh -c ...\n"
        "  job id: ...\n"
        "  stdout: ...stdout\n"
        "  stderr: ...stderr"
    )
    assert runs(file) == number


async def test_a_lost_try_keeps_what_had_succeeded(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    one = task(tmp_path, [{"runs": str(good), "code": 0}, {"runs": str(bad), "code": 3}])
    await attempt(one, 1)
    lose(tmp_path)
    await attempt(one, 2)
    assert (runs(good), runs(bad)) == (1, 1)


SLEEP = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo >>"$0"; test "$(wc -l <"$0")" -gt 1 || sleep 300']
inputs:
  runs: {type: string, inputBinding: {position: 1}}
outputs: {}
"""


async def test_jobs_that_were_cancelled_with_their_worker_run_again(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    one = task(tmp_path, [{"runs": str(file)}], SLEEP)
    made, _ = execution(one)
    first = asyncio.ensure_future(made.run())
    async for _ in Backoff(0.05, 0.5, limit_s=120.0):
        if runs(file):
            break
    first.cancel()
    await asyncio.wait({first})
    await execution(one)[0].cancel()
    await close_all()
    assert await attempt(one, 2) is None
    assert runs(file) == 2


LOSE = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo >>"$0"; test "$(cat "$1")" = good || { rm "$1"; exit 3; }']
inputs:
  runs: {type: string, inputBinding: {position: 1}}
  file: {type: File, inputBinding: {position: 2}}
outputs: {}
permanentFailCodes: [3]
"""


async def test_a_fault_of_the_site_is_run_again_after_somebody_has_mended_it(tmp_path: Path) -> None:
    file, source = tmp_path / "runs", tmp_path / "in"
    source.write_text("evil")
    uri = FileRef("here", "localhost", str(source)).uri
    job = {"runs": str(file), "file": {"class": "File", "location": uri, "basename": "in", "size": 4}}
    one = replace(task(tmp_path, [job], LOSE), retries=1)
    error = await attempt(one, 1)
    assert error is not None and error.retryable
    assert error.hint == "the next try runs it again: make room, or put the files back"
    source.write_text("good")
    assert await attempt(one, 2) is None
    assert runs(file) == 2


async def test_a_cleared_task_has_all_of_its_retries_again(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    one = replace(task(tmp_path, [{"runs": str(file), "code": 3}]), retries=1)
    assert await until_it_ends(one) == 2
    cleared = replace(one, identity=replace(one.identity, generation=2))
    error = await attempt(cleared, 3)
    assert error is not None and error.retryable
    error = await attempt(cleared, 4)
    assert error is not None and not error.retryable
    assert runs(file) == 4
