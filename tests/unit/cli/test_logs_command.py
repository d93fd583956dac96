# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid logs``: what jobs have written, of real runs, also while they run."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import BatchProgress, JobRecord, JobsReport, job_name
from airflow_hybrid.overviews.tasks import RunJobs, TaskJobs
from airflow_hybrid.runs.found_jobs import find_job
from tests.raising import raising
from tests.unit.web.served import ROOT, Served, served

DAG = """\
from airflow_hybrid import HybridDag
made = HybridDag(
    "made.cwl",
    dag_id="made",
    outdir={outdir!r},
    deployments=dict(near=dict(type="local", workdir={near!r})),
    bindings=[dict(step="/", target=dict(deployment="near"))],
)
"""
WORKFLOW = r"""
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {names: "string[]", gate: string}
outputs: {o: {type: "File[]", outputSource: say/o}}
steps:
  say:
    in: {name: names, gate: gate}
    scatter: name
    out: [o]
    run:
      class: CommandLineTool
      baseCommand:
        - sh
        - -c
        - |
          printf 'one\n\033[2Jtwo\nthree of %s\n' "$0" >&2
          echo "out of $0"
          until [ -e "$1" ]; do sleep 0.1; done
          echo end >&2
      inputs: {name: {type: string, inputBinding: {position: 1}}, gate: {type: string, inputBinding: {position: 2}}}
      stdout: o
      outputs: {o: stdout}
"""


