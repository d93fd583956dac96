# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a runner says before a run and at the end of one that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_hybrid.engine.failures import Failure, JobsFailedError, failed
from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.model import JobResult, JobState
from airflow_hybrid.runner.arguments import try_folder
from airflow_hybrid.runner.told import MOST_LINES, TaskError, failure_message


def chunk_of(first: int, count: int, jobs: int, *, stderr: str = "why") -> JobsFailedError:
    failures = []
    for number in range(first, first + count):
        folder = f"/tmp/run/work/{number}"
        result = JobResult(
            JobState.FAILED, 3, stderr_tail=stderr, stdout_path=f"{folder}/stdout", stderr_path=f"{folder}/stderr"
        )
        failures.append(Failure(f"/s[{number}]", "here", result, "permanentFail", folder, command=f"tool {number}"))
    return failed(failures, jobs)


def one(number: int) -> str:
    return f"/s[{number}] at here: exit code 3 (permanentFail)\n  command: tool {number}\n  | why\n"


def test_a_scatter_is_one_message_in_the_order_of_its_jobs() -> None:
    errors = [TaskError("s", 2, chunk_of(14, 7, 7)), TaskError("s", 1, chunk_of(9, 5, 7))]
    assert failure_message(errors, {"s": 86}, "/tmp/run") == (
        f"12 of 100 jobs failed\n{one(9)}{one(10)}{one(11)}... and 9 more\n"
        "  -> to keep the files of its jobs, run again with --leave-tmpdir"
    )


def test_paths_that_stay_are_told() -> None:
    error = TaskError("s", -1, chunk_of(1, 1, 1))
    whole = (
        "the job failed\n/s[1] at here: exit code 3 (permanentFail)\n  command: tool 1\n"
        "  stdout: /tmp/run/work/1/stdout\n  stderr: /tmp/run/work/1/stderr\n  | why"
    )
    assert failure_message([error], {}, None) == whole and failure_message([error], {}, "/tmp/ru") == whole


def test_what_a_tool_says_is_not_taken_for_a_path_of_ours() -> None:
    error = TaskError("s", -1, chunk_of(1, 1, 1, stderr="stderr: /tmp/run/x"))
    assert "  | stderr: /tmp/run/x" in failure_message([error], {}, "/tmp/run").split("\n")


def test_many_steps_fill_one_screen() -> None:
    errors = [TaskError(f"s{n}", -1, chunk_of(n, 9, 9, stderr="a\nb\nc")) for n in range(1, 9)]
    message = failure_message(errors, {}, "/tmp/run").split("\n")
    assert len(message) <= MOST_LINES
    assert message[-2:] == [
        "... and 3 more steps failed",
        "  -> to keep the files of its jobs, run again with --leave-tmpdir",
    ]
    assert message.count("9 of 9 jobs failed") == 5


def test_errors_that_are_not_of_jobs_are_told_once() -> None:
    same = HybridError("no such host", hint="see the hybrid file")
    errors = [TaskError("a", 0, same), TaskError("a", 1, same), TaskError("b", -1, KeyError("x"))]
    assert failure_message(errors, {}, "/tmp/run") == "no such host\n  -> see the hybrid file\nKeyError: 'x'"
    assert failure_message([], {}, "/tmp/run") == ""


def test_a_folder_for_outputs_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in (".", "there", "new", "new/deep/er"):
        try_folder(str(tmp_path / name))
        assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    for name, why in (
        ("file", "Not a directory"),
        ("file/x", "Not a directory"),
        ("link", "No such file or directory"),
    ):
        with pytest.raises(ConfigError) as caught:
            try_folder(str(tmp_path / name))
        assert str(caught.value) == (
            f"--outdir: the outputs cannot be written to {tmp_path / name}: {why}\n"
            "  -> name a folder that is writable or can be created"
        )
    with pytest.raises(ConfigError):
        try_folder("/proc/new")
