# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What sites say before anything is submitted, and jobs that have several nodes, as tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_hybrid.schedulers import estimates
from airflow_hybrid.schedulers.base import Scheduler, Submission
from airflow_hybrid.schedulers.estimates import Capacity
from airflow_hybrid.schedulers.pbs import PbsScheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.schedulers.torque import TorqueScheduler

BATCH = Submission(directory="/home/u/w x/T/a", name="step-0123", jobs=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("capacity 8 32768000 2.50\n", Capacity(8, 5.5, 32000)),
        ("noise\ncapacity 2 - 7.31\n", Capacity(2, 0.0, None)),
        ("capacity - - -\n", Capacity()),
        ("", Capacity()),
    ],
)
def test_what_a_host_has(text: str, expected: Capacity) -> None:
    assert ProcessScheduler().parse_capacity(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("capacity 4 8 0 12\n", Capacity(12, 8)),
        ("capacity 4 8 0 12 0 16 0 16\n", Capacity(28, 24)),  # two lines of sinfo: partitions of other nodes
        ("capacity \n", Capacity()),
        ("capacity 4 8\n", Capacity()),
    ],
)
def test_what_a_partition_has(text: str, expected: Capacity) -> None:
    assert SlurmScheduler().parse_capacity(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wait 600\n", (600.0, "")),
        ("wait -1\n", (0.0, "")),
        ("said sbatch: error: invalid partition\n", (None, "sbatch: error: invalid partition")),
        ("", (None, "")),
    ],
)
def test_when_a_job_would_start(text: str, expected: tuple[float | None, str]) -> None:
    assert estimates.wait(text) == expected


def test_the_question_to_slurm_submits_nothing_and_quotes_the_template() -> None:
    template = "#!/bin/sh\n#SBATCH --time=5\necho 'it''s'\n{{streamflow_command}}\n"
    text = SlurmScheduler().wait_command(replace(BATCH, template=template, options={"partition": "a b"}))
    assert "--test-only" in text and "'--partition=a b'" in text and "--array" not in text
    assert "'\"'\"'it'\"'\"'" in text


SEVERAL = replace(BATCH, nodes=4)


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        (SlurmScheduler(), ["--nodes=4"]),
        (PbsScheduler(), ["-l", "select=4:ncpus=1:mpiprocs=1", "-l", "place=scatter"]),
        (TorqueScheduler(), ["-l", "nodes=4:ppn=1"]),
    ],
)
def test_a_job_of_several_locations_asks_for_nodes(scheduler: Scheduler, words: list[str]) -> None:
    asked = scheduler.arguments(SEVERAL, 0)  # type: ignore[attr-defined]
    assert " ".join(words) in " ".join(asked) and scheduler.hosts_command
    alone = " ".join(scheduler.arguments(BATCH, 0))  # type: ignore[attr-defined]
    assert "nodes" not in alone and "select" not in alone


def test_what_the_service_says_of_nodes_goes_before() -> None:
    assert "--nodes=4" not in SlurmScheduler().arguments(replace(SEVERAL, options={"nodes": 2}), 0)
