# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is said of a job that failed: step, index, site, command, exit code, and the end of its stderr."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.engine import TaskIdentity
from airflow_hybrid.engine.failures import COMMAND_CHARS, Failure, failed, shown_command
from airflow_hybrid.engine.retrying.rules import Decision
from airflow_hybrid.errors import CwlError, JobFailedError
from airflow_hybrid.model import JobResult, JobScript, JobState, Resources
from tests.unit.engine.execution import execute


def script(*command: str, shell: bool = False, **streams: Any) -> JobScript:
    return JobScript(command, "/o", "/t", shell=shell, **streams)


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        (script("cat", "a b", "it's"), """cat 'a b' 'it'"'"'s'"""),
        (script("sort", stdin="/in/x y", stdout="out.txt", stderr="err"), "sort < '/in/x y' > out.txt 2> err"),
        (script("echo $HOME;\n  ls", shell=True), "echo $HOME; ls"),
        (script("fetch", "--password", "hunter2", "x"), "fetch --password *** x"),
        (script("fetch", "--api-key=abc", "x"), "fetch --api-key=*** x"),
        (script("env", "MY_TOKEN=abc def", "x"), "env 'MY_TOKEN=*** def' x"),
        (script("x" * 1000), "x" * 200 + " [600 characters more] " + "x" * 200),
    ],
)
def test_a_command_is_shown_as_it_would_be_typed_and_without_secrets(job: JobScript, shown: str) -> None:
    assert shown_command(job) == shown
    assert len(shown) < COMMAND_CHARS + 40


def result(state: JobState, code: int | None, reason: str = "", tail: str = "") -> JobResult:
    return JobResult(state, code, reason, "77_3", tail, "/d/stdout", "/d/stderr")


ASKED = Resources(ram_mib=2048, walltime_s=60, explicit=frozenset({"ram_mib", "walltime_s"}))
MORE_TIME = "for more time, raise the document's ToolTimeLimit or `timelimit` of its binding's `resources`"
MORE_MEMORY = "raise `ramMin` of the step's ResourceRequirement or of its binding's `resources`"
FAILED = JobState.FAILED


@pytest.mark.parametrize(
    ("ended", "status", "said", "hint"),
    [
        (result(FAILED, 3, "exit code 3", "bad\n"), "permanentFail", "exit code 3 (permanentFail)", ""),
        (result(FAILED, 75), "temporaryFail", "exit code 75 (temporaryFail)", ""),
        (
            result(FAILED, 127),
            "permanentFail",
            "exit code 127 (permanentFail)",
            "its command was not found (exit code 127): is it on the PATH of jobs there? `path` of the deployment adds "
            "folders; load a module in the service's template (`file`); name a container by DockerRequirement",
        ),
        (
            result(FAILED, 126),
            "permanentFail",
            "exit code 126 (permanentFail)",
            "its command cannot be run (exit code 126): it is not executable, its interpreter (`#!`) is missing, "
            "or an argument is longer than the system allows (128 KiB)",
        ),
        (
            result(FAILED, 137),
            "permanentFail",
            "exit code 137 (permanentFail), ended by signal 9 (SIGKILL)",
            "somebody, or the kernel for lack of memory, killed it (exit code 137, SIGKILL): "
            f"it asked for 2048 MiB: perhaps {MORE_MEMORY}",
        ),
        (
            result(FAILED, 139),
            "permanentFail",
            "exit code 139 (permanentFail), ended by signal 11 (SIGSEGV)",
            "its program crashed: it used memory that is not its own (exit code 139, SIGSEGV): this is a defect of the "
            "program, or its libraries do not fit; a larger stack (`ulimit -s unlimited` in the service's template) "
            "helps some",
        ),
        (result(FAILED, None, "its time is over"), "permanentFail", "its time is over", ""),
        (result(FAILED, None, "FAILED"), "permanentFail", "FAILED", ""),
        (
            result(JobState.TIMEOUT, None, "TIMEOUT"),
            "permanentFail",
            "TIMEOUT",
            f"it ran longer than its time limit: {MORE_TIME}",
        ),
        (
            result(JobState.TIMEOUT, 124, "it ran longer than its time limit of 60 s"),
            "permanentFail",
            "TIMEOUT, exit code 124 (permanentFail): it ran longer than its time limit of 60 s",
            f"it ran longer than its time limit of 60 s: {MORE_TIME}",
        ),
        (
            result(JobState.OUT_OF_MEMORY, None, "oom-kill"),
            "permanentFail",
            "OUT_OF_MEMORY: oom-kill",
            f"it ran out of memory: it asked for 2048 MiB: {MORE_MEMORY}",
        ),
        (
            result(FAILED, 1, "exit code 1", "ModuleNotFoundError: No module named 'numpy'\n"),
            "permanentFail",
            "exit code 1 (permanentFail)",
            "Python finds no module `numpy` (exit code 1): install it for the Python that runs there, load its "
            "environment in the service's template (`file`), or name a container by DockerRequirement",
        ),
        (
            result(JobState.NODE_FAIL, 143, "node2 down"),
            "permanentFail",
            "NODE_FAIL, exit code 143 (permanentFail), ended by signal 15 (SIGTERM): node2 down",
            "",
        ),
        (result(JobState.LOST, None, "nobody knows"), "permanentFail", "LOST: nobody knows", ""),
    ],
)
def test_a_failed_job_is_described(ended: JobResult, status: str, said: str, hint: str) -> None:
    failure = Failure("/a/b[4]: iteration 2", "hpc (by login)", ended, status, "/d", "cat 'x y'", ASKED)
    error = failed([failure], 7)
    assert str(error) == (
        "1 of 7 jobs failed\n"
        f"/a/b[4]: iteration 2 at hpc (by login): {said}\n"
        "  command: cat 'x y'\n"
        "  job id: 77_3\n"
        "  stdout: /d/stdout\n"
        "  stderr: /d/stderr"
        + (f"\n  | {ended.stderr_tail.strip()}" if ended.stderr_tail else "")
        + (f"\n  -> {hint}" if hint else "")
    )


