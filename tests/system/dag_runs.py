# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Runs documents as DAGs by ``DAG.test()``, in one process: ``python -m tests.system.dag_runs RUNS.json``.

``RUNS.json``: a list of ``{"document", "options": {...HybridDag arguments}, "conf"}``. Prints one line of JSON: for
each run its state, the workflow's outputs, and the states of its tasks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MARK = "#dag-runs "


def run_dags(home: Path, runs: list[dict[str, Any]], **environment: str) -> list[dict[str, Any]]:
    """Run each of ``runs`` in an Airflow home of its own; their results in order."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dags").mkdir(exist_ok=True)
    (home / "runs.json").write_text(json.dumps(runs))
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.dag_runs", str(home / "runs.json")],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    assert found, done.stdout[-5000:]
    results: list[dict[str, Any]] = json.loads(found[-1][len(MARK) :])
    for result in results:
        result["log"] = done.stdout
    return results


def _main(runs: list[dict[str, Any]]) -> None:
    from airflow.utils.db import initdb

    initdb()
    results = []
    for number, run in enumerate(runs):
        dag_id = f"run_{number}"
        file = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / f"{dag_id}.py"
        file.write_text(
            "from airflow_hybrid import HybridDag\n"
            f"dag = HybridDag({run['document']!r}, dag_id={dag_id!r}, **{run.get('options', {})!r})\n"
        )
        results.append(_run(file, dag_id, run.get("conf")))
    print(MARK + json.dumps(results))


def _run(file: Path, dag_id: str, conf: dict[str, Any] | None) -> dict[str, Any]:
    import runpy

    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    dag = runpy.run_path(str(file))["dag"]
    run = dag.test(run_conf=conf)
    query = select(XComModel.value).where(
        XComModel.dag_id == dag_id, XComModel.run_id == run.run_id, XComModel.task_id == "outputs",
        XComModel.key == "return_value",
    )  # fmt: skip
    with create_session() as session:
        value = session.scalars(query).first()
        states = {
            ti.task_id + (f"[{ti.map_index}]" if ti.map_index >= 0 else ""): str(ti.state)
            for ti in run.get_task_instances(session=session)
        }
    outputs = json.loads(value) if isinstance(value, str) else value
    return {"state": str(run.state), "outputs": outputs, "tasks": states}


if __name__ == "__main__":
    _main(json.loads(Path(sys.argv[1]).read_text()))
