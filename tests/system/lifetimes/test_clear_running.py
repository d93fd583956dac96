# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Tasks that are cleared while their jobs run: they run anew, and nothing of the old try is left."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack

NAPS = """cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {names: 'string[]', record: string}
outputs: {}
steps:
  nap:
    in: {name: names, record: record}
    out: []
    scatter: name
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo $$ $0 begun >>$1; until [ -e $1.go ]; do sleep 1; done; echo $$ $0 ended >>$1']
      inputs:
        name: {type: string, inputBinding: {position: 1}}
        record: {type: string, inputBinding: {position: 2}}
      outputs: []
"""
ROUNDS = 3


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    folder = tmp_path_factory.mktemp("dags")
    (folder / "naps.cwl").write_text(NAPS)
    for name, deferrable in (("naps_here", False), ("naps_deferred", True)):
        options = {"deployments": {"here": {"type": "local", "config": {}, "deferrable": deferrable}}}
        (folder / f"{name}.py").write_text(
            "from airflow_hybrid import HybridDag\n"
            f"dag = HybridDag({str(folder / 'naps.cwl')!r}, dag_id={name!r}, "
            f"bindings={{'/nap': {{'target': 'here'}}}}, **{options!r})\n"
        )
    with AirflowStack(tmp_path_factory.mktemp("airflow"), folder) as stack:
        yield stack


def alive(record: Path) -> dict[str, list[int]]:
    """The jobs that run, by name: their process ids."""
    begun = [line.split() for line in record.read_text().splitlines()] if record.exists() else []
    ended = {pid for pid, _, what in begun if what == "ended"}
    running: dict[str, list[int]] = {}
    for pid, name, _ in begun:
        if pid not in ended and psutil.pid_exists(int(pid)):
            running.setdefault(name, []).append(int(pid))
    return running


def both_of(record: Path) -> dict[str, list[int]] | None:
    running = alive(record)
    return running if sorted(running) == ["a", "b"] else None


def both_anew(old: dict[str, list[int]], record: Path) -> bool:
    """Whether each job runs again. A task is cleared by itself: the other one's old job may live a little longer."""
    running = alive(record)
    for name, pids in running.items():
        assert len(pids) == 1, f"the old and the new try of job {name} run at the same time"
    return sorted(running) == ["a", "b"] and all(running[name] != old[name] for name in running)


@pytest.mark.parametrize("dag", ["naps_here", "naps_deferred"])
@pytest.mark.faults
def test_cleared_tasks_run_anew_and_end_the_jobs_of_the_old_try(
    airflow: AirflowStack, tmp_path: Path, dag: str
) -> None:
    api = airflow.api
    api.unpause(dag)
    for number in range(ROUNDS):
        record = tmp_path / f"record{number}"
        run = api.trigger(dag, {"names": ["a", "b"], "record": str(record)})

        def why(run: str = run) -> str:
            return api.failures(dag, run)

        old = wait_for(partial(both_of, record), 120, why)
        api.clear(dag, run, [["nap", 0], ["nap", 1]], downstream=False)
        # jobs of the old try would not end by themselves
        wait_for(partial(both_anew, old, record), 240, why, poll_s=0.1)
        Path(f"{record}.go").touch()
        api.succeed(dag, run)
        lines = [line.split() for line in record.read_text().splitlines()]
        assert sorted(line[1] for line in lines if line[2] == "ended") == ["a", "b"]
        assert len(lines) == 6, lines
        tries: Any = {task["map_index"]: task["try_number"] for task in api.tasks(dag, run) if task["task_id"] == "nap"}
        assert tries == {0: 2, 1: 2}
