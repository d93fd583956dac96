# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""airflow_hybrid on a warm Airflow: from a DAG run's start_date to its end_date, as the REST API tells them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import usage
from benchmarks.cases import Case
from benchmarks.peers import SITE_FOLDER, Measured, RunFailed
from tests.system.airflow_stack import COMPONENTS, AirflowStack
from tests.system.postgres import preferred_database
from tests.testbed.fixture import Site, Testbed

OUT = "out"
"""folder of the runs' outputs, of which each names one"""
IDLE_S = 10.0
"""how long an idle Airflow is watched, for the CPU time that it takes anyway"""


@dataclass(frozen=True)
class Mode:
    """How a scatter is bound.

    :ivar binding: options of the binding.
    :ivar deployment: options of the ``local`` deployment.
    """

    name: str
    binding: tuple[tuple[str, Any], ...] = ()
    deployment: tuple[tuple[str, Any], ...] = ()


CHUNKS = Mode("chunks")
BATCH = Mode("batch", (("scatter", "batch"),))
FUSED = Mode("fused", (("fuse", "chains"),))
TRIGGERER = Mode("triggerer", (("scatter", "batch"),), (("deferrable", True),))
"""local jobs that are followed by the triggerer, as remote ones are"""


def write_dags(folder: Path, scratch: Path, site: Site | None, known_hosts: Path | None) -> None:
    """A DAG file and a hybrid file for every document, site and mode."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(document, "local", CHUNKS) for document in ("one", "chain")]
    wanted += [("chain", "local", FUSED)]
    wanted += [("scatter", "local", mode) for mode in (CHUNKS, BATCH, TRIGGERER)]
    wanted += [("scatter", "slurm", mode) for mode in (CHUNKS, BATCH)] if site else []
    wanted += [("chain", "slurm", mode) for mode in (CHUNKS, FUSED)] if site else []
    for document, place, mode in wanted:
        name = dag_id(document, place, mode)
        file = _hybrid_file(name, document, place, mode, scratch, site, known_hosts)
        (folder / f"{name}.yml").write_text(json.dumps(file, indent=1))
        (folder / f"{name}.py").write_text(
            f'from airflow_hybrid import load_dags\n\nload_dags("{name}.yml", globals())  # a DAG\n'
        )


def dag_id(document: str, site: str, mode: Mode) -> str:
    return f"{document}_{site}_{mode.name}"


def _hybrid_file(
    name: str, document: str, place: str, mode: Mode, scratch: Path, site: Site | None, known_hosts: Path | None
) -> dict[str, Any]:
    deployments: dict[str, Any] = {
        "here": {"type": "local", "config": {}, "workdir": str(scratch / "jobs"), **dict(mode.deployment)}
    }
    target = "here"
    if place == "slurm":
        assert site is not None
        target = "slurm"
        deployments = {
            "login": {
                "type": "ssh",
                "config": {
                    "nodes": [f"{site.host}:{site.port}"],
                    "username": site.user,
                    "sshKey": str(site.key),
                    "known_hosts": str(known_hosts),
                },
                "workdir": f"{site.home}/{SITE_FOLDER}",
            },
            "slurm": {"type": "slurm", "config": {}, "wraps": "login"},
        }
    return {
        "version": "v1.0",
        "workflows": {
            name: {
                "type": "cwl",
                "config": {"file": str(Case(document, 1).path)},
                "dag": {"outdirs": [str(scratch / OUT)]},
                "bindings": [{"step": "/", "target": {"deployment": target}, **dict(mode.binding)}],
            }
        },
        "deployments": deployments,
    }


@dataclass
class Ours:
    """One mode of ours as a runner; all share one Airflow."""

    stack: AirflowStack
    scratch: Path
    mode: Mode = CHUNKS

    @property
    def name(self) -> str:
        return "airflow_hybrid" if self.mode is CHUNKS else f"airflow_hybrid ({self.mode.name})"

    @property
    def sites(self) -> tuple[str, ...]:
        return ("local", "slurm") if self.mode is not TRIGGERER else ("local",)

    def run(self, case: Case, salt: str, timeout_s: float) -> Measured:
        """:raises RunFailed, WrongOutputs: see the peers."""
        api = self.stack.api
        dag = dag_id(case.document, case.site, self.mode)
        outdir = self.scratch / OUT / f"{dag}-{salt}"
        run_id = api.trigger(dag, {**case.inputs(salt), "outdir": str(outdir)})
        try:
            # seldom: the API server shares the machine's cores with what is measured
            run = api.wait_run(dag, run_id, timeout_s, poll_s=1.0)
        except TimeoutError as error:
            raise RunFailed(str(error)) from None
        if run["state"] != "success":
            raise RunFailed(api.failures(dag, run_id)[-4000:])
        tasks = len(api.tasks(dag, run_id))
        outputs = api.xcom(dag, run_id, "outputs")
        case.check(outputs, salt, outdir)
        return Measured(_seconds(run["start_date"], run["end_date"]), note=f"{tasks} task instances")

    def cost(self, case: Case, salt: str, timeout_s: float) -> Cost:
        """A run with its CPU time and peak memory; the sampling takes a little time itself."""
        named = self._pids()
        usage.reap(named)
        idle = self._idle_cpu_per_s(named)
        before, started = usage.cpu_s(named), time.monotonic()
        with usage.PeakMemory(named) as memory:
            measured = self.run(case, salt, timeout_s)
        after, took_s = usage.cpu_s(named), time.monotonic() - started
        parts = {name: after[name] - before[name] for name in after}
        return Cost(case, self.name, measured.wall_s, took_s, parts, idle, memory.peaks_mib)

    def _idle_cpu_per_s(self, named: dict[str, int]) -> float:
        before = usage.cpu_s(named)
        time.sleep(IDLE_S)
        after = usage.cpu_s(named)
        return sum(after[name] - before[name] for name in after) / IDLE_S

    def _pids(self) -> dict[str, int]:
        named = {name: self.stack.processes.pid(name) for name in COMPONENTS}
        database = self.stack.database_pid
        return {**named, "postgres": database} if database else named


@dataclass(frozen=True)
class Cost:
    """What a run took.

    :ivar took_s: wall time over which the CPU time was counted.
    :ivar parts_cpu_s: per component with all its children; ``detached``: launchers of jobs, and the jobs.
    :ivar idle_cpu_per_s: CPU seconds per second that Airflow takes with nothing to do.
    :ivar peaks_mib: highest resident memory of one process of each component; ``worker``: of one task.
    """

    case: Case
    engine: str
    wall_s: float
    took_s: float
    parts_cpu_s: dict[str, float]
    idle_cpu_per_s: float
    peaks_mib: dict[str, float]

    @property
    def cpu_s(self) -> float:
        return sum(self.parts_cpu_s.values())

    @property
    def per_job_ms(self) -> float:
        return 1000 * self.cpu_s / self.case.jobs

    @property
    def per_job_net_ms(self) -> float:
        """Without what an idle Airflow would have taken in the same time."""
        return 1000 * (self.cpu_s - self.idle_cpu_per_s * self.took_s) / self.case.jobs


@contextmanager
def airflow(scratch: Path, testbed: Testbed | None, database: str | None) -> Iterator[AirflowStack]:
    """An Airflow with the benchmark's DAGs, unpaused; all is stopped and removed after the block.

    :param database: ``postgres``, ``sqlite``, or None: PostgreSQL where the machine has it.
    """
    dags = scratch / "dags"
    site = testbed.sites["hpc"] if testbed else None
    write_dags(dags, scratch, site, testbed.known_hosts if testbed else None)
    database = database or preferred_database()
    # Airflow's own default, where the tests' Airflow looks at each DAG file every few seconds
    settings = {"dag_processor.min_file_process_interval": "30"}
    with AirflowStack(scratch / "airflow", dags, database, settings=settings) as stack:
        for file in sorted(dags.glob("*.py")):
            stack.api.unpause(file.stem, timeout_s=120)
        yield stack


def _seconds(start: str, end: str) -> float:
    first, last = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (start, end))
    return (last - first).total_seconds()
