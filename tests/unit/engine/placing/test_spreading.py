# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How jobs are told which locations they have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.engine.placing.spreading import tell
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import JobScript, Target
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.sge import SgeScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.hosts.local import LocalHost
from tests.raising import raising


def place(scheduler: Scheduler, location: str = "one", count: int = 2) -> Place:
    host = LocalHost("site", location)
    return Place(host, JobQueue(host, scheduler), "/w", {}, Target("site", locations=count))


SCRIPT = JobScript(("prog", "a b"), "/w/k/out", "/w/k/tmp", {"X": "1"})


def test_a_job_of_one_location_is_left_as_it_is() -> None:
    assert tell(SCRIPT, "/w/k", place(ProcessScheduler(), count=1), ()) is SCRIPT


def test_hosts_are_named_in_a_file_with_the_job_s_own_first() -> None:
    told = tell(SCRIPT, "/w/k", place(ProcessScheduler()), [place(ProcessScheduler(), "two")])
    assert told.command == SCRIPT.command and told.environment["X"] == "1"
    assert (told.environment["HYBRID_HOSTFILE"], told.environment["HYBRID_LOCATIONS"]) == ("/w/k/hostfile", "2")
    assert [(entry.target, entry.text) for entry in told.stage] == [("/w/k/hostfile", b"one\ntwo\n")]


@pytest.mark.parametrize("shell", [False, True])
def test_a_queue_names_the_nodes_when_the_job_starts(tmp_path: Path, shell: bool) -> None:
    program = tmp_path / "scontrol"
    program.write_text("#!/bin/sh\nprintf 'n1\\nn2\\n'\n")
    program.chmod(0o755)
    command = (
        ('cat "$HYBRID_HOSTFILE"; echo "$0|$1"',)
        if shell
        else ("sh", "-c", 'cat "$HYBRID_HOSTFILE"; echo "$1"', "x", "a b")
    )
    told = tell(JobScript(command, "", "", shell=shell), str(tmp_path), place(SlurmScheduler()), ())
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **told.environment}
    assert not told.shell
    done = subprocess.run(told.command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("n1\nn2\n") and (shell or done.stdout.endswith("a b\n"))
    program.write_text("#!/bin/sh\nexit 1\n")
    done = subprocess.run(told.command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 71 and "its nodes are not known" in done.stderr


def test_a_queue_that_names_no_nodes_is_told() -> None:
    message = (
        "a job at site (one) cannot have 2 locations\n"
        "  -> leave `locations` out, and ask for nodes by the service's own options"
    )
    with raising(ConfigError, message):
        tell(SCRIPT, "/w/k", place(SgeScheduler()), ())
