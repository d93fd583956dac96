# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Rules of a binding's `on`, with real jobs: which are run again, how often, and what they ask for then."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import parse_bindings
from airflow_hybrid.engine import FragmentSpec
from airflow_hybrid.engine.execution import FragmentExecution
from airflow_hybrid.engine.recovery.again import Again
from airflow_hybrid.errors import HybridError, SubmitError
from airflow_hybrid.model import FileRef, JobState
from airflow_hybrid.model.walking import files
from airflow_hybrid.sites.batches.queue import Batch, BatchReport, JobQueue
from airflow_hybrid.sites.closing import close_all
from tests.unit.engine.fragments import Log, execution
from tests.unit.engine.retrying.test_tries import task

TOOL = """cwlVersion: v1.2
class: CommandLineTool
requirements: {ResourceRequirement: {ramMin: 64}}
baseCommand: [sh, -c, 'echo $2 >>"$0"; echo made; [ $2 -ge $1 ] || exit 7']
inputs:
  runs: {type: string, inputBinding: {position: 1}}
  needs: {type: int, inputBinding: {position: 2}}
arguments: [{valueFrom: $(runtime.ram), position: 3}]
stdout: made
outputs: {made: stdout}
"""
DOUBLED = {"exit": {7: {"memory": "x2"}}}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path / "cache"))


def tasks(folder: Path, needs: list[int], **binding: Any) -> FragmentSpec:
    jobs = [{"runs": str(folder / str(number)), "needs": need} for number, need in enumerate(needs)]
    return task(folder, jobs, TOOL, **binding)


def seen(folder: Path, count: int) -> list[list[int]]:
    """The memory that each attempt of each job was given."""
    return [[int(line) for line in (folder / str(number)).read_text().split()] for number in range(count)]


async def attempt(one: FragmentSpec, number: int = 1) -> tuple[FragmentExecution, Log, HybridError | None]:
    """One try of the task: the execution, its log, and why it failed."""
    made, log = execution(replace(one, identity=replace(one.identity, try_number=number)))
    try:
        await made.run()
    except HybridError as error:
        return made, log, error
    finally:
        await close_all()
    return made, log, None


async def test_only_the_failed_jobs_run_again_each_with_what_it_needs(tmp_path: Path) -> None:
    made, log, error = await attempt(tasks(tmp_path, [64, 100, 300, 64, 128], on=DOUBLED))
    assert error is None
    assert seen(tmp_path, 5) == [[64], [64, 128], [64, 128, 256, 512], [64], [64, 128]]
    told = [line for line in log.lines if "run again" in line]
    assert told == [
        "3 jobs of /tool at here (localhost): FAILED, run again by `on: exit: 7`: memory 64 MiB -> 128 MiB",
        "/tool at here (localhost): FAILED, run again by `on: exit: 7`: memory 128 MiB -> 256 MiB",
        "/tool at here (localhost): FAILED, run again by `on: exit: 7`: memory 256 MiB -> 512 MiB",
    ]
    notes = [entry.note for entry in made.lineage() if entry.route == "run again"]
    assert notes[0] == "FAILED: on: exit: 7: memory 64 MiB -> 128 MiB" and len(notes) == 3
    records = [record for record in made.batches.recorder.report().records if "/00002-" in record.directory]
    assert [(record.state, record.memory_mib) for record in records] == [
        (JobState.FAILED, 64),
        (JobState.FAILED, 128),
        (JobState.FAILED, 256),
        (JobState.COMPLETED, 512),
    ]
    assert (records[0].reason, records[0].rule) == (
        "exit code 7",
        "run again by `on: exit: 7`: memory 64 MiB -> 128 MiB",
    )
    assert [record.attempt_name for record in records] == ["1", "1.1", "1.2", "1.3"]
    assert len({record.directory for record in records}) == 4


