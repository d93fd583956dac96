# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What people are told of a fragment's jobs, from real jobs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import FragmentExecution, TaskIdentity
from airflow_hybrid.errors import HybridError, JobFailedError
from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import JOBS_XCOM, BatchProgress, JobRecord, JobsReport
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.triggers import reports
from airflow_hybrid.triggers.reports import JobReports
from tests.unit.engine.execution import Log, spec_of

SITES = {"site": {"type": "local", "config": {}}}
DOCUMENT = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {code: "int[]", f: File}
outputs: []
steps:
  work:
    in: {code: code, f: f}
    scatter: code
    out: [o]
    run:
      class: CommandLineTool
      requirements: {ResourceRequirement: {coresMin: 1, ramMin: 32}}
      successCodes: [0, 3]
      permanentFailCodes: [1]
      baseCommand: [sh, -c, 'sleep 0.1; printf 12345; exit $0']
      inputs: {code: {type: int, inputBinding: {position: 1}}, f: File}
      stdout: o
      outputs: {o: stdout}
"""


def execution(
    tmp_path: Path, codes: list[int], *, try_number: int = 1, document: str = DOCUMENT, **inputs: Any
) -> FragmentExecution:
    (tmp_path / "main.cwl").write_text(document)
    (tmp_path / "f").write_text("an input")
    given: dict[str, Any] = {"code": codes, "f": {"class": "File", "path": "f"}, **inputs}
    sites = {"site": {"type": "local", "config": {}, "workdir": str(tmp_path / "site")}}
    identity = TaskIdentity("dag", "run", "work", try_number=try_number, origin="origin")
    spec = spec_of(tmp_path / "main.cwl", given, sites, {"/work": {"target": "site"}}, identity)
    return FragmentExecution(replace(spec, retries=1), Log())


def run(work: FragmentExecution) -> JobsReport:
    async def wait() -> None:
        try:
            await work.run()
        finally:
            await close_all()

    try:
        asyncio.run(wait())
    except JobFailedError:
        pass
    return work.batches.recorder.report()


def test_each_job_leaves_a_record(tmp_path: Path) -> None:
    before = time.time()
    report = run(execution(tmp_path, [0, 3, 1]))
    good, accepted, bad = report.records
    site = str(tmp_path / "site")
    assert report.batches == ()
    for index, record in enumerate(report.records):
        seen = replace(
            record, submitted=None, began=None, seconds=None, cpu_s=None, directory="", scheduler_id="",
            memory_used_mib=None, staging_began=None, collected=None,
        )  # fmt: skip
        assert seen == JobRecord(
            "/work", f"[{index}]", "site", "", "site (localhost)",
            (JobState.COMPLETED, JobState.COMPLETED, JobState.FAILED)[index], ("", "", "exit code 1")[index],
            (0, 3, 1)[index], node=os.uname().nodename, cores=1, memory_mib=32, bytes_in=8,
            bytes_out=(5, 5, None)[index],
        )  # fmt: skip
        assert record.submitted is not None and record.began is not None and record.seconds is not None
        assert before - 1 <= record.submitted <= record.began + 1 and record.seconds >= 0.09
        assert record.ended is not None and record.ended <= time.time() + 1
        assert record.cpu_s is not None and record.cpu_s <= record.seconds + 1
        if Path("/usr/bin/time").exists():
            assert record.memory_used_mib is not None and 1 <= record.memory_used_mib < 32
        assert record.directory.startswith(f"{site}/dag/run/work/g0-") and Path(record.directory, "out").is_dir()
        assert record.scheduler_id.isdigit()
        assert record.staging_began is not None and before - 0.01 <= record.staging_began <= record.submitted + 1
    assert good.collected == accepted.collected and bad.collected is None
    assert good.collected is not None and good.ended is not None and good.ended - 1 <= good.collected <= time.time()
    assert len({good.directory, accepted.directory, bad.directory}) == 3


def test_a_retry_shows_both_attempts_of_what_failed(tmp_path: Path) -> None:
    run(execution(tmp_path, [0, 2]))
    report = run(execution(tmp_path, [0, 2], try_number=2))
    seen = [(record.index, record.attempt, record.state) for record in report.records]
    assert sorted(seen) == [
        ("[0]", 1, JobState.COMPLETED),
        ("[1]", 1, JobState.FAILED),
        ("[1]", 2, JobState.FAILED),
    ]


def test_files_in_a_folder_count_as_output(tmp_path: Path) -> None:
    """As in: a folder with a folder in it, which is also an output by itself; a literal; an input that is passed on."""
    command = "mkdir -p made/sub/empty; head -c 100000 /dev/zero >made/sub/zeros; echo a >made/a; ln -s nowhere made/x"
    outputs = """
          made: {type: Directory, outputBinding: {glob: made}}
          listed: {type: Directory, outputBinding: {glob: made/sub, loadListing: deep_listing}}
          literal: {type: File, outputBinding: {outputEval: '$({"class": "File", "basename": "l", "contents": "é"})'}}
