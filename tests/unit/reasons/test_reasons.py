# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What sites say of jobs that wait, are refused or have failed: each whole sentence and remedy."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_hybrid.model import JobState
from airflow_hybrid.printable import printable
from airflow_hybrid.reasons.clues import clue_in
from airflow_hybrid.reasons.failed import Ended, failed
from airflow_hybrid.reasons.pending import pending, told
from airflow_hybrid.reasons.refused import refused
from airflow_hybrid.schedulers.pbs import PbsScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from tests.unit.reasons.table_rows import FOLDER, Row, rows

SCHEDULERS = ("slurm", "pbs", "sge", "flux", "process", "kubernetes")
PENDING = [(name, row) for name in SCHEDULERS for row in rows(f"pending-{name}")]


def test_every_table_is_read() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {
        *(f"pending-{name}" for name in SCHEDULERS),
        "refused",
        "failed",
    }
    assert len(rows("failed")) > 60 and len(rows("refused")) > 40 and len(PENDING) > 120


@pytest.mark.parametrize(("scheduler", "row"), PENDING, ids=str)
def test_a_job_that_waits(scheduler: str, row: Row) -> None:
    assert pending(row.text, scheduler, "4711") == row.expected


@pytest.mark.parametrize(("scheduler", "row"), PENDING, ids=str)
def test_the_scheduler_is_known_by_its_words(scheduler: str, row: Row) -> None:
    """A report about jobs has the reason, and not the scheduler's name."""
    explanation = pending(row.text, job_id="4711")
    assert (explanation.sentence, explanation.known) == (row.expected.sentence, row.expected.known)


@pytest.mark.parametrize("row", rows("refused"), ids=str)
def test_a_job_that_is_refused(row: Row) -> None:
    assert refused(row.text) == row.expected


@pytest.mark.parametrize("row", rows("failed"), ids=str)
def test_a_job_that_failed(row: Row) -> None:
    assert failed(ended(row)) == row.expected


def ended(row: Row) -> Ended:
    state, _, code = row.text.partition(" ")
    return Ended(
        state=JobState[state],
        exit_code=int(code) if code else None,
        reason=row.facts.get("reason", ""),
        stderr=row.facts.get("stderr", "").replace("\\n", "\n"),
        memory_mib=int(row.facts["memory"]) if "memory" in row.facts else None,
        limit_s=int(row.facts["limit"]) if "limit" in row.facts else None,
        site_fault=row.facts.get("fault", ""),
    )


TELLING = [row for row in rows("failed") if "stderr" in row.facts and row.expected.known]


@pytest.mark.parametrize("row", TELLING, ids=str)
def test_a_record_of_a_job_has_the_line_of_its_stderr_that_tells(row: Row) -> None:
    """Records have no stderr: what they keep of it leads to the same explanation."""
    whole = ended(row)
    line = clue_in(whole.stderr)
    kept = Ended(whole.state, whole.exit_code, f"exit code {whole.exit_code}: {line}", memory_mib=whole.memory_mib)
    assert failed(kept) == row.expected


@pytest.mark.parametrize(
    "stderr",
    [
        "\x1b[1;31mMemoryError\x1b[0m: \x1b[35mno\x1b[0m\n",
        "\x1b[31mModuleNotFoundError: No module named 'numpy'\x1b[0m\n",
        "\x1b[0;31mbash: foo: command not found\x1b[0m\r\n",
        " 10%|#    |\r 90%|#### |\r\x1b[Kbash: foo: command not found\n",
        "\x1b[31mFATAL: \x1b[0m \x1b]8;;http://h\x1b\\container\x1b]8;;\x1b\\: no space left on \x1b[1mdevice\x1b[0m\n",
    ],
)
def test_colours_and_progress_bars_do_not_hide_what_a_stderr_tells(stderr: str) -> None:
    line = clue_in(stderr)
    assert line and "\\x1b" not in line
    plain = clue_in(re.sub(r"\x1b(\[[\d;]*[mK]|\]8;;[^\x1b]*\x1b\\\\)", "", stderr).replace("\r", "\n"))
    assert line == plain
    assert failed(Ended(JobState.FAILED, 1, "", stderr)) == failed(Ended(JobState.FAILED, 1, "", line))


@pytest.mark.parametrize("reason", [row.text for name, row in PENDING if name == "slurm"])
def test_what_can_never_run_is_explained_as_such(reason: str) -> None:
    if SlurmScheduler().hopeless(reason):
        sentence = pending(reason, "slurm").sentence
        assert re.search("so it will never start|do not allow it as it is", sentence)


def test_a_log_explains_only_what_does_not_pass() -> None:
    assert told("Priority", "slurm") == "" and told("SomethingNew", "slurm") == ""
    assert told("qw", "somebody's own scheduler") == ""
    assert SlurmScheduler().explain("JobHeldAdmin") == (
        "JobHeldAdmin: an administrator of the site has put it on hold: ask the site's administrators; `scontrol show"
        " job JOB` shows what they will want to see"
    )
    assert PbsScheduler().explain("H") == (
        "H: it is on hold: `qrls JOB` at the site releases it; where an administrator holds it, ask them"
    )
    assert SgeScheduler().explain("Eqw") == (
        "Eqw: it failed to start, and will not start as it is: `qstat -j JOB` at the site shows the `error reason`;"
        " after a repair, `qmod -cj JOB` lets it try again"
    )


def test_a_site_that_says_nothing() -> None:
    assert pending("").sentence == "the scheduler does not say why it waits"
    assert refused("").sentence == "it gives no reason"


@given(st.text(max_size=300), st.sampled_from(["", *SCHEDULERS]))
def test_any_text_becomes_one_line_that_is_safe_to_show(text: str, scheduler: str) -> None:
    for explanation in (
        pending(text, scheduler), refused(text), failed(Ended(JobState.FAILED, 1, text, text)),
        failed(Ended(JobState.LOST, None, text)), pending(f"Unschedulable: {text}", scheduler),
        pending(f"Not Running: {text}", "pbs"), failed(Ended(JobState.PREEMPTED, None, f"Evicted: {text}")),
    ):  # fmt: skip
        said = explanation.sentence + explanation.remedy
        assert explanation.sentence and printable(said) == said
