# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What jobs should ask for, by what those of earlier runs used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_hybrid.model import JobState
from airflow_hybrid.model.outline import DagOutline, StepOutline
from airflow_hybrid.model.records import JobRecord, JobsReport
from airflow_hybrid.overviews.lineage import RunLineage
from airflow_hybrid.overviews.overview import RunFacts, overview_of
from airflow_hybrid.overviews.sizing import USUAL, Enough, PastRun, Proposal, Rule, enough_for, proposals, propose
from airflow_hybrid.overviews.tasks import RunJobs, RunState, TaskJobs

JOB = JobRecord(
    "/a", "", "hpc", "", "login", JobState.COMPLETED, seconds=100.0, cpu_s=50.0, cores=4, memory_mib=4096,
    memory_used_mib=500,
)  # fmt: skip


MPI = replace(JOB, processes=8, cores=8, memory_mib=16000, memory_used_mib=15234, cpu_s=700.0)


def jobs(*changes: dict[str, Any]) -> list[JobRecord]:
    return [replace(JOB, **change) for change in changes]


SAME: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("records", "proposal"),
    [
        (
            jobs(SAME, SAME, SAME),
            Proposal("/a", 3, 1, cores=1, ram_mib=640, cores_asked=4, ram_asked_mib=4096),
        ),
        (
            jobs(SAME, {"memory_used_mib": 4000}, SAME),
            Proposal("/a", 3, 1, cores=1, ram_mib=4416, cores_asked=4, ram_asked_mib=4096),
        ),
        (
            jobs({"cpu_s": 290.0}, {"cpu_s": 250.0}, SAME),
            Proposal("/a", 3, 1, cores=3, ram_mib=640, cores_asked=4, ram_asked_mib=4096),
        ),
        (
            jobs(*[{"cores": None, "memory_mib": None}] * 3),
            Proposal("/a", 3, 1),
        ),
        (
            jobs(*[{"cores": None, "memory_mib": None, "memory_used_mib": 2000}] * 3),
            Proposal("/a", 3, 1, ram_mib=2432),
        ),
        (
            jobs(*[{"memory_mib": 640, "cores": 1}] * 3),
            Proposal("/a", 3, 1, cores_asked=1, ram_asked_mib=640),
        ),
        (
            jobs(SAME, SAME, SAME, {"state": JobState.OUT_OF_MEMORY, "memory_used_mib": None}),
            Proposal(
                "/a", 3, 1, cores=1, ram_mib=4928, cores_asked=4, ram_asked_mib=4096,
                notes=("1 job ended for lack of memory",),
            ),
        ),
        (
            jobs(SAME, SAME, SAME, {"state": JobState.TIMEOUT, "seconds": 600.0}),
            Proposal(
                "/a", 3, 1, cores=1, ram_mib=640, walltime_s=840, cores_asked=4, ram_asked_mib=4096,
                notes=("1 job ended at the time limit",),
            ),
        ),
        (
            jobs(*[{"memory_used_mib": None, "cpu_s": None}] * 3),
            Proposal(
                "/a", 3, 1, cores_asked=4, ram_asked_mib=4096,
                notes=(
                    "how much memory its jobs used is unknown there",
                    "how much processor time its jobs used is unknown there",
                ),
            ),
        ),
        (
            jobs(SAME, {"state": JobState.FAILED}),
            Proposal(
                "/a", 1, 1, cores_asked=4, ram_asked_mib=4096,
                notes=("1 job succeeded: a proposal needs 3",),
            ),
        ),
    ],
    ids=[
        "less than asked", "more than asked", "three cores", "nothing asked", "nothing asked and much used", "fits",
        "killed for memory", "killed for time", "unknown", "too few",
    ],
)  # fmt: skip
def test_a_proposal_covers_what_succeeded_and_a_margin(records: list[JobRecord], proposal: Proposal) -> None:
    assert propose("/a", records, 1, Rule()) == proposal


def test_one_large_job_among_many_small_ones_is_never_left_out() -> None:
    records = jobs(*[SAME] * 99, {"memory_used_mib": 3000})
    assert propose("/a", records, 1, Rule()).ram_mib == 3008


def test_steps_are_in_the_order_of_the_document_and_reused_jobs_do_not_count() -> None:
    outline = DagOutline("main.cwl", (StepOutline("/b", "tool"), StepOutline("/a", "tool"), StepOutline("/c", "tool")))
    runs = [
        PastRun(tuple(jobs(SAME, {"step": "/b"}, {"step": "/c", "reused": True}))),
        PastRun(tuple(jobs(SAME, SAME))),
    ]
    assert [(p.step, p.jobs, p.runs) for p in proposals(outline, runs, Rule())] == [("/b", 1, 1), ("/a", 3, 2)]


