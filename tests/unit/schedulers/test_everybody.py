# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The whole queue of a site: everybody's jobs and ours, by partition."""

from __future__ import annotations

import getpass

import pytest

from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.everybody import PartitionLoad, in_short, in_words, loads
from airflow_hybrid.schedulers.flux import FluxScheduler
from airflow_hybrid.schedulers.pbs import PbsScheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from tests.unit.schedulers.test_estimates import asked

ME = getpass.getuser()
SQUEUE = f"gpu|R|ann\ngpu|PD|ann\nlong|R|{ME}\ngpu|CG|{ME}\ngpu|PD|{ME}\ngpu|PD|annabel\n"
PBS = f"""\
Job id            Name             User              Time Use S Queue
----------------  ---------------- ----------------  -------- - -----
1.pbs             first            ann               00:00:01 R workq
2[].pbs           many             {ME[:15]:17} 0 B workq
2[1].pbs          many             {ME[:15]:17} 00:00:02 R workq
2[2].pbs          many             {ME[:15]:17} 0 Q workq
3.pbs             done             ann               00:00:01 C workq
"""
SGE = f"""\
job-ID  prior   name       user         state submit/start at     queue                          slots ja-task-ID
-----------------------------------------------------------------------------------------------------------------
     17 0.55500 align      ann          r     11/30/2026 04:00:00 all.q@node1                        1 1
     17 0.55500 align      ann          qw    11/30/2026 04:00:00                                    1 2
     18 0.00000 call       {ME[:12]:12} hqw   11/30/2026 04:00:00                                    1
"""
FLUX = f"batch|RUN|ann\nbatch|SCHED|{ME}\nbatch|CLEANUP|{ME}\n"


@pytest.mark.parametrize(
    ("scheduler", "program", "answer", "expected"),
    [
        (SlurmScheduler(), "squeue", SQUEUE, [PartitionLoad("gpu", 2, 3, 1, 1), PartitionLoad("long", 1, 0, 1, 0)]),
        (PbsScheduler(), "qstat", PBS, [PartitionLoad("workq", 2, 1, 1, 1)]),
        (SgeScheduler(), "qstat", SGE, [PartitionLoad("no queue yet", 0, 2, 0, 1), PartitionLoad("all.q", 1, 0, 0, 0)]),
        (FluxScheduler(), "flux", FLUX, [PartitionLoad("batch", 2, 1, 1, 1)]),
        (SlurmScheduler(), "squeue", "", []),
    ],
)
def test_jobs_are_counted_by_partition(
    scheduler: Scheduler, program: str, answer: str, expected: list[PartitionLoad]
) -> None:
    assert loads(asked(scheduler.everybody_command(), **{program: answer})) == expected


@pytest.mark.parametrize("scheduler", [SlurmScheduler(), PbsScheduler(), SgeScheduler(), FluxScheduler()])
def test_a_queue_that_does_not_answer_is_not_empty(scheduler: Scheduler) -> None:
    failing = "EOF\nexit 1\n: <<'EOF'"
    assert loads(asked(scheduler.everybody_command(), squeue=failing, qstat=failing, flux=failing)) is None


def test_a_plain_host_has_no_queue() -> None:
    assert ProcessScheduler().everybody_command() == ""


def test_what_no_queue_says_is_left_out() -> None:
    huge = "9" * 5000
    text = f"queue {huge} 0 0 0 gpu\nqueue 1 0 0 0 {'x' * 500}\nqueue 1 2 0\nqueue end\n"
    assert loads(text) == [PartitionLoad("x" * 60, 1, 0, 0, 0)]


def test_words_for_people() -> None:
    one = [PartitionLoad("gpu", 1, 0, 0, 0)]
    assert in_words(one) == "1 job runs and 0 wait, of which ours: 0 and 0"
    two = [*one, PartitionLoad("long", 3, 40, 2, 1)]
    assert in_words(two) == "4 jobs run and 40 wait, of which ours: 2 and 1 (gpu: 1 and 0, long: 3 and 40)"
    assert in_short(two) == "4 run (2 ours), 40 wait (1 ours)"
    many = [PartitionLoad(f"p{number}", 1, 0, 0, 0) for number in range(10)]
    assert in_words(many).endswith("p7: 1 and 0, 2 more)")