def start(web: Served, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(web.home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    }
    command = [sys.executable, "-m", "airflow", "hybrid", "logs", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def logs(web: Served, *arguments: str) -> tuple[int, str, list[str]]:
    """-> exit code, stdout, and the last lines of stderr."""
    code, out, lines = web.cli("hybrid", "logs", *arguments)
    return code, out, lines[-2:]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    (home / "dags").mkdir()
    (home / "dags/made.cwl").write_text(WORKFLOW)
    (home / "dags/made.py").write_text(DAG.format(outdir=str(home / "results"), near=str(home / "near")))
    with served(home) as web:
        yield web


def run(web: Served, names: list[str], gate: Path) -> str:
    conf = {"names": names, "gate": str(gate)}
    run_id, state = web.ask("run", file=str(web.home / "dags/made.py"), dag_id="made", conf=conf)
    assert state == "success"
    return str(run_id)


@pytest.fixture(scope="module")
def ended(web: Served) -> str:
    (web.home / "open").touch()
    return run(web, ["a", "b"], web.home / "open")


def test_standard_error_and_output_of_a_job(web: Served, ended: str) -> None:
    written = "one\n\033[2Jtwo\nthree of b\nend\n"
    assert logs(web, ended, "/say[1]")[:2] == (0, written)
    assert logs(web, ended, "say [1]", "--stderr", "--tail", "2")[:2] == (0, "three of b\nend\n")
    assert logs(web, ended, "/say[0]", "--stdout", "--follow")[:2] == (0, "out of a\n")


def test_jobs_that_cannot_be_shown(web: Served, ended: str) -> None:
    code, _, lines = logs(web, ended, "/say")
    assert (code, lines) == (1, ["step /say has 2 jobs", "  -> name one: /say[0], /say[1]"])
    code, _, lines = logs(web, ended, "/say[7]")
    assert (code, lines) == (1, ["the run has no job /say[7] that has begun", "  -> steps with jobs: /say"])


def test_a_job_that_runs_is_followed_until_it_has_ended(web: Served) -> None:
    gate, known = web.home / "gate", set((web.home / "near/made").glob("*"))
    running = threading.Thread(target=run, args=(web, ["x"], gate))
    running.start()
    try:
        (folder,) = _until(lambda: set((web.home / "near/made").glob("*")) - known)
        stderr = _until(lambda: list(folder.glob("*/*/g*/a*/*/stderr")))
        _until(lambda: any("x" in file.read_text() for file in stderr))
        time.sleep(5)  # until the task has published that the batch runs
        with start(web, _running(web), "/say[0]", "--follow", "--tail", "1") as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            gate.touch()
            rest, errors = process.communicate(timeout=120)
            assert (first, rest, process.returncode) == (b"three of x\n", b"end\n", 0), errors.decode()
    finally:
        gate.touch()
        running.join()


def _running(web: Served) -> str:
    """The id of the run that is running."""
    with closing(sqlite3.connect(web.home / "airflow.db")) as database:
        ((run_id,),) = database.execute("select run_id from dag_run where state = 'running'").fetchall()
    return str(run_id)


def _until(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + 120
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_what_was_removed_or_replaced_is_not_read(web: Served) -> None:
    run_id = run(web, ["p", "q", "r"], web.home / "open")
    found = {file.read_text().split()[-2]: file for file in (web.home / "near/made").glob("*/*/*/g*/a*/*/stderr")}
    found["q"].unlink()
    found["q"].symlink_to("/etc/passwd")
    found["p"].unlink()
    code, out, lines = logs(web, run_id, "/say[1]")
    assert (code, out) == (1, "")
    assert lines[-1] == f"near (localhost): {found['q']}: a link leads there, or it is no regular file: it is not read"
    assert logs(web, run_id, "/say[0]")[2][-1] == f"near (localhost): there is no file {found['p']}"


# --- which job is meant ----------------------------------------------------------------------------------------------


def record(step: str, index: str, attempt: int = 1) -> JobRecord:
    return JobRecord(step, index, "hpc", "", "hpc", JobState.COMPLETED, attempt=attempt)


def run_jobs(records: list[JobRecord], batches: list[BatchProgress] | None = None) -> RunJobs:
    return RunJobs((TaskJobs("a", 3, JobsReport(tuple(records), tuple(batches or ()))),))


@pytest.mark.parametrize(
    ("step", "index", "name"),
    [
        ("/a", "", "/a"), ("/a", "[3]", "/a[3]"), ("/a/b", "[3] [0]", "/a/b[3][0]"),
        ("/a", ": iteration 2", "/a: iteration 2"), ("/a", "[1]: iteration 2", "/a[1]: iteration 2"),
    ],
)  # fmt: skip
def test_jobs_are_found_by_their_names(step: str, index: str, name: str) -> None:
    jobs = run_jobs([record("/other", ""), record(step, index)])
    assert job_name(step, index) == name
    for given in (name, name[1:], name.replace("[", " [")):
        found = find_job(jobs, given)
        assert (found.record, found.task_id, found.map_index) == (record(step, index), "a", 3)


def test_the_last_try_of_a_job_is_shown_unless_another_one_is_asked_for() -> None:
    jobs = run_jobs([record("/a", "[0]", 2), record("/a", "[0]", 1)])
    assert find_job(jobs, "/a[0]").record == record("/a", "[0]", 2)
    assert find_job(jobs, "/a[0]", attempt=1).record == record("/a", "[0]", 1)


def test_a_running_try_comes_before_one_that_has_ended() -> None:
    running = BatchProgress("/a", "hpc", 2, directory="/w/a2-0000")
    found = find_job(run_jobs([record("/a", "[0]", 1)], [running]), "/a[0]")
    assert found.batches == (("a", 3, running),)
    assert find_job(run_jobs([record("/a", "[0]", 2)], [running]), "/a[0]").batches == ()


def test_of_several_running_jobs_one_is_to_be_named() -> None:
    jobs = run_jobs([], [BatchProgress("/a", "hpc", 2, directory="/w/a1-0000")])
    with raising(HybridError, "step a has 2 jobs\n  -> name one: /a[0]"):
        find_job(jobs, "a")
    with raising(HybridError, "the run has no job /ab[0] that has begun\n  -> steps with jobs: /a"):
        find_job(jobs, "/ab[0]")
