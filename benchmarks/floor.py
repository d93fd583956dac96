# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What Airflow itself takes for a DAG run: tasks that do nothing, one after the other, beside a chain of ten steps.

    python -m benchmarks.floor --repeat 5

prints, for DAGs of one and of three empty tasks and for ``chain-10-local`` with ``fuse: chains``: the median time from
the DAG run's start to its end, and for each task how long it waited and how long it ran.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.cases import Case
from tests.system.airflow_stack import AirflowStack

EMPTY = """\
from airflow.sdk import DAG, BaseOperator


class Nothing(BaseOperator):
    def execute(self, context):
        return None


with DAG("empty_{tasks}", schedule=None) as dag:
    tasks = [Nothing(task_id=f"task_{{number}}") for number in range({tasks})]
    for first, second in zip(tasks, tasks[1:]):
        first >> second
"""
LENGTHS = (1, 3)
CHAIN = ours.dag_id("chain", "local", ours.FUSED)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="airflow-hybrid-floor-") as name:
        scratch = Path(name)
        dags = scratch / "dags"
        dags.mkdir()
        for tasks in LENGTHS:
            (dags / f"empty_{tasks}.py").write_text(EMPTY.format(tasks=tasks))
        with ours.airflow(scratch, None, None) as stack:
            for number in range(args.repeat + 1):
                salt = f"{secrets.token_hex(4)}-"
                runs = {dag: _run(stack, dag, {}) for dag in (f"empty_{tasks}" for tasks in LENGTHS)}
                outdir = str(scratch / ours.OUT / salt)
                runs[CHAIN] = _run(stack, CHAIN, {**Case("chain", 10).inputs(salt), "outdir": outdir})
                if number:  # the first is not warm
                    _note(runs)
    _print()
    return 0


_figures: dict[str, dict[str, list[float]]] = {}


def _run(stack: AirflowStack, dag: str, conf: dict[str, Any]) -> dict[str, float]:
    """Seconds by name: of the run, and of each of its tasks."""
    run_id = stack.api.trigger(dag, conf)
    run = stack.api.wait_run(dag, run_id, 300, poll_s=1.0)
    if run["state"] != "success":
        raise RuntimeError(stack.api.failures(dag, run_id)[-4000:])
    begin, end = _at(run["start_date"]), _at(run["end_date"])
    figures = {"run": end - begin}
    last = begin
    for task in sorted(stack.api.tasks(dag, run_id), key=lambda task: str(task["start_date"])):
        started, ended = _at(task["start_date"]), _at(task["end_date"])
        figures[f"{task['task_id'][:20]}: waits"] = started - last
        figures[f"{task['task_id'][:20]}: runs"] = ended - started
        last = ended
    figures["end of the run"] = end - last
    return figures


def _at(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _note(runs: dict[str, dict[str, float]]) -> None:
    for dag, figures in runs.items():
        for name, value in figures.items():
            _figures.setdefault(dag, {}).setdefault(name, []).append(value)


def _print() -> None:
    for dag, figures in _figures.items():
        for name, values in figures.items():
            print(f"{dag:20} {name:30} {statistics.median(values):6.3f} s   {min(values):.3f} to {max(values):.3f}")


if __name__ == "__main__":
    main()
