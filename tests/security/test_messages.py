# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What sites, jobs and URLs bring into messages: nothing that moves a cursor, forges a line, or is a secret."""

from __future__ import annotations

import pytest

from airflow_hybrid.engine.failures import Failure, failed, shown_command
from airflow_hybrid.errors import CommandEnd, CommandError, HybridError, SiteError
from airflow_hybrid.model import JobResult, JobScript, JobState
from airflow_hybrid.printable import printable, printable_lines, quoted_lines, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "plain text, größer, 日本, \U0001f468\u200d\U0001f469",
            "plain text, größer, 日本, \U0001f468\u200d\U0001f469",
        ),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u2028b", "a\\u2028b"),
        (b"name-\xff".decode(errors="surrogateescape"), "name-\\xff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_does_not_print_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_lines_stay_lines_only_where_they_are_meant_to() -> None:
    assert printable_lines("a\tb\r\nc\x1bd\u2028e") == "a\tb\nc\\x1bd\ne"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:s3cr3t@example.org/a", "https://***@example.org/a"),
        ("https://ghp_token@example.org/a", "https://***@example.org/a"),
        ("https://a@b:c@example.org/a@2", "https://***@example.org/a@2"),
        ("http://h/a?X-Amz-Signature=1f&part=2#main", "http://h/a?X-Amz-Signature=***&part=***#main"),
        ("http://h/a?s3cr3t", "http://h/a?***"),
        ("http://h/a#access_token=1f", "http://h/a#access_token=***"),
        ("s3://conn@bucket/key", "s3://conn@bucket/key"),
        ("s3://key:s3cr3t@bucket/key", "s3://key:***@bucket/key"),
        ("HTTPS://u:p@h", "HTTPS://***@h"),
        ("curl: (22) 'https://u:p@h/x?t=1' says 403", "curl: (22) 'https://***@h/x?t=***' says 403"),
        ("hybrid://hpc/login/data/a%3Fb", "hybrid://hpc/login/data/a%3Fb"),
        ("file:///data/me@home", "file:///data/me@home"),
        ("http://h/a", "http://h/a"),
    ],
)
def test_secrets_of_urls_are_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert printable(text) == shown


def test_every_error_leaves_them_out() -> None:
    error = HybridError("http://u:p@h\x1b[2J is gone", where="http://h/?token=1", hint="ask\x07")
    assert str(error) == "http://h/?token=***: http://***@h\\x1b[2J is gone\n  -> ask\\x07"
    assert str(SiteError("a", where="b\rc")) == "b\nc: a"


def test_no_line_of_a_site_passes_for_one_of_ours() -> None:
    error = CommandError(
        "the status command failed",
        CommandEnd(location="hpc", command="squeue\nrm", exit_code=1, stderr="down\n  -> do this\x1b[A\n"),
    )
    assert str(error) == "hpc: squeue\\nrm: the status command failed (exit code 1)\n| down\n|   -> do this"
    assert quoted_lines(" \n") == []
    assert quoted_lines("a\nb\nc", most=2, indent="  ") == ["  | b", "  | c"]


def test_no_line_of_a_job_passes_for_one_of_ours() -> None:
    script = JobScript(command=("wget", "https://u:p@h/x"), outdir="/o", tmpdir="/t")
    result = JobResult(
        JobState.FAILED, 1, "exit code 1\nall is well", stderr_tail="a\x85 -> b\x1b[1A\x1b[\n", stdout_path="/o/stdout",
        stderr_path="/o/stderr",
    )  # fmt: skip
    failure = Failure("/step", "hpc", result, "permanentFail", "/o", shown_command(script))
    assert str(failed([failure], 1)) == (
        "the job failed\n"
        "/step at hpc: exit code 1 (permanentFail): exit code 1\\nall is well\n"
        "  command: wget https://***@h/x\n"
        "  stdout: /o/stdout\n"
        "  stderr: /o/stderr\n"
        "  | a\n"
        "  |  -> b\\x1b["
    )
