# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Batch directories as values and text: what is refused, what is read back."""

from __future__ import annotations

import gzip
import io
import posixpath
import tarfile
from dataclasses import replace
from typing import Any

import pytest

from airflow_hybrid.model import StageEntry
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches import answers, commands
from airflow_hybrid.sites.batches import directory as job_directory
from airflow_hybrid.sites.batches.answers import VerdictKind
from airflow_hybrid.sites.batches.archive import archive
from airflow_hybrid.sites.batches.directory import BatchReport, Ending
from tests.raising import raising
from tests.unit.sites.shell_hosts import batch


@pytest.mark.parametrize(
    "change",
    [
        {"directory": "relative/a"},
        {"directory": "/w/../x/a"},
        {"directory": "/w\nx/a"},
        {"directory": "/w/not plain"},
        {"keys": ("a",)},
        {"keys": ("a", "a")},
        {"keys": ("a", "../b")},
        {"keys": ("a", "manifest")},
        {"keys": ("a", "jobs.0.sh")},
        {"keys": ("a", ".hidden")},
        {"known_batches": ("$(id)",)},
        {"keys": (), "jobs": ()},
    ],
)
def test_names_that_could_mean_something_else_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(batch("/w/T/a", 2), **change)


@pytest.mark.parametrize("target", ["/etc/passwd", "/w/T/a/../b/x", "/w/T/ab/x", "/w/T/a"])
def test_nothing_is_staged_outside_of_the_batch_directory(target: str) -> None:
    made = batch("/w/T/a", 1, job={"stage": (StageEntry("file", target, text=b""),)})
    with raising(ValueError, f"{posixpath.normpath(target)!r} is outside of the batch directory '/w/T/a'"):
        archive(made, SlurmScheduler(), job_directory.submission(made))


def test_the_archive_holds_what_is_made_there_and_ends_in_the_manifest() -> None:
    stage = (StageEntry("link", "/w/T/a/00000/in/1/-f", source="/store/é"), StageEntry("mkdir", "/w/T/a/00000/out/d"))
    made = batch("/w/T/a", 65, job={})
    made = replace(made, jobs=(replace(made.jobs[0], stage=stage), *made.jobs[1:]))
    data = archive(made, SlurmScheduler(), job_directory.submission(made))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
        assert tar.getmember("./00000/in/1/-f").linkname == "/store/é"
    assert names[-1] == "./manifest" and {"./jobs.0.sh", "./jobs.1.sh", "./runner.sh", "./batch.0.sh"} <= set(names)


def test_a_large_archive_is_compressed() -> None:
    made = batch("/w/T/a", 3000)
    sub = job_directory.submission(made)
    data = archive(made, SlurmScheduler(), sub)
    assert data[:2] == b"\x1f\x8b" and len(data) * 5 < len(gzip.decompress(data))
    assert "tar -xzmof -" in commands.submit_command(made, SlurmScheduler(), sub, data)


def test_the_schedulers_name_is_plain_and_unique_to_the_directory() -> None:
    one, two = replace(batch("/w/T/a"), title="é $x/../y z"), replace(batch("/w/U/a"), title="é $x/../y z")
    names = {job_directory.scheduler_name(one), job_directory.scheduler_name(two)}
    assert len(names) == 2 and all(name.replace("-", "").replace(".", "").isalnum() for name in names)
    assert job_directory.scheduler_name(one) == job_directory.scheduler_name(one)


def test_only_a_limit_of_all_jobs_is_the_batchs_limit() -> None:
    made = batch("/w/T/a", 2, job={"walltime_s": 5})
    assert job_directory.submission(made).walltime_s == 5
    made = replace(made, jobs=(made.jobs[0], replace(made.jobs[1], walltime_s=None)))
    assert job_directory.submission(made).walltime_s is None


def test_reports_are_read_back() -> None:
    text = "B a1-x\nK 0\nK 1\nK 2\nI 7;east\nI -\nE ec/0:0 12\nE ec/2:- no\nB b\nK z\n#ah done\n\n"
    verdict = answers.parse_answer(text)
    assert (verdict.kind, verdict.message) == (VerdictKind.DONE, "")
    assert answers.parse_reports(verdict.lines, "/T") == [
        BatchReport("a1-x", "/T/a1-x", ("0", "1", "2"), ("7;east",), {"0": 0, "2": None}),
        BatchReport("b", "/T/b", ("z",), ()),
    ]
    assert [r.attempt for r in answers.parse_reports(verdict.lines, "/T")] == [1, 0]


def test_an_answer_without_verdict_is_none() -> None:
    assert answers.parse_answer("B a\nK 0\n").kind is VerdictKind.CUT_OFF
    assert answers.parse_answer("B a\n#ah perhaps\n#ah done\n").kind is VerdictKind.CUT_OFF
    with raising(ValueError, "the answer was cut off"):
        answers.parse_evidence("#meta\n\n#ids\n7\n#ec\nec/0:0 1\n")


def test_evidence_is_read_back() -> None:
    text = '#meta\n{"keys":["k"]}\n#cancelled\n#ids\n7\n-\n#ec\nec/0:3 150\nec/1:\nec/2:- no room\n'
    text += "#c\nc/0:7_0\nc/all:\n#end\n"
    seen = answers.parse_evidence(text)
    assert seen.description == {"keys": ["k"]} and seen.ids == ("7",) and seen.cancelled and seen.present
    assert seen.endings == {0: Ending(3, 1.5), 2: Ending(None, None, "no room")}
    assert seen.claims == {0: "7_0"}
    assert not answers.parse_evidence("#absent\n#end\n").present


def test_tails_may_hold_anything() -> None:
    assert answers.parse_tails(b"4\na\n\n5\n0\n\n7\n#end\n\n\0\n") == [b"a\n\n5", b"", b"#end\n\n\0"]