@pytest.mark.parametrize(
    ("records", "enough"),
    [
        ([], Enough()),
        (jobs(SAME), Enough(1, 640, 180, 1, 1, 1)),
        (jobs({"cpu_s": 150.0, "seconds": 100.0}, SAME), Enough(2, 640, 180, 2, 2, 2)),
        (jobs({"memory_used_mib": None, "cpu_s": None}), Enough(None, None, 180)),
        (
            jobs(SAME, {"state": JobState.FAILED, "memory_used_mib": 9000, "seconds": 900.0}),
            Enough(1, 640, 180, 1, 1, 1),
        ),
        (jobs(SAME, {"state": JobState.OUT_OF_MEMORY, "memory_used_mib": None}), Enough(1, 4928, 180, 1, 1, 1)),
        (jobs(SAME, {"state": JobState.TIMEOUT, "seconds": 600.0}), Enough(1, 640, 840, 1, 1, 1)),
        (jobs(SAME, {"reused": True, "memory_used_mib": 9000}), Enough(1, 640, 180, 1, 1, 1)),
    ],
)
def test_what_would_have_been_enough(records: list[JobRecord], enough: Enough) -> None:
    assert enough_for(records) == enough


def test_the_run_page_proposes_what_tune_would_by_that_run() -> None:
    job = JobRecord(
        "/a", "[0]", "hpc", "", "login", JobState.COMPLETED, seconds=100.0, cpu_s=50.0, cores=4, memory_mib=4096,
        memory_used_mib=500,
    )  # fmt: skip
    killed = replace(job, index="[2]", state=JobState.OUT_OF_MEMORY, memory_used_mib=None, memory_mib=512)
    records = [job, replace(job, index="[1]"), killed, replace(job, index="[2]", attempt=2)]
    outline = DagOutline("a.cwl", (StepOutline("/a", "tool", task_id="a"),))
    for ran in (records[:2], records):
        task = TaskJobs("a", -1, JobsReport(tuple(ran)))
        run = RunState("d", "r", "success", None, None, None)
        (seen,) = overview_of(RunFacts(run, outline, RunJobs((task,)), RunLineage(()), (), {})).steps
        (tuned,) = proposals(outline, [PastRun(tuple(ran))], USUAL)
        assert seen.proposal == tuned
        few = ("2 jobs succeeded: a proposal needs 3",)
        assert tuned.notes == (few if len(ran) == 2 else ("1 job ended for lack of memory",))
        assert tuned.ram_mib == (None if len(ran) == 2 else 640)


def test_what_is_proposed_is_what_the_run_page_calls_enough() -> None:
    records = jobs({"cpu_s": 290.0}, {"memory_used_mib": 900}, SAME, SAME)
    proposal, enough = propose("/a", records, 1, Rule()), enough_for(records)
    assert (proposal.cores, proposal.ram_mib) == (enough.cores, enough.memory_mib)


@pytest.mark.parametrize(
    ("cores", "cpu_s", "proposed"),
    [(8, 700.0, None), (8, 100.0, None), (32, 700.0, 1), (32, 1500.0, 2), (32, 3100.0, None), (8, 1500.0, 2)],
)
def test_cores_are_proposed_for_each_process(cores: int, cpu_s: float, proposed: int | None) -> None:
    proposal = propose("/mpi", [replace(MPI, cores=cores, cpu_s=cpu_s)] * 3, 1, Rule())
    assert (proposal.cores, proposal.cores_asked) == (proposed, cores / 8)
    enough = enough_for([replace(MPI, cores=cores, cpu_s=cpu_s)])
    assert enough.cores == 8 * (enough.cores_each or 0)


def test_mpi_jobs_of_which_nothing_is_known_are_left_alone_and_it_is_said_why() -> None:
    proposal = propose("/mpi", [replace(MPI, cpu_s=None, memory_used_mib=None)] * 3, 1, Rule())
    why = ": of MPI jobs only the accounting of a queue system can tell it"
    assert proposal.resources == {} and proposal.notes == (
        f"how much memory its jobs used is unknown there{why}",
        f"how much processor time its jobs used is unknown there{why}",
    )


def test_what_a_rule_has_given_to_jobs_that_failed_is_needed() -> None:
    small: dict[str, Any] = {"memory_mib": 512, "memory_used_mib": 10}
    records = jobs(
        {**small, "index": "[0]", "state": JobState.FAILED},
        {**small, "index": "[0]", "memory_mib": 2048},
        {**small, "index": "[1]"},
        {**small, "index": "[2]"},
    )
    proposal = propose("/a", records, 1, Rule())
    assert (proposal.ram_asked_mib, proposal.ram_mib) == (512, 2048)
    assert proposal.notes == (
        "some of its jobs failed with less than 2,048 MiB and succeeded with that, whatever they used",
    )
