# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Jobs that end in odd ways: on a full disk, without their inputs, with FIFOs, with arguments of megabytes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.engine import FragmentOutcome
from airflow_hybrid.errors import CwlError, HybridError, JobFailedError, TransferError
from airflow_hybrid.model import FileRef
from airflow_hybrid.sites.closing import close_all
from tests.needs import unavailable
from tests.unit.engine.fragments import execution, spec


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))


async def run(folder: Path, text: str, job: dict[str, Any], workdir: Path, log: list[str] | None = None) -> Any:
    sites = parse_deployments({"here": {"type": "local", "config": {}, "workdir": str(workdir)}})
    task = replace(spec(folder, sites, {"target": "here"}, [job], text, origin="o"), retries=1)
    made, said = execution(task)
    try:
        return await made.run()
    except HybridError as error:
        return error
    finally:
        if log is not None:
            log.extend(said.lines)
        await close_all()


def plain(error: Any, folder: Path) -> str:
    """A message without what differs from run to run."""
    return re.sub(rf"{re.escape(str(folder))}/.+/(?=std|out)|(?<=job id: ).*", "...", str(error))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False).returncode != 0:
        unavailable("this test", "the right to mount a tmpfs", "run it as root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


FILL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'head -c 3600000 /dev/zero >big; exit 1']
inputs: {n: int}
outputs: {}
"""


async def test_a_job_on_a_full_disk_has_not_failed_for_good(tmp_path: Path, small_disk: Path) -> None:
    error = await run(tmp_path, FILL, {"n": 1}, small_disk / "site")
    assert isinstance(error, JobFailedError) and error.retryable
    assert re.sub(r"\d+ KiB are left in \S+", "...", plain(error, small_disk)) == (
        "the job failed\n"
        "/tool at here (localhost): exit code 1\n"
        "  the site: its disk is full: ...\n"
        "  command: sh -c 'head -c 3600000 /dev/zero >big; exit 1'\n"
        "  job id: ...\n"
        "  stdout: ...stdout\n"
        "  stderr: ...stderr\n"
        "  -> the next try runs it again: make room, or put the files back"
    )
    assert not list(small_disk.glob("**/permanent"))


LOSE = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'rm "$0"; cat "$0"']
inputs: {file: {type: File, inputBinding: {position: 1}}}
outputs: {}
"""


async def test_a_job_whose_input_vanishes_has_not_failed_for_good(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    uri = FileRef("here", "localhost", str(tmp_path / "in")).uri
    file = {"class": "File", "location": uri, "basename": "in", "size": 1}
    error = await run(tmp_path, LOSE, {"file": file}, tmp_path / "site")
    assert isinstance(error, JobFailedError) and error.retryable
    assert plain(error, tmp_path) == (
        "the job failed\n"
        "/tool at here (localhost): exit code 1\n"
        f"  the site: its input {uri} no longer exists\n"
        f"""  command: sh -c 'rm "$0"; cat "$0"' {tmp_path}/in\n"""
        "  job id: ...\n"
        "  stdout: ...stdout\n"
        "  stderr: ...stderr\n"
        f"  | cat: {tmp_path}/in: No such file or directory\n"
        "  -> the next try runs it again: make room, or put the files back"
    )
    again = await run(tmp_path, LOSE, {"file": file}, tmp_path / "site")
    assert isinstance(again, TransferError)
    assert again.message == f"{uri} no longer exists"


PIPES = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'mkdir d; mkfifo d/pipe pipe; echo x >d/f; echo x >g']
inputs: {n: int}
outputs:
  o: OUTPUT
"""


async def test_a_fifo_that_a_glob_matches_is_an_error(tmp_path: Path) -> None:
    for output in ("{type: 'File[]', outputBinding: {glob: '[gp]*'}}", "{type: File, outputBinding: {glob: pipe}}"):
        error = await run(tmp_path, PIPES.replace("OUTPUT", output), {"n": 1}, tmp_path / "site")
        assert isinstance(error, CwlError)
        assert plain(error, tmp_path) == (
            "/tool at here (localhost): output 'o': 'pipe' is a FIFO, which is neither a File nor a Directory\n"
            "  job id: ...\n"
            "  folder: ...out\n"
            "  what is there: d, g, pipe\n"
            "  stderr: ...stderr"
        )


async def test_a_fifo_in_a_folder_is_left_out_with_a_warning(tmp_path: Path) -> None:
    log: list[str] = []
    text = PIPES.replace("OUTPUT", "{type: Directory, outputBinding: {glob: d}}")
    outcome = await run(tmp_path, text, {"n": 1}, tmp_path / "site", log)
    assert isinstance(outcome, FragmentOutcome)
    assert log[-1] == (
        "/tool at here (localhost): skipped in its output folders, neither files nor directories: d/pipe (a FIFO)"
    )
    from airflow_hybrid.operators.gather.gathering import gather
    from airflow_hybrid.operators.gather.rules import OutputRules

    sites = parse_deployments({"here": {"type": "local", "config": {}, "workdir": str(tmp_path / "site")}})
    await gather(outcome.results[0].outputs, str(tmp_path / "out"), sites, None, OutputRules(_Silent()))
    await close_all()
    assert [path.name for path in (tmp_path / "out/d").iterdir()] == ["f"]


class _Silent:
    def info(self, event: Any, /, *args: Any) -> None: ...

    warning = info


LONG = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [echo]
inputs: {text: {type: string, inputBinding: {position: 1}}}
outputs: {}
"""


async def test_an_argument_that_is_too_long_is_told_at_once(tmp_path: Path) -> None:
    error = await run(tmp_path, LONG, {"text": "token" * 40_000}, tmp_path / "site")
    assert isinstance(error, JobFailedError)
    lines = str(error).split("\n")
    assert lines[1] == "/tool at here (localhost): exit code 126"
    assert lines[-1] == (
        "  -> an argument of its command line is longer than the system allows (128 KiB on Linux), or all of them "
        "together are (exit code 126): let the document write long lists into a file (InitialWorkDirRequirement, "
        "`loadListing`) and give its name"
    )


TALK = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo step one >&2; sleep 2; echo step two >&2']
inputs: {n: int}
outputs: {}
"""


async def test_the_log_says_where_jobs_run_and_shows_their_stderr_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_hybrid.engine.reporting.job_logs.FOLLOW_S", 0.5)
    for logs, count in (("tail", 2), ("none", 0)):
        sites = parse_deployments({"here": {"type": "local", "config": {}, "workdir": str(tmp_path / logs)}})
        made, said = execution(spec(tmp_path, sites, {"target": "here", "logs": logs}, [{"n": 1}], TALK, origin=logs))
        await made.run()
        await close_all()
        lines = [re.sub(r"(?<=as job )\S+", "...", line) for line in said.lines]
        folder = next((tmp_path / logs).glob("dag/run/task/g0-*/a1-*"))
        assert lines[0] == (
            "/tool at here (localhost): 1 job submitted as job ...\n"
            f"  folder: {folder}\n"
            "  command: sh -c 'echo step one >&2; sleep 2; echo step two >&2'"
        )
        tails = [line for line in lines if "stderr" in line]
        assert len(tails) == count
        assert lines[-1] == f"/tool at here (localhost): 1 job ended on {os.uname().nodename}"
        if tails:
            assert tails[0] == "/tool at here (localhost): the end of its stderr:\n  | step one"
            assert tails[1] == "/tool at here (localhost): the end of its stderr:\n  | step one\n  | step two"
