# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is said of a job that failed: step, index, site, command, exit code, and the end of its stderr."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_hybrid.engine import TaskIdentity
from airflow_hybrid.engine.failures import COMMAND_CHARS, Failure, failed, shown_command
from airflow_hybrid.errors import CwlError, JobFailedError
from airflow_hybrid.model import JobResult, JobScript, JobState
from tests.unit.engine.execution import execute


def script(*command: str, shell: bool = False, **streams: str) -> JobScript:
    return JobScript(command, "/o", "/t", shell=shell, **streams)  # type: ignore[arg-type]


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


@pytest.mark.parametrize(
    ("ended", "status", "parts", "retryable"),
    [
        (result(JobState.FAILED, 3, tail="bad\n"), "permanentFail", ["exit code 3 (permanentFail)", "  | bad"], False),
        (result(JobState.FAILED, 75), "temporaryFail", ["exit code 75 (temporaryFail)"], True),
        (result(JobState.OUT_OF_MEMORY, None, "oom-kill"), "permanentFail", ["OUT_OF_MEMORY, oom-kill"], True),
        (
            result(JobState.TIMEOUT, 124, "it ran too long"),
            "permanentFail",
            ["exit code 124", "it ran too long"],
            False,
        ),
        (result(JobState.LOST, None, "nobody knows"), "permanentFail", ["LOST, nobody knows"], True),
    ],
)
def test_a_failed_job_is_described(ended: JobResult, status: str, parts: list[str], retryable: bool) -> None:
    error = failed([Failure("/a/b [4]: iteration 2", "hpc (me@host)", ended, status, "/d", "cat 'x y'")], 7)
    text = str(error)
    for part in ("1 of 7 jobs failed", "/a/b [4]: iteration 2 at hpc (me@host): ", "  command: cat 'x y'",
                 "  job id: 77_3", "  stderr: /d/stderr", *parts):  # fmt: skip
        assert part in text
    assert error.retryable is retryable


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
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path / "cache"))
    document = tmp_path / "main.cwl"
    document.write_text(SCATTER)
    site = {"site": {"type": "local", "config": {}, "workdir": str(tmp_path / "site")}}
    with pytest.raises(JobFailedError) as caught:
        identity = TaskIdentity("d", "r", "t", origin="origin")
        execute(document, {"word": ["/", "no such file"]}, site, {"/": "site"}, identity=identity)
    text = str(caught.value)
    for part in ("1 of 2 jobs failed", "/say [1] at site", "exit code 2 (permanentFail)",
                 "command: ls -- 'no such file'", "| ls: cannot access 'no such file'"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("{type: File, outputBinding: {glob: never.txt}}", "Did not find output file with glob pattern"),
        ("{type: int, outputBinding: {outputEval: '$(no.such.thing)'}}", "no.such.thing|does not exist|not valid"),
        ("{type: string, outputBinding: {outputEval: '$(1 + 1)'}}", "o"),
    ],
)
def test_an_output_that_is_not_there_names_step_and_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, message: str
) -> None:
    monkeypatch.setenv("AIRFLOW_HYBRID_CACHE_DIR", str(tmp_path / "cache"))
    document = tmp_path / "tool.cwl"
    document.write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\nrequirements: {InlineJavascriptRequirement: {}}\n"
        f"baseCommand: 'true'\ninputs: []\noutputs:\n  o: {output}\n"
    )
    with pytest.raises(CwlError, match=message) as caught:
        execute(document, {}, {}, {"/": "local"}, identity=TaskIdentity("d", str(tmp_path.name), "t", origin="origin"))
    assert caught.value.where == "/tool"
    assert "'o'" in str(caught.value) or "`o`" in str(caught.value) or "o" in caught.value.message
