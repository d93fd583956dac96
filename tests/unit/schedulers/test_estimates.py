# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What sites say before anything is submitted, and jobs that have several nodes, as tables."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_hybrid.model import Resources
from airflow_hybrid.schedulers import estimates
from airflow_hybrid.schedulers.base import Submission
from airflow_hybrid.schedulers.estimates import Capacity
from airflow_hybrid.schedulers.pbs import PbsScheduler, TorqueScheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from tests.unit.schedulers.transcripts import recorded

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
        ("capacity 4 8 0 12 1 2 0 3\n", Capacity(12, 8, nodes=3, free_nodes=2)),
        # two lines of sinfo: partitions of other nodes
        ("capacity 4 8 0 12 1 2 0 3 0 16 0 16 0 1 0 1\n", Capacity(28, 24, nodes=4, free_nodes=3)),
        ("capacity \n", Capacity()),
        ("capacity 4 8\n", Capacity()),
        ("capacity 4 8 0 nan 1 2 0 inf\n", Capacity()),
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


def asked(text: str, **programs: str) -> str:
    """What shell text prints where ``programs`` print so."""
    with tempfile.TemporaryDirectory() as folder:
        for name, said in programs.items():
            program = Path(folder, name)
            program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{said}\nEOF\n")
            program.chmod(0o755)
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True, env=environment)
    return done.stdout


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("nodes-aSj", Capacity(8, 8, nodes=1, free_nodes=1)),
        ("nodes-aSj-busy", Capacity(8, 0, nodes=1, free_nodes=0)),
        ("mom-down-nodes-aSj", Capacity(8, 0, nodes=1, free_nodes=0)),
    ],
)
def test_what_the_nodes_of_a_pbs_have(case: str, expected: Capacity) -> None:
    scheduler = PbsScheduler()
    text = asked(scheduler.capacity_command(BATCH), pbsnodes=recorded("pbs", case)["stdout"])
    assert scheduler.parse_capacity(text) == expected


def test_a_pbs_that_does_not_know_has_no_capacity() -> None:
    scheduler = PbsScheduler()
    assert scheduler.parse_capacity(asked(scheduler.capacity_command(BATCH), pbsnodes="")) == Capacity()


QUEUED = """Job Id: 1.pbs
    Job_Name = first
    job_state = R
    queue = workq
Job Id: 2.pbs
    Job_Name = second
    job_state = Q
    queue = workq
    estimated.exec_vnode = (pbs:ncpus=8)
    estimated.start_time = {near}
Job Id: 3.pbs
    job_state = Q
    queue = other
    estimated.start_time = {far}
Job Id: 4.pbs
    job_state = Q
    queue = workq
"""


@pytest.mark.parametrize(
    ("queue", "nodes", "cores", "low", "high", "said"),
    [
        (None, "nodes-aSj", 8, 0, 0, ""),
        ("workq", "nodes-aSj-busy", 1, 500, 600, ""),
        (None, "nodes-aSj-busy", 1, 3500, 3600, ""),
        ("empty", "nodes-aSj-busy", 1, None, None, "no CPUs are free, 0 jobs wait, the site has no estimate"),
        ("workq", "nodes-aSj", 9, 500, 600, ""),
    ],
)
def test_when_a_job_would_start_at_a_pbs(  # noqa: PLR0913 - fixtures and cases
    queue: str | None, nodes: str, cores: int, low: int | None, high: int | None, said: str
) -> None:
    def date(seconds: int) -> str:
        return time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(time.time() + seconds))

    scheduler = PbsScheduler()
    resources = Resources(cores, explicit=frozenset({"cores"}))
    text = scheduler.wait_command(replace(BATCH, options={"queue": queue} if queue else {}, resources=resources))
    programs = {
        "pbsnodes": recorded("pbs", nodes)["stdout"],
        "qstat": QUEUED.format(near=date(600), far=date(3600)),
    }
    wait_s, words = scheduler.parse_wait(asked(text, **programs))
    assert words == said
    assert wait_s is None if low is None or high is None else wait_s is not None and low <= wait_s <= high


def test_a_queue_of_pbs_that_is_stopped_starts_nothing() -> None:
    text = PbsScheduler().wait_command(replace(BATCH, options={"queue": "workq"}))
    found = asked(text, qstat="Queue: workq\n    started = False", pbsnodes=recorded("pbs", "nodes-aSj")["stdout"])
    assert PbsScheduler().parse_wait(found) == (None, "the queue workq is stopped")


def test_what_the_queues_of_a_grid_engine_have() -> None:
    scheduler = SgeScheduler()
    text = asked(scheduler.capacity_command(BATCH), qstat=recorded("sge", "queues")["stdout"])
    assert scheduler.parse_capacity(text) == Capacity(4, 4)
    assert "-q all.q" in scheduler.capacity_command(replace(BATCH, options={"queue": "all.q"}))


HOSTS = """\
HOSTNAME                ARCH         NCPU NSOC NCOR NTHR  LOAD  MEMTOT  MEMUSE  SWAPTO  SWAPUS
----------------------------------------------------------------------------------------------
global                  -               -    -    -    -     -       -       -       -       -
node1                   lx-amd64        2    1    2    2  0.10    7.8G    1.0G     0.0     0.0
   all.q                BIP   0/0/2
   long.q               BIP   0/0/2
node2                   lx-amd64        2    1    2    2  1.90    7.8G    1.0G     0.0     0.0
   all.q                BIP   0/0/2
   long.q               BIP   0/1/2
node3                   lx-amd64        2    1    2    2     -    7.8G       -     0.0       -
   all.q                BIP   0/0/2         au
node4                   lx-amd64        2    1    2    2  0.00    7.8G    1.0G     0.0     0.0
   long.q               BIP   0/0/2         d
"""


@pytest.mark.parametrize(("queue", "free", "nodes"), [(None, 1, 4), ("all.q", 1, 3), ("long.q", 1, 3), ("no.q", 0, 0)])
def test_a_node_of_grid_engine_is_free_if_its_queue_takes_jobs_and_it_has_none(
    queue: str | None, free: int, nodes: int
) -> None:
    scheduler = SgeScheduler()
    command = scheduler.capacity_command(replace(BATCH, options={"queue": queue} if queue else {}))
    capacity = scheduler.parse_capacity(asked(command, qstat=recorded("sge", "queues")["stdout"], qhost=HOSTS))
    assert (capacity.free_nodes, capacity.nodes) == ((free, nodes) if nodes else (None, None))


def test_the_question_to_grid_engine_submits_nothing() -> None:
    text = SgeScheduler().wait_command(replace(BATCH, options={"queue": "all.q"}))
    assert "-w p" in text and "-w e" not in text and " -t 1-" not in text


SEVERAL = replace(BATCH, nodes=4)


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        (SlurmScheduler(), ["--nodes=4"]),
        (PbsScheduler(), ["-l", "select=4:ncpus=1:mpiprocs=1", "-l", "place=scatter"]),
        (TorqueScheduler(), ["-l", "nodes=4:ppn=1"]),
    ],
)
def test_a_job_of_several_locations_asks_for_nodes(scheduler: SlurmScheduler | PbsScheduler, words: list[str]) -> None:
    asked = scheduler.arguments(SEVERAL, 0)
    assert " ".join(words) in " ".join(asked) and scheduler.hosts_command
    alone = " ".join(scheduler.arguments(BATCH, 0))
    assert "nodes" not in alone and "select" not in alone


def test_what_the_service_says_of_nodes_goes_before() -> None:
    assert "--nodes=4" not in SlurmScheduler().arguments(replace(SEVERAL, options={"nodes": 2}), 0)