@pytest.mark.parametrize(
    ("again", "status", "said"),
    [
        (True, "permanentFail", "exit code 75"),
        (True, "temporaryFail", "exit code 75 (temporaryFail)"),
        (False, "permanentFail", "exit code 75 (permanentFail)"),
    ],
)
def test_a_failure_after_which_the_job_is_run_again_is_not_permanent(again: bool, status: str, said: str) -> None:
    failure = Failure("/a", "hpc", result(FAILED, 75), status, "/d", "cat x", decision=Decision(again))
    assert str(failed([failure], 1)).splitlines()[1] == f"/a at hpc: {said}"


def test_a_fault_of_the_site_is_no_permanent_failure() -> None:
    ended = result(FAILED, 1, tail="write error")
    fault = "its disk is full: 0 KiB are left in /d"
    for again, hint in (
        (True, "the next try runs it again: make room, or put the files back"),
        (False, "make room, or put the files back"),
    ):
        failure = Failure("/a", "hpc", ended, "permanentFail", "/d", "cat x", ASKED, fault, Decision(again))
        error = failed([failure], 1)
        assert str(error) == (
            "the job failed\n"
            "/a at hpc: exit code 1\n"
            "  the site: its disk is full: 0 KiB are left in /d\n"
            "  command: cat x\n"
            "  job id: 77_3\n"
            "  stdout: /d/stdout\n"
            "  stderr: /d/stderr\n"
            "  | write error\n"
            f"  -> {hint}"
        )
        assert error.retryable is again


def test_a_message_about_many_jobs_fits_a_screen() -> None:
    tail = "\n".join(f"line {n}" for n in range(40))
    codes = [126, 127, 137, 3, 3]
    many = [
        Failure(f"/a[{n}]", "hpc", result(FAILED, c, tail=tail), "permanentFail", "/d", "x")
        for n, c in enumerate(codes)
    ]
    lines = failed(many, 9).for_a_task.split("\n")
    assert len(lines) <= 30
    assert (lines[0], lines[-4]) == ("5 of 9 jobs failed", "... and 2 more")


def test_the_end_of_a_secret_is_not_shown() -> None:
    for words in (("--password", "A" * 50_000), ("--password=" + "A" * 50_000,), ("x" * 9000, "--token", "A" * 900)):
        assert "AA" not in shown_command(script("fetch", *words))


SCATTER = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {word: 'string[]'}
outputs: []
steps:
  say:
    scatter: word
    in: {word: word}
    out: []
    run:
      class: CommandLineTool
      baseCommand: [ls, --]
      inputs: {word: {type: string, inputBinding: {position: 1}}}
      outputs: []
"""


def test_a_job_that_fails_says_all_that_is_needed_to_look_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    document = tmp_path / "main.cwl"
    document.write_text(SCATTER)
    site = {"site": {"type": "local", "config": {}, "workdir": str(tmp_path / "site")}}
    with pytest.raises(JobFailedError) as caught:
        identity = TaskIdentity("d", "r", "t", origin="origin")
        execute(document, {"word": ["/", "no such file"]}, site, {"/": "site"}, identity=identity)
    jobs = str(tmp_path / "site")
    text = re.sub(rf"{re.escape(jobs)}/.+/(?=std)|(?<=job id: ).*", "...", str(caught.value))
    assert text == (
        "1 of 2 jobs failed\n"
        "/say[1] at site (localhost): exit code 2 (permanentFail)\n"
        "  command: ls -- 'no such file'\n"
        "  job id: ...\n"
        "  stdout: ...stdout\n"
        "  stderr: ...stderr\n"
        "  | ls: cannot access 'no such file': No such file or directory"
    )


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("{type: File, outputBinding: {glob: never.txt}}", "output 'o': no file matches the glob 'never.txt'"),
        (
            "{type: 'File[]', outputBinding: {glob: [a, b], outputEval: '${throw \"too few reads\";}'}}",
            "output 'o': too few reads",
        ),
        (
            "File",
            "cwl.output.json is not JSON: Expecting property name enclosed in double quotes: line 2 column 1 (char 2)",
        ),
    ],
)
def test_an_output_that_is_not_there_says_where_and_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, message: str
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    document = tmp_path / "tool.cwl"
    command = "echo the tool says why >&2; touch one two"
    there = "one, two"
    if "JSON" in message:
        command, there = 'echo the tool says why >&2; echo "{" >cwl.output.json', "cwl.output.json"
    document.write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\nrequirements: {InlineJavascriptRequirement: {}}\n"
        f"baseCommand: [sh, -c, '{command}']\ninputs: []\noutputs:\n  o: {output}\n"
    )
    site = {"site": {"type": "local", "config": {}, "workdir": str(tmp_path / "site")}}
    with pytest.raises(CwlError) as caught:
        execute(document, {}, site, {"/": "site"}, identity=TaskIdentity("d", "r", "t", origin="origin"))
    text = re.sub(rf"{re.escape(str(tmp_path))}/.+/(?=std|out)|(?<=job id: ).*", "...", str(caught.value))
    assert text == (
        f"/tool at site (localhost): {message}\n"
        "  job id: ...\n"
        "  folder: ...out\n"
        f"  what is there: {there}\n"
        "  stderr: ...stderr\n"
        "  | the tool says why"
    )