"""
    document = DOCUMENT.replace("sleep 0.1; printf 12345", command).replace("{o: stdout}", outputs)
    document = document.replace("      stdout: o\n", "").replace("[o]", "[made, listed, literal]")
    document = document.replace("requirements: {Res", "requirements: {InlineJavascriptRequirement: {}, Res")
    (record,) = run(execution(tmp_path, [0], document=document)).records
    assert (record.state, record.bytes_out) == (JobState.COMPLETED, 100_002 + 100_000 + 2)


def test_the_size_of_a_folder_that_was_not_looked_into_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/x").write_text("an input")
    document = DOCUMENT.replace("f: File", "f: Directory").replace(
        "{o: stdout}", "{o: {type: Directory, outputBinding: {outputEval: $(inputs.f)}}}"
    )
    work = execution(tmp_path, [0], document=document, f={"class": "Directory", "path": "folder"})
    (record,) = run(work).records
    assert (record.state, record.bytes_in, record.bytes_out) == (JobState.COMPLETED, None, None)


def test_a_job_whose_output_is_missing_leaves_a_record(tmp_path: Path) -> None:
    work = execution(
        tmp_path, [0], document=DOCUMENT.replace("{o: stdout}", "{o: {type: File, outputBinding: {glob: no}}}")
    )
    with pytest.raises(HybridError):
        run(work)
    (record,) = work.batches.recorder.report().records
    assert (record.state, record.exit_code, record.bytes_out) == (JobState.FAILED, 0, None)
    assert record.reason == "its outputs: output 'o': no file matches the glob 'no'"


def test_reports_are_published_while_jobs_run_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "LIVE_S", 0.05)
    go = tmp_path / "go"
    go.touch()
    wait = DOCUMENT.replace("sleep 0.1;", f"for i in $(seq 600); do test -e {go} || break; sleep 0.1; done;")
    work = execution(tmp_path, [0, 0, 0], document=wait)
    published: list[JobsReport] = []
    files: list[list[int]] = []

    async def publish(key: str, value: Any) -> None:
        if key != JOBS_XCOM:
            files.append([entry["bytes"] for entry in value if entry["route"] == "copy"])
            return
        published.append(JobsReport.from_json(value))
        if any(batch.total == 3 for batch in published[-1].batches):
            go.unlink(missing_ok=True)

    async def live() -> None:
        async with JobReports(lambda: work, publish, Log()).kept_up_to_date():
            await work.run()
        await close_all()

    asyncio.run(live())
    (batch,) = published[0].batches
    assert published[0].records == ()
    assert replace(batch, directory="", since=0.0, scheduler_ids=(), ended=0, running=0, pending=0) == BatchProgress(
        "/work", "site (localhost)", 3
    )
    assert batch.failed is None  # which of the codes are a success only the document knows
    assert [record.state for record in published[-1].records] == [JobState.COMPLETED] * 3
    assert published[-1].batches == ()
    assert files and set(map(tuple, files)) == {(8,)}, "what was staged is told while jobs run"


def test_what_a_task_has_staged_is_told_when_it_fails(tmp_path: Path) -> None:
    work = execution(tmp_path, [1])
    told: dict[str, Any] = {}

    async def publish(key: str, value: Any) -> None:
        told[key] = value

    async def live() -> None:
        async with JobReports(lambda: work, publish, Log()).kept_up_to_date():
            with contextlib.suppress(JobFailedError):
                await work.run()
            raise OSError("the task ends")

    with pytest.raises(OSError, match="the task ends"):
        run_to_end(live())
    assert [(entry["bytes"], entry["reused"]) for entry in told["lineage"] if entry["route"] == "copy"] == [(8, False)]


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    async def wait() -> None:
        try:
            await work
        finally:
            await close_all()

    asyncio.run(wait())


def test_jobs_of_which_nothing_changes_are_reported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "LIVE_S", 0.05)
    monkeypatch.setattr(reports, "UNCHANGED_S", 0.1)
    go = tmp_path / "go"
    go.touch()
    wait = DOCUMENT.replace("sleep 0.1;", f"for i in $(seq 600); do test -e {go} || break; sleep 0.1; done;")
    work = execution(tmp_path, [0], document=wait)
    times: dict[Any, list[float]] = {}

    async def publish(key: str, value: Any) -> None:
        if key != JOBS_XCOM:
            return
        report = JobsReport.from_json(value)
        times.setdefault(report.batches, []).append(report.at)
        if max(map(len, times.values())) == 3:
            go.unlink(missing_ok=True)

    async def live() -> None:
        async with JobReports(lambda: work, publish, Log()).kept_up_to_date():
            await work.run()
        await close_all()

    asyncio.run(live())
    (waiting,) = [seen for batches, seen in times.items() if batches and len(seen) >= 3]
    assert waiting == sorted(set(waiting))
    assert len(times[()]) == 1


def test_a_report_that_cannot_be_published_is_told_once_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "LIVE_S", 0.01)
    work, log = execution(tmp_path, [0]), Log()

    async def publish(_key: str, _: Any) -> None:
        raise OSError("no route")

    async def live() -> None:
        async with JobReports(lambda: work, publish, log).kept_up_to_date():
            await work.run()
        await close_all()

    asyncio.run(live())
    assert log.lines == ["the report about the jobs cannot be published, and is tried again: no route"]


@pytest.mark.parametrize("field", ["permanentFailCodes", "temporaryFailCodes"])
def test_a_document_may_call_0_a_failure_and_the_record_says_so(field: str, tmp_path: Path) -> None:
    document = DOCUMENT.replace("successCodes: [0, 3]", "doc: it").replace("permanentFailCodes: [1]", f"{field}: [0]")
    (record,) = run(execution(tmp_path, [0], document=document)).records
    told = (record.state, record.exit_code, record.reason)
    assert told == (JobState.FAILED, 0, f"exit code 0 is in `{field}` of its document")


def test_failures_of_a_running_batch_are_counted_where_only_0_is_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "LIVE_S", 0.05)
    go = tmp_path / "go"
    go.touch()
    script = f"[ $0 != 0 ] || for i in $(seq 600); do test -e {go} || break; sleep 0.1; done; exit $0"
    document = DOCUMENT.replace("sleep 0.1; printf 12345; exit $0", script).replace("successCodes: [0, 3]", "doc: it")
    work = execution(tmp_path, [4, 0, 5], document=document)
    seen: list[tuple[int, int | None]] = []

    async def publish(key: str, value: Any) -> None:
        if key != JOBS_XCOM:
            return
        seen.extend((batch.ended, batch.failed) for batch in JobsReport.from_json(value).batches)
        if (2, 2) in seen:
            go.unlink(missing_ok=True)

    async def live() -> None:
        async with JobReports(lambda: work, publish, Log()).kept_up_to_date():
            with contextlib.suppress(JobFailedError):
                await work.run()
        await close_all()

    asyncio.run(live())
    assert (2, 2) in seen
