# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A script that runs DAGs with ordinary tasks, callbacks and a listener, and prints what happened as JSON.

A process of its own: Airflow reads its settings when it is imported. All runs share it, because importing Airflow takes
long.

    python -m tests.unit.dag.among_tasks FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow_hybrid.runner.home import Home

WORKFLOW = """
cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}}
inputs: {times: int, file: File}
outputs: {text: {type: string, outputSource: shout/text}}
steps:
  repeat:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'test "$0" -lt 9 && for n in $(seq "$0"); do cat "$1"; done']
      inputs: {times: {type: int, inputBinding: {position: 1}}, file: {type: File, inputBinding: {position: 2}}}
      stdout: repeated.txt
      outputs: {out: stdout}
      temporaryFailCodes: [1]
    in: {times: times, file: file}
    out: [out]
  extra:
    when: $(inputs.times > 5)
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {times: int, file: {type: File, inputBinding: {}}}
      stdout: extra.txt
      outputs: {out: stdout}
    in: {times: times, file: repeat/out}
    out: [out]
  shout:
    run:
      class: CommandLineTool
      baseCommand: [tr, a-z, A-Z]
      inputs: {file: File, extra: File?}
      stdin: $(inputs.file.path)
      stdout: shouted.txt
      outputs:
        text: {type: string, outputBinding: {glob: shouted.txt, loadContents: true, outputEval: '$(self[0].contents)'}}
    in: {file: repeat/out, extra: extra/out}
    out: [text]
"""


class Runs:
    """The runs, in one Airflow, and what their callbacks and listeners were told."""

    def __init__(self, folder: Path) -> None:
        from airflow_hybrid.runner.dag_run import DagRunner

        self.folder = folder
        (folder / "dags" / "w.cwl").write_text(WORKFLOW)
        (folder / "dags" / "d.py").write_text("# the DAGs' file\n")
        (folder / "a.txt").write_text("ab\n")
        self.calls: list[list[str]] = []
        self.seen: dict[str, Any] = {}
        self._runner = DagRunner()

    def dag(self, dag_id: str, inputs: Any, **options: Any) -> Any:
        """A DAG of the workflow; its first step is run by a trigger."""
        from airflow_hybrid import HybridDag

        return HybridDag(
            str(self.folder / "dags" / "w.cwl"),
            dag_id=dag_id,
            inputs=inputs,
            outdir=str(self.folder / "out"),
            fileloc=str(self.folder / "dags" / "d.py"),
            deployments={"there": {"type": "local", "deferrable": True}},
            bindings=[{"step": name, "target": {"deployment": "there"}} for name in ("/repeat", "/extra")],
            **options,
        )

    def callback(self, kind: str) -> Any:
        """A callback of Airflow that notes its call."""

        def called(context: Any) -> None:
            self.note(kind, context["ti"].task_id, context.get("exception"))

        return called

    def note(self, kind: str, task_id: str, error: Any) -> None:
        first = "" if error is None else f"{type(error).__name__}: {str(error).splitlines()[0]}"
        self.calls.append([kind, task_id, first])

    def run(self, dag: Any, conf: dict[str, Any] | None = None) -> None:
        """Run a DAG to its end."""
        from airflow.models.db_callback_request import DbCallbackRequest
        from airflow.utils.session import create_session

        self.calls.clear()
        result = self._runner.run(dag, conf)
        with create_session() as session:
            requests = session.query(DbCallbackRequest).count()
            session.query(DbCallbackRequest).delete()
        self.seen[dag.dag_id] = {
            "states": result.tasks,
            "outputs": result.outputs,
            "errors": [str(error) for error in result.errors],
            "calls": list(self.calls),
            "requests": requests,
        }

    def close(self) -> None:
        self._runner.close()


def values_of_tasks(runs: Runs) -> None:
    """Ordinary tasks before and after the workflow."""
    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.sdk import task

    @task
    def give(value: Any) -> Any:
        return value

    told = []

    @task
    def report(outputs: Any) -> None:
        told.append(outputs["text"])

    file = PythonOperator(task_id="find", python_callable=lambda: "~/a.txt")
    dag = runs.dag("values", {"times": give(2), "file": file})
    with dag:
        report(dag.get_task("outputs").output)
    runs.run(dag)
    runs.seen["values"]["told"] = told
    runs.seen["values"]["params"] = {name: dag.params.get_param(name).description for name in ("times", "file")}

    path = {"class": "File", "path": give.override(task_id="path")("/nowhere")}
    runs.run(runs.dag("given", {"times": give(2), "file": path}), {"times": 1, "file": "~/a.txt"})


def skips(runs: Runs) -> None:
    """Branches and gates of ordinary tasks before the workflow, and in it."""
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.providers.standard.operators.python import BranchPythonOperator

    inputs = {"times": 1, "file": {"class": "File", "path": str(runs.folder / "a.txt")}}
    for dag_id, gated in (("before", "inputs"), ("within", "repeat")):
        dag = runs.dag(dag_id, inputs)
        with dag:
            branch = BranchPythonOperator(task_id="branch", python_callable=lambda: "other")
            branch >> [EmptyOperator(task_id="other"), dag.get_task(gated)]
            dag.get_task("outputs") >> EmptyOperator(task_id="after")
        runs.run(dag)


def callbacks(runs: Runs) -> None:
    """Callbacks, e-mails and listeners of steps that a trigger could end."""
    from airflow.sdk.listener import get_listener_manager

    from tests.unit.dag import listening

    inputs = {"times": 1, "file": {"class": "File", "path": str(runs.folder / "a.txt")}}
    failing = {**inputs, "times": 9}
    kinds = ("on_success_callback", "on_failure_callback", "on_retry_callback", "on_skipped_callback")
    args: dict[str, Any] = {kind: runs.callback(kind) for kind in kinds}
    runs.run(runs.dag("called", inputs, default_args=args))
    runs.run(runs.dag("quiet_failed", failing))
    get_listener_manager().add_listener(listening)  # type: ignore[no-untyped-call]
    args |= {"retries": 1, "retry_delay": timedelta(0), "email": ["a@example.org"], "email_on_retry": False}
    runs.run(runs.dag("called_failed", failing, default_args=args))


def main(folder: Path) -> None:
    os.environ["HOME"] = str(folder)
    os.environ["AIRFLOW__EMAIL__EMAIL_BACKEND"] = "tests.unit.dag.listening.mailed"
    Home(folder, log_level="ERROR").ready()
    from airflow_hybrid.triggers import useless_requests
    from tests.unit.dag import listening

    useless_requests.leave_out()
    runs = Runs(folder)
    listening.note = runs.note
    try:
        values_of_tasks(runs)
        skips(runs)
        callbacks(runs)
    finally:
        runs.close()
    (folder / "seen.json").write_text(json.dumps(runs.seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
