# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The description of a batch: what its directory keeps, and what jobs may have written into it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.errors import SiteError
from airflow_hybrid.model import Resources
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches.answers import parse_evidence
from airflow_hybrid.sites.batches.directory import description
from airflow_hybrid.sites.batches.questions import Questions
from airflow_hybrid.sites.batches.submitted import BatchMeta, JobMeta, SubmittedBatch
from tests.raising import raising
from tests.unit.sites.shell_hosts import ShellHost, batch

ON_DISK = {
    "keys": ["00000", "00001"],
    "jobs": {"00000": {"o": "out.txt", "w": 60}},
    "max_array": 1000,
    "memory_mib": 512,
}


def test_a_batch_is_described_as_earlier_versions_read_it() -> None:
    made = batch("/w/T/a", 2, resources=Resources(ram_mib=512, explicit=frozenset({"ram_mib"})))
    made = replace(made, jobs=(replace(made.jobs[0], stdout="out.txt", walltime_s=60), made.jobs[1]))
    meta = description(made, 1000)
    assert meta.to_json() == ON_DISK
    assert BatchMeta.from_json(json.loads(json.dumps(ON_DISK))) == meta
    assert [meta.job(0), meta.job(1)] == [JobMeta(stdout="out.txt", walltime_s=60), JobMeta()]


def test_a_batch_of_a_scatter_says_which_jobs_it_has() -> None:
    made = replace(batch("/w/T/a", 2), indexes=("[4]", "[5]"))
    on_disk = json.loads(json.dumps(description(made, 1000).to_json()))
    assert on_disk["indexes"] == ["[4]", "[5]"]
    assert BatchMeta.from_json(on_disk).indexes == ("[4]", "[5]")
    for wrong in (["[4]"], ["[4]", 5], "[4]", None):
        assert BatchMeta.from_json({**on_disk, "indexes": wrong}).indexes == ()


def test_words_of_other_versions_are_left_out() -> None:
    assert BatchMeta.from_json({**ON_DISK, "colour": "red"}) == BatchMeta.from_json(ON_DISK)


def test_streams_are_in_the_job_directory_or_below_the_outputs() -> None:
    one = SubmittedBatch("/w/T/a", ("7",), BatchMeta.from_json(ON_DISK))
    assert one.stdout_path(0) == "/w/T/a/00000/out/out.txt"
    assert one.stderr_path(0) == "/w/T/a/00000/stderr"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "it is not a mapping"),
        ("[" * 100_000, "it is not a mapping"),
        ({}, "`jobs` is not a mapping"),
        ({**ON_DISK, "jobs": []}, "`jobs` is not a mapping"),
        ({**ON_DISK, "jobs": {"00000": "x"}}, "the description of a job is not a mapping"),
        ({**ON_DISK, "jobs": {"00000": {"w": "soon"}}}, "a job's time limit is not a number of seconds"),
        ({**ON_DISK, "jobs": {"00000": {"w": float("nan")}}}, "a job's time limit is not a number of seconds"),
        ({**ON_DISK, "jobs": {"00000": {"o": 1}}}, "the file of a job's stdout or stderr is not a path"),
        ({**ON_DISK, "jobs": {"00000": {"e": "a\0b"}}}, "the file of a job's stdout or stderr is not a path"),
        ({**ON_DISK, "jobs": {"00000": {"e": "a\ud800b"}}}, "the file of a job's stdout or stderr is not a path"),
        ({**ON_DISK, "max_array": 0}, "`max_array` is not a number of elements"),
        ({**ON_DISK, "max_array": "many"}, "`max_array` is not a number of elements"),
        ({**ON_DISK, "memory_mib": True}, "`memory_mib` is not a number of MiB"),
        ({**ON_DISK, "keys": "00000"}, "`keys` is not a list of the batch's jobs"),
        ({**ON_DISK, "keys": []}, "`keys` is not a list of the batch's jobs"),
        ({**ON_DISK, "keys": ["../../x"]}, "not a plain name of a job: '../../x'"),
        ({**ON_DISK, "keys": [1]}, "not a plain name of a job: 1"),
        ({**ON_DISK, "keys": ["a", "a"]}, "two jobs have the same name"),
    ],
)
def test_what_describes_no_batch_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        BatchMeta.from_json(value)
    assert str(refused.value) == message


def test_a_name_of_bytes_that_are_no_text_is_one() -> None:
    assert BatchMeta.from_json({**ON_DISK, "jobs": {"00000": {"o": "a\udcff"}}}).job(0) == JobMeta("a\udcff")


def test_a_description_that_is_nested_without_end_is_none() -> None:
    deep = "[" * 100_000
    seen = parse_evidence(f"#meta\n{deep}\n#ids\n#ec\n#c\n#end\n")
    with raising(ValueError, "it is not a mapping"):
        BatchMeta.from_json(seen.description)


async def test_a_damaged_description_is_told_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "T/a1-x"
    (folder / "ec").mkdir(parents=True)
    (folder / "c").mkdir()
    (folder / "manifest").write_text("../../x\n")
    (folder / "meta.json").write_text(json.dumps({**ON_DISK, "keys": ["../../x"]}))
    host = ShellHost("dash")
    with pytest.raises(SiteError) as damaged:
        await Questions(host, ProcessScheduler()).describe(str(folder))
    assert str(damaged.value) == (
        f"{host.title}: {folder}/meta.json: the description of this batch is damaged: not a plain name of a job: "
        "'../../x'\n  -> something other than airflow_hybrid wrote to it; clear the task to run it again"
    )
    assert not damaged.value.retryable
