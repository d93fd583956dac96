# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Text of users and sites may have any length: nothing that reads it takes more than a moment, or holds others up."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.jobs.outside import MOST_SHELL_CHARS, outside_of
from airflow_hybrid.cwl.locations.job_paths import JobPaths
from airflow_hybrid.engine.failures import Failure, failed, shown_command
from airflow_hybrid.errors import CwlError, StatusUnknownError
from airflow_hybrid.model import JobResult, JobScript, JobState
from airflow_hybrid.printable import printable, printable_lines, quoted_lines
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.flux import FluxScheduler
from airflow_hybrid.schedulers.pbs import PbsScheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.answers import parse_answer, parse_reports
from airflow_hybrid.sites.hosts.job_folders import job_directory_of, producer_of
from airflow_hybrid.sites.hosts.joining import parted

SIZE = 10_000_000
TEXTS = {
    "letters": "a" * SIZE,
    "words": "a " * (SIZE // 2),
    "spaces": " " * SIZE,
    "lines": "\n" * SIZE,
    "tokens": "token" * (SIZE // 5),
    "secrets": "--token='" * (SIZE // 9),
    "schemes": "a.a+" * (SIZE // 4) + "://x",
    "queries": "http://x/?a=b&" + "c" * SIZE,
    "controls": "\x1b[2J" * (SIZE // 4),
    "quotes": "Field 'class' contains undefined reference to '" + "a/" * (SIZE // 2),
    "leads": "a:1:1:" * (SIZE // 6),
    "brackets": "(1) (" * (SIZE // 5),
    "folders": "/d" * (SIZE // 2) + "/g1",
    "digits": "/w/d/r/t/g" + "1" * SIZE,
    "equals": "a=" * (SIZE // 2),
    "arrays": "array" * (SIZE // 5),
    "variables": "$a" * (SIZE // 2),
}


def message(text: str) -> str:
    return CwlError(text, where=text, hint=text).for_a_task


def failure(text: str) -> str:
    result = JobResult(JobState.FAILED, 3, text[:4000], "1", text, "/o", "/e")
    return failed([Failure("/a", "here", result, "permanentFail", "/d", "x")], 1).for_a_task


def command(text: str) -> str:
    return shown_command(JobScript(("fetch", text, "--password", text), "/o", "/t"))


def shell_command(text: str) -> str:
    return shown_command(JobScript((text,), "/o", "/t", shell=True))


def cut_answer(text: str) -> Any:
    return parted(f"\nmark 0 end\n\nmark 0{text}".encode(), f"\nmark end\n{text}".encode(), "mark")


def refusal(text: str) -> Any:
    return parse_answer(f"#ah refused\n{text}")


def named_outside(text: str) -> Any:
    paths = JobPaths({"/w/out": "out"})
    most = JobScript((text[:MOST_SHELL_CHARS],), "/w/out", "/w/tmp", shell=True)
    return [outside_of(job, paths) for job in (most, JobScript(("echo", text), "/w/out", "/w/tmp"))]


def reports(text: str) -> Any:
    return parse_reports(text.split("\n"), "/t")


def answers(scheduler: Scheduler) -> Callable[[str], Any]:
    """All that a scheduler reads of its programs."""

    def read(text: str) -> None:
        text = text[:1_000_000]  # an answer that has as many lines is no answer
        scheduler.parse_max_array(text)
        scheduler.refused_for_good(text[:4000])
        scheduler.too_large(text[:4000])
        for ask in (scheduler.parse_status, scheduler.parse_account):
            with contextlib.suppress(StatusUnknownError):
                ask(f"#{scheduler.name}\n{text}\n#rc 0\n", ["1"])

    return read


READERS: dict[str, Callable[[str], Any]] = {
    "message": message,
    "failure": failure,
    "command": command,
    "shell command": shell_command,
    "printable": printable,
    "printable lines": printable_lines,
    "quoted lines": quoted_lines,
    "cwltool's message": messages.plain,
    "cut answer": cut_answer,
    "refusal": refusal,
    "what a job names outside": named_outside,
    "reports": reports,
    "producer": producer_of,
    "job directory": job_directory_of,
    "slurm": answers(SlurmScheduler()),
    "pbs": answers(PbsScheduler()),
    "sge": answers(SgeScheduler()),
    "flux": answers(FluxScheduler()),
    "process": answers(ProcessScheduler()),
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("reader", READERS)
def test_nothing_takes_long_to_read(reader: str, text: str) -> None:
    given = TEXTS[text]
    began = time.process_time()
    READERS[reader](given)
    # one to six seconds, by machine and load; what grows with the square of the length takes minutes
    limit_s = 20.0 if sys.gettrace() is None else 200.0
    assert time.process_time() - began < limit_s