async def test_a_rule_ends_and_the_message_says_so(tmp_path: Path) -> None:
    _, _, error = await attempt(tasks(tmp_path, [1000], on={"exit": {7: {"memory": "x2", "at_most": 1}}}))
    assert error is not None and not error.retryable
    assert error.hint == "not run again: `on: exit: 7` has submitted it again once, its `at_most`"
    assert seen(tmp_path, 1) == [[64, 128]]


async def test_retries_come_after_the_rules_with_what_these_have_changed(tmp_path: Path) -> None:
    one = replace(tasks(tmp_path, [1000], on={"exit": {7: {"memory": "x2", "at_most": 1}}}), retries=1)
    _, _, first = await attempt(one, 1)
    assert first is not None and first.retryable
    _, _, second = await attempt(one, 2)
    assert second is not None and not second.retryable
    assert seen(tmp_path, 1) == [[64, 128, 128]]


async def test_nothing_is_run_again_without_a_rule_about_it(tmp_path: Path) -> None:
    _, _, error = await attempt(tasks(tmp_path, [1000], on={"exit": {8: "resubmit"}, "OUT_OF_MEMORY": "resubmit"}))
    assert error is not None and error.hint is None
    assert seen(tmp_path, 1) == [[64]]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"walltime": "x2"}, "`on: exit: 7` cannot multiply its time limit: it has none (`timelimit`)"),
        ({"memory": "x2"}, "`on: exit: 7` cannot multiply its memory: it asks for none (`ramMin`)"),
    ],
)
async def test_what_a_job_does_not_ask_for_cannot_be_multiplied(tmp_path: Path, rule: Any, why: str) -> None:
    text = TOOL.replace("ResourceRequirement: {ramMin: 64}", "InlineJavascriptRequirement: {}")
    one = task(tmp_path, [{"runs": str(tmp_path / "0"), "needs": 1000}], text, on={"exit": {"7": rule}})
    _, _, error = await attempt(one)
    assert error is not None and error.hint == f"not run again: {why}"


async def test_a_time_limit_grows(tmp_path: Path) -> None:
    text = TOOL.replace("ramMin: 64}", "ramMin: 64}, ToolTimeLimit: {timelimit: 1}").replace("echo made", "sleep 2")
    one = task(tmp_path, [{"runs": str(tmp_path / "0"), "needs": 1}], text, on={"TIMEOUT": {"walltime": "20s"}})
    _, log, error = await attempt(one)
    assert error is None
    assert "/tool at here (localhost): TIMEOUT, run again by `on: TIMEOUT`: time limit 1 s -> 20 s" in log.lines
    assert seen(tmp_path, 1) == [[64, 64]]


@pytest.mark.parametrize("same_try", [True, False], ids=["by another triggerer", "by the next try"])
async def test_what_runs_again_is_taken_over(tmp_path: Path, same_try: bool) -> None:
    slow = TOOL.replace("echo made", "[ $2 -lt 128 ] || sleep 2; echo made")
    jobs = [{"runs": str(tmp_path / str(n)), "needs": need} for n, need in enumerate((64, 256))]
    one = task(tmp_path, jobs, slow, on=DOUBLED)
    made, _ = execution(one)
    running = asyncio.ensure_future(made.run())
    while not all((tmp_path / name).exists() for name in "01") or seen(tmp_path, 2)[1] != [64, 128]:
        await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await close_all()
    _, _, error = await attempt(one, 1 if same_try else 2)
    assert error is None
    assert seen(tmp_path, 2) == [[64], [64, 128, 256]]


async def test_a_job_whose_output_is_lost_keeps_what_it_needed(tmp_path: Path) -> None:
    one = tasks(tmp_path, [64, 200], on=DOUBLED)
    made, _ = execution(one)
    outcome = await made.run()
    (file,) = files(outcome.results[1].outputs)
    path = Path(FileRef.parse(file["location"]).path)
    path.unlink()
    key = path.parent.parent
    again = Again({key.name: key.parent.name}, frozenset({1}))
    renewed = FragmentExecution(one, Log(), again)
    await renewed.run()
    await close_all()
    assert seen(tmp_path, 2) == [[64], [64, 128, 256, 256]]
    assert re.fullmatch(r"a2-[0-9a-f]{10}", sorted(key.parent.parent.glob("a2-*"))[0].name)


