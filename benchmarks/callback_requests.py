# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the end of a task that a trigger runs costs Airflow's database and its DAG processor.

    python -m benchmarks.callback_requests

prints, for a scatter of 16 tasks without callbacks and for one whose tasks have an ``on_success_callback``: how many
requests for callbacks were written into the database, how often the DAG processor parsed the file during the run, how
many callbacks were called, and how long the run took.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from tests.system.airflow_stack import AirflowStack

TASKS = 16
DAG_FILE = """\
from airflow.sdk import get_parsing_context

from airflow_hybrid import HybridDag


def note(file, text):
    with open(f"{folder}/" + file, "a") as notes:
        notes.write(text + "\\n")


if get_parsing_context().task_id is None:
    note("{dag_id}.parses", "parsed")

dag = HybridDag(
    "scatter.cwl",
    dag_id="{dag_id}",
    inputs={{"msgs": [str(n) for n in range({tasks})]}},
    outdir="{folder}/out",
    deployments={{"there": {{"type": "local", "deferrable": True, "workdir": "{folder}/work"}}}},
    bindings=[{{"step": "/", "target": {{"deployment": "there"}}}}],
    default_args={{{callback}}},
)
"""
CALLBACK = """"on_success_callback": lambda context: note("{dag_id}.calls", context["ti"].task_id)"""


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dags = folder / "dags"
        dags.mkdir()
        for document in ("scatter.cwl", "echo.cwl"):
            (dags / document).write_bytes((Path(__file__).parent / "cwl" / document).read_bytes())
        for dag_id, callback in (("quiet", ""), ("called", CALLBACK.format(dag_id="called"))):
            text = DAG_FILE.format(dag_id=dag_id, folder=folder, tasks=TASKS, callback=callback)
            (dags / f"{dag_id}.py").write_text(text)
        settings = {"dag_processor.min_file_process_interval": "3600", "dag_processor.refresh_interval": "3600"}
        with AirflowStack(folder / "airflow", dags, database="postgres", settings=settings) as airflow:
            for dag_id in ("quiet", "called"):
                _measure(airflow, dag_id, folder)
    return 0


def _measure(airflow: AirflowStack, dag_id: str, folder: Path) -> None:
    airflow.api.unpause(dag_id)
    requests, parses = _requests(airflow), _lines(folder / f"{dag_id}.parses")
    run_id = airflow.api.trigger(dag_id, {})
    run = airflow.api.wait_run(dag_id, run_id, 600)
    time.sleep(10)  # the DAG processor looks for requests every few seconds
    begin, end = (datetime.fromisoformat(run[key]) for key in ("start_date", "end_date"))
    parsed, called = _lines(folder / f"{dag_id}.parses") - parses, _lines(folder / f"{dag_id}.calls")
    print(
        f"{dag_id}: {run['state']}, {TASKS} tasks ended by a trigger: {_requests(airflow) - requests} requests, "
        f"{parsed} parses, {called} callbacks, {(end - begin).total_seconds():.1f} s",
        flush=True,
    )


def _requests(airflow: AirflowStack) -> int:
    """How many requests have been written, those that the DAG processor has removed included."""
    code = (
        "from airflow import settings; from sqlalchemy import text; settings.configure_orm();"
        'row = settings.Session().execute(text("SELECT n_tup_ins FROM pg_stat_user_tables'
        " WHERE relname = 'callback'\")).scalar(); print('inserted', row)"
    )
    time.sleep(2)  # PostgreSQL's statistics are late
    done = subprocess.run(
        [sys.executable, "-c", code], env=airflow.env, cwd=airflow.home, check=True, capture_output=True, text=True
    )
    return int(done.stdout.rpartition("inserted ")[2])


def _lines(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
