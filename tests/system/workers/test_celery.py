# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CeleryExecutor with workers on two machines that share DAG files only: where tasks run, and what they find there."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.model import FileRef
from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.needs import root, unavailable
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import SYSTEM_PATH, Dags
from tests.system.executors import INSTALL_CELERY, missing_for_celery
from tests.system.workers.machines import Machine
from tests.testbed.fixture import Testbed

# on each machine another folder
PRIVATE = Path("/tmp/airflow-hybrid-private")
SLURM = {"type": "slurm", "wraps": "login", "config": {}}
STEPS = ("first", "second", "third")


class Machines:
    """An Airflow with workers on the machines ``one`` and ``two``; ``one`` also serves the default queue."""

    def __init__(self, folder: Path, testbed: Testbed) -> None:
        self.dags = Dags(folder / "dags")
        self.shared = folder / "shared"
        home = folder / "airflow"
        self.one, self.two = (Machine(name, home, folder) for name in ("one", "two"))
        workers = (self.one.worker("one", "default"), self.two.worker("two"))
        self.airflow = AirflowStack(
            home, self.dags.folder, path=SYSTEM_PATH, executor="CeleryExecutor", workers=workers
        )
        self._site = testbed.sites["hpc"]
        self._key, self._known = (str(shutil.copy(file, folder)) for file in (self._site.key, testbed.known_hosts))
        for machine, text in ((self.one, "whale"), (self.two, "shark")):
            file = machine.file(PRIVATE / "given.txt")
            file.parent.mkdir(parents=True)
            file.write_text(f"{text}\n")

    def add(self, name: str, *deployments: dict[str, Any]) -> str:
        """Add a DAG whose steps are bound to one of these deployments each."""
        node = {"hostname": self._site.host, "username": self._site.user, "sshKey": self._key}
        login = {"type": "ssh", "config": {"nodes": [node], "known_hosts": [self._known]}}
        bindings = [{"step": f"/{step}", "target": step} for step in STEPS]
        workflow = {"type": "cwl", "config": {"file": "machines.cwl"}, "bindings": bindings}
        made = dict(zip(STEPS, deployments, strict=True))
        self.dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": {"login": login, **made}})
        self.airflow.api.unpause(name)
        return name

    def run(self, name: str) -> str:
        """Start a run with a file that both machines have, at the same path, with other content."""
        return self.airflow.api.trigger(name, {"file": {"class": "File", "path": str(PRIVATE / "given.txt")}})

    def hosts(self, name: str, run: str) -> dict[str, str]:
        """The machines of the tasks that have run."""
        return {task["task_id"]: task["hostname"] for task in self.airflow.api.tasks(name, run) if task["hostname"]}

    def output(self, name: str, run: str, machine: Machine) -> str:
        """The content of the run's output, which is on this machine."""
        value = self.airflow.api.xcom(name, run, OUTPUTS_TASK)
        return machine.file(FileRef.parse(value["out"]["location"]).path).read_text()

    def error(self, name: str, run: str, step: str) -> str:
        """What the log of a failed step says."""
        assert self.airflow.api.wait_run(name, run)["state"] == "failed"
        assert self.airflow.api.states(name, run)[step] == "failed"
        log = self.airflow.api.log(name, run, step)
        (error,) = re.findall(r" error (.*\n  -> .*)", log)
        return str(error)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, testbed: Testbed) -> Iterator[Machines]:
    root("make machines")
    if lacks := missing_for_celery():
        unavailable("CeleryExecutor", ", ".join(lacks), INSTALL_CELERY)
    made = Machines(tmp_path_factory.mktemp("celery"), testbed)
    with made.airflow:
        yield made
    assert made.airflow.leftovers() == []


def local(queue: str, workdir: Path = PRIVATE) -> dict[str, Any]:
    return {"type": "local", "config": {"queue": queue}, "workdir": str(workdir)}


def test_a_step_runs_where_the_files_are_and_files_of_another_machine_are_an_error(machines: Machines) -> None:
    # the worker of `two` follows the Slurm job itself, as only it has the files
    alone = machines.add("alone", local("two"), {**SLURM, "deferrable": False}, local("two"))
    apart = machines.add("apart", local("one"), local("two"), local("two"))
    runs = {name: machines.run(name) for name in (alone, apart)}
    machines.airflow.api.succeed(alone, runs[alone])
    assert machines.hosts(alone, runs[alone]) == dict.fromkeys(("inputs", *STEPS, "outputs"), "two")
    first, second, third, fourth = machines.output(alone, runs[alone], machines.two).splitlines()
    assert (first, second, fourth) == ("shark", "two", "two") and re.fullmatch("node[123]", third)

    error = machines.error(apart, runs[apart], "second")
    source = re.escape(f"hybrid://first/localhost{PRIVATE}/")
    tell = (
        rf"{source}\S+/out/signed\.txt is not on this machine \(two\), nor is anything else of task first of run \S+ of"
        r" DAG apart, which made it: that task ran on another machine, or its folder was removed\n"
        r"  -> if Airflow's tasks run on several machines, give the local deployment a `queue` \(in its `config`\) that"
        r" the workers of one machine serve, or a `workdir` on a file system that all of Airflow's machines share\."
        r" Then clear that task to run it again"
    )
    assert re.fullmatch(tell, error), error
    assert machines.hosts(apart, runs[apart]) == {"inputs": "one", "first": "one", "second": "two"}


@pytest.mark.workers
def test_the_triggerer_needs_the_files_of_local_deployments_that_remote_steps_read(machines: Machines) -> None:
    shared = machines.add("shared", local("two", machines.shared), SLURM, local("two"))
    far = machines.add("far", local("one"), SLURM, local("one"))
    runs = {name: machines.run(name) for name in (shared, far)}
    machines.airflow.api.succeed(shared, runs[shared])
    first, second, third, fourth = machines.output(shared, runs[shared], machines.two).splitlines()
    assert (first, second, fourth) == ("shark", "two", "two") and re.fullmatch("node[123]", third)
    error = machines.error(far, runs[far], "second")
    here = re.escape(socket.gethostname())
    assert re.match(rf"hybrid://first/\S+ is not on this machine \({here}\), nor is anything else of task first", error)


@pytest.mark.workers
def test_a_file_with_other_content_on_another_machine_is_no_input(machines: Machines) -> None:
    same = machines.add("same", local("two"), local("one"), local("one"))
    run = machines.run(same)  # `inputs` runs in the default queue, on `one`
    digests = [hashlib.sha1(text).hexdigest() for text in (b"shark\n", b"whale\n")]
    assert machines.error(same, run, "first") == (
        f"local (localhost): file://{PRIVATE}/given.txt has changed: its SHA-1 is {digests[0]}, not {digests[1]}\n"
        "  -> if the change is intended, clear the run's task `inputs` and all tasks after it. If Airflow's tasks run"
        " on several machines: this machine (two) must have the same file"
    )
