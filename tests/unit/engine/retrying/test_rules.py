# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which failed jobs are run again: by whose fault it was, the exit code, and how often somebody asked."""

from __future__ import annotations

import pytest

from airflow_hybrid.engine.retrying.rules import Decision, StepRetries
from airflow_hybrid.model import JobResult, JobState, RetryCodes

FAILED, TIMEOUT, OOM = JobState.FAILED, JobState.TIMEOUT, JobState.OUT_OF_MEMORY
ANY = RetryCodes()


def result(state: JobState, code: int | None) -> JobResult:
    return JobResult(state, code, "", "77_3", "", "/d/stdout", "/d/stderr")


@pytest.mark.parametrize("code", [1, 2, 3, 75, 126, 127, 137, 255])
@pytest.mark.parametrize(
    ("most", "tries", "again"),
    [(0, 1, False), (1, 1, True), (1, 2, False), (2, 1, True), (2, 2, True), (2, 3, False)],
)
def test_a_tool_that_fails_is_run_again_as_often_as_somebody_asked(
    most: int, tries: int, code: int, again: bool
) -> None:
    assert StepRetries(most, tries).decide(result(FAILED, code), None) == Decision(again)
    assert StepRetries(most, tries).decide(result(FAILED, code), "temporaryFail") == Decision(again)


@pytest.mark.parametrize(
    ("code", "declared", "listed", "why_never"),
    [
        (3, "permanentFail", ANY, "exit code 3 is in `permanentFailCodes` of its document"),
        (3, None, RetryCodes(never=(3,)), "exit code 3 is in `retry: not` of its binding"),
        (3, "temporaryFail", RetryCodes(never=(3,)), "exit code 3 is in `retry: not` of its binding"),
        (3, "permanentFail", RetryCodes(never=(3,)), "exit code 3 is in `retry: not` of its binding"),
        (3, None, RetryCodes(never=(4,)), ""),
        (3, "permanentFail", RetryCodes(never=(4,)), "exit code 3 is in `permanentFailCodes` of its document"),
        (3, None, RetryCodes(codes=(3, 4)), ""),
        (3, "permanentFail", RetryCodes(codes=(3, 4)), ""),
        (3, None, RetryCodes(codes=(4,)), "exit code 3 is not in `retry: codes` of its binding"),
        (3, "temporaryFail", RetryCodes(codes=(4,)), ""),
        (3, "permanentFail", RetryCodes(codes=(4,)), "exit code 3 is in `permanentFailCodes` of its document"),
        (3, "temporaryFail", RetryCodes(codes=(4,), never=(3,)), "exit code 3 is in `retry: not` of its binding"),
    ],
)
def test_a_binding_s_lists_take_precedence_over_the_document(
    code: int, declared: str | None, listed: RetryCodes, why_never: str
) -> None:
    retries = StepRetries(2, 1, listed)
    assert retries.decide(result(FAILED, code), declared) == Decision(not why_never, why_never)
    # where nobody asked for retries, no reason is needed
    assert StepRetries(0, 1, listed).decide(result(FAILED, code), declared) == Decision(False)


@pytest.mark.parametrize("state", [JobState.NODE_FAIL, JobState.PREEMPTED, JobState.LOST])
@pytest.mark.parametrize("code", [None, 143])
def test_what_is_nobody_s_fault_is_run_again_though_nobody_asked(state: JobState, code: int | None) -> None:
    retries = StepRetries(0, 4, RetryCodes(codes=(1,), never=(143,)))
    assert retries.decide(result(state, code), "permanentFail") == Decision(True)


@pytest.mark.parametrize("most", [0, 1])
@pytest.mark.parametrize(
    ("ended", "site_fault"),
    [
        (result(JobState.CANCELLED, None), ""),
        (result(JobState.CANCELLED, 3), ""),
        (result(JobState.DISK_FULL, 3), ""),
        (result(FAILED, 3), "its disk or quota was full"),
    ],
)
def test_what_others_or_the_site_did_is_run_again_only_where_somebody_asked(
    ended: JobResult, site_fault: str, most: int
) -> None:
    retries = StepRetries(most, 1, RetryCodes(codes=(1,), never=(3,)))
    assert retries.decide(ended, "permanentFail", site_fault) == Decision(bool(most))


@pytest.mark.parametrize(
    ("ended", "listed", "why_never"),
    [
        (result(TIMEOUT, None), ANY, ""),
        (result(TIMEOUT, None), RetryCodes(codes=(124,)), ""),
        (result(TIMEOUT, None), RetryCodes(codes=(1,)), "exit code 124 is not in `retry: codes` of its binding"),
        (result(TIMEOUT, 124), RetryCodes(never=(124,)), "exit code 124 is in `retry: not` of its binding"),
        (result(OOM, None), ANY, ""),
        (result(OOM, None), RetryCodes(codes=(137,)), ""),
        (result(OOM, None), RetryCodes(never=(137,)), "exit code 137 is in `retry: not` of its binding"),
        (result(OOM, 1), RetryCodes(never=(137,)), ""),
        (result(FAILED, None), RetryCodes(codes=(1,)), ""),
    ],
)
def test_a_job_that_its_queue_ended_counts_as_if_it_had_the_exit_code(
    ended: JobResult, listed: RetryCodes, why_never: str
) -> None:
    assert StepRetries(1, 1, listed).decide(ended, None) == Decision(not why_never, why_never)
    assert StepRetries(0, 1, listed).decide(ended, None) == Decision(False)
