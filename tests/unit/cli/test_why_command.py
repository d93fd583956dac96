# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid why``: how answers are printed, and which of them."""

from __future__ import annotations

from airflow_hybrid.cli.why import row, text
from airflow_hybrid.runs.answers.why import Answer

FAILED = Answer(
    "/align", "failed", "it ran out of memory", "raise it", jobs=312, total=10_000, first="[17]", place="hpc/long"
)


def test_paragraphs_for_people() -> None:
    one = Answer("/a\x1b[2J", "failed", "it\ncrashed", jobs=1, total=1)
    waits = Answer("/b", "waits", "jobs with a higher priority come first", jobs=2, total=4, place="hpc")
    run = Answer("", "waits", "the DAG is paused", "unpause it")
    not_run = Answer("/c", "not run", "because /a failed", "repair that")
    single = Answer("/d", "failed", "it crashed", jobs=1, total=3, first="[2]")
    assert text([FAILED, one, waits, run, not_run, single]) == (
        "/align failed at hpc/long (312 of 10,000 jobs, first: [17])\n"
        "  it ran out of memory\n"
        "  -> raise it\n"
        "/a\\x1b[2J failed (1 job)\n"
        "  it\\ncrashed\n"
        "/b waits at hpc (2 of 4 jobs)\n"
        "  jobs with a higher priority come first\n"
        "the run waits\n"
        "  the DAG is paused\n"
        "  -> unpause it\n"
        "/c was not run because /a failed\n"
        "  -> repair that\n"
        "/d failed (1 of 3 jobs: [2])\n"
        "  it crashed\n"
    )
    assert text([]) == "nothing waits or has failed\n"
    assert text([], "/align") == "nothing below /align waits or has failed\n"


def test_steps_that_were_not_run_for_the_same_reason_are_one_line() -> None:
    after = [Answer(f"/step{n}", "not run", "because /align failed", "repair that") for n in range(1, 12)]
    other = Answer("/last", "not run", "because /qc failed", "repair that")
    assert text([FAILED, *after[:1], other, *after[1:], Answer("outputs", "not run", "because /qc failed")]) == (
        "/align failed at hpc/long (312 of 10,000 jobs, first: [17])\n"
        "  it ran out of memory\n"
        "  -> raise it\n"
        "these steps were not run because /align failed: /step1, /step2, /step3, /step4, /step5, /step6, /step7,"
        " /step8, /step9, /step10 and 1 more\n"
        "  -> repair that\n"
        "these steps were not run because /qc failed: /last, the run's outputs (task outputs)\n"
        "  -> repair that\n"
    )


def test_a_step_has_one_block() -> None:
    runs = Answer("/align", "runs", "its jobs run", jobs=20, total=10_000, place="hpc/long")
    other = Answer("/b", "runs", "its jobs run")
    assert text([FAILED, other, runs]) == (
        "/align\n"
        "  failed at hpc/long (312 of 10,000 jobs, first: [17])\n"
        "    it ran out of memory\n"
        "    -> raise it\n"
        "  runs at hpc/long (20 of 10,000 jobs)\n"
        "    its jobs run\n"
        "/b runs\n"
        "  its jobs run\n"
    )


def test_rows() -> None:
    assert row(FAILED) == {
        "step": "/align", "state": "failed", "jobs": "312 of 10,000 jobs, first: [17]", "place": "hpc/long",
        "why": "it ran out of memory", "remedy": "raise it",
    }  # fmt: skip