async def test_what_an_edited_rule_had_submitted_again_counts(tmp_path: Path) -> None:
    slow = TOOL.replace("echo made", "[ $2 -lt 128 ] || sleep 1; echo made")
    one = task(tmp_path, [{"runs": str(tmp_path / "0"), "needs": 100}], slow, on=DOUBLED)
    made, _ = execution(one)
    running = asyncio.ensure_future(made.run())
    while not (tmp_path / "0").exists() or seen(tmp_path, 1) != [[64, 128]]:
        await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await close_all()
    without = replace(one, bindings=tuple(parse_bindings([{"step": "/", "target": "here"}])))
    later, _, error = await attempt(without, 2)
    assert error is None
    assert seen(tmp_path, 1) == [[64, 128]]
    records = later.batches.recorder.report().records
    attempts = [(record.state, record.memory_mib) for record in records]
    assert attempts == [(JobState.FAILED, 64), (JobState.COMPLETED, 128)]


async def test_a_fixed_amount_never_takes_memory_away(tmp_path: Path) -> None:
    _, _, error = await attempt(tasks(tmp_path, [1000], on={"exit": {7: {"memory": 32}}}))
    assert error is not None and error.hint == "not run again: `on: exit: 7` gives it no more than it had"
    assert seen(tmp_path, 1) == [[64]]


async def test_a_fixed_amount_is_tried_once(tmp_path: Path) -> None:
    _, _, error = await attempt(tasks(tmp_path, [1000], on={"exit": {7: {"memory": 128}}}))
    assert error is not None and error.hint == "not run again: `on: exit: 7` gives it no more than it had"
    assert seen(tmp_path, 1) == [[64, 128]]


async def test_outputs_made_with_more_memory_are_not_reused_for_less(tmp_path: Path) -> None:
    text = """cwlVersion: v1.2
class: CommandLineTool
requirements: {ResourceRequirement: {ramMin: 64}, ShellCommandRequirement: {}}
arguments: [{valueFrom: "echo $(runtime.ram); test $(runtime.ram) -ge 100 || exit 7", shellQuote: false}]
inputs: {}
stdout: made
outputs: {made: stdout}
"""
    one = task(tmp_path, [{}], text, on=DOUBLED, reuse=True)
    _, _, error = await attempt(one)
    assert error is None
    without = tuple(parse_bindings([{"step": "/", "target": "here", "reuse": True}]))
    _, log, error = await attempt(replace(one, identity=replace(one.identity, run_id="other"), bindings=without))
    assert "reused" not in log.text
    assert error is not None


async def test_a_request_that_the_scheduler_never_accepts_leaves_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = JobQueue.submit

    async def refusing(queue: JobQueue, batch: Batch) -> list[BatchReport]:
        if batch.resources.ram_mib == 6400:
            raise SubmitError("Requested node configuration is not available", retryable=False)
        return await submit(queue, batch)

    monkeypatch.setattr(JobQueue, "submit", refusing)
    on = {"exit": {7: {"memory": "x10", "at_most": 2}}}
    made, _, error = await attempt(tasks(tmp_path, [64, 300, 1000], on=on))
    assert error is not None and not error.retryable
    assert error.hint == (
        "not run again: `on: exit: 7` asks for more than the scheduler accepts: Requested node configuration is not"
        " available"
    )
    assert "1 of 3 jobs failed" in str(error) and "exit code 7" in str(error)
    assert seen(tmp_path, 3) == [[64], [64, 640], [64, 640]]
    records = [record for record in made.batches.recorder.report().records if "/00002-" in record.directory]
    assert [(record.attempt_name, record.memory_mib, record.rule) for record in records] == [
        ("1", 64, "run again by `on: exit: 7`: memory 64 MiB -> 640 MiB"),
        (
            "1.1",
            640,
            "`on: exit: 7` asks for more than the scheduler accepts: Requested node configuration is not available",
        ),
    ]
