# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""OpenLineage events of a run, as a server gets them from Airflow's own provider and from the triggerer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import SYSTEM_PATH

pytestmark = pytest.mark.slow

pytest.importorskip("airflow.providers.openlineage")

DOCUMENT = """
cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}}
inputs: {code: int}
steps:
  make:
    in: {}
    out: [made]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo hello > made.txt']
      inputs: []
      outputs: {made: {type: File, outputBinding: {glob: made.txt}}}
  end:
    in: {file: make/made, code: code}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'cat "$0"; exit $1']
      stdout: out.txt
      inputs:
        file: {type: File, inputBinding: {position: 1}}
        code: {type: int, inputBinding: {position: 2}}
      outputs: {out: {type: stdout}}
outputs: {out: {type: File, outputSource: end/out}}
"""
HELLO = "sha1$f572d396fae9206628714fb2ce00f72e94f2258f"


@dataclass
class Backend:
    """What receives the events: a server of OpenLineage's API."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def of(self, run: str, dag: str, task: str | None, kind: str) -> list[dict[str, Any]]:
        """Events of a task (None: of the DAG's run) in a run; which run it is, its START event says."""
        name = dag if task is None else f"{dag}.{task}"
        events = [event for event in list(self.events) if event["job"]["name"] == name]
        ids = {event["run"]["runId"] for event in events if _airflow_run(event) == run}
        return [event for event in events if event["run"]["runId"] in ids and event["eventType"] == kind]


def _airflow_run(event: dict[str, Any]) -> Any:
    facets = event["run"]["facets"]
    facet = facets.get("airflow") or facets.get("airflowDagRun") or {}
    return facet.get("dagRun", {}).get("run_id")


@pytest.fixture(scope="module")
def backend() -> Iterator[tuple[Backend, str]]:
    kept = Backend()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield kept, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def airflow(backend: tuple[Backend, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    home = tmp_path_factory.mktemp("lineage")
    folder = home / "dags"
    folder.mkdir()
    (folder / "main.cwl").write_text(DOCUMENT)
    deployments = {
        "followed": {"type": "local", "config": {}, "workdir": str(home / "followed"), "deferrable": True},
        "here": {"type": "local", "config": {}, "workdir": str(home / "here")},
    }
    for name, end in (("triggers", "followed"), ("workers", "here")):
        bindings = [
            {"step": "/make", "target": {"deployment": "followed"}},
            {"step": "/end", "target": {"deployment": end}},
        ]
        workflow = {"type": "cwl", "config": {"file": "main.cwl"}, "bindings": bindings}
        used = {key: value for key, value in deployments.items() if key in ("followed", end)}
        hybrid = {"version": "v1.0", "workflows": {name: workflow}, "deployments": used}
        (folder / f"{name}.yml").write_text(yaml.safe_dump(hybrid))
        (folder / f"{name}.py").write_text(
            f"from airflow_hybrid import load_dags\nload_dags('{name}.yml', globals())\n"
        )
    transport = {"type": "http", "url": backend[1]}
    settings = {"openlineage.transport": json.dumps(transport), "openlineage.namespace": "lab"}
    with AirflowStack(home / "airflow", folder, path=SYSTEM_PATH, settings=settings) as stack:
        yield stack


def one(backend: Backend, run: str, dag: str, task: str | None, kind: str) -> dict[str, Any]:
    """The only event of a task's end; a DAG run's comes a moment after the run's end."""
    events = wait_for(
        lambda: backend.of(run, dag, task, kind), 30, lambda: f"no {kind} of {dag} {task}: {backend.events}"
    )
    assert len(events) == 1
    return events[0]


@pytest.mark.parametrize("dag", ["triggers", "workers"])
def test_each_step_tells_its_files_whoever_ends_it(
    airflow: AirflowStack, backend: tuple[Backend, str], dag: str
) -> None:
    kept, _ = backend
    airflow.api.unpause(dag)
    run = airflow.api.trigger(dag, {"code": 0})
    airflow.api.succeed(dag, run)
    of_run = one(kept, run, dag, None, "START")
    made = airflow.api.xcom(dag, run, "make")["made"]
    for task in ("make", "end", "outputs"):
        began, ended = one(kept, run, dag, task, "START"), one(kept, run, dag, task, "COMPLETE")
        assert began["run"]["runId"] == ended["run"]["runId"]
        parent = ended["run"]["facets"]["parent"]
        assert (parent["run"]["runId"], parent["job"]) == (of_run["run"]["runId"], {**parent["job"], "name": dag})
        assert parent["root"]["run"]["runId"] == of_run["run"]["runId"]
        assert ended["job"]["namespace"] == "lab"
        assert ended["job"]["facets"]["jobType"]["jobType"] == "TASK"
        assert ended["run"]["facets"]["processing_engine"]["name"] == "Airflow"
        told, first = ended["run"]["facets"]["airflow"], began["run"]["facets"]["airflow"]
        assert (told["dagRun"]["run_id"], told["task"]["task_id"]) == (run, task)
        assert (told["dag"], told["task"], told["taskUuid"]) == (first["dag"], first["task"], first["taskUuid"])
    (output,) = one(kept, run, dag, "make", "COMPLETE")["outputs"]
    path = made["location"].removeprefix("hybrid://followed/localhost")
    assert (output["namespace"], output["name"]) == ("file://followed/localhost", path)
    assert output["facets"]["version"]["datasetVersion"] == made["checksum"] == HELLO
    assert output["outputFacets"]["outputStatistics"]["size"] == 6
    end = one(kept, run, dag, "end", "COMPLETE")
    assert [(file["namespace"], file["name"]) for file in end["inputs"]] == [(output["namespace"], output["name"])]
    (result,) = one(kept, run, dag, "outputs", "COMPLETE")["outputs"]
    assert (result["namespace"], Path(result["name"]).read_text()) == ("file", "hello\n")
    read = one(kept, run, dag, "outputs", "COMPLETE")["inputs"]
    assert [file["name"] for file in read] == [file["name"] for file in end["outputs"]]


@pytest.mark.parametrize("dag", ["triggers", "workers"])
def test_a_step_that_fails_says_why(airflow: AirflowStack, backend: tuple[Backend, str], dag: str) -> None:
    kept, _ = backend
    airflow.api.unpause(dag)
    run = airflow.api.trigger(dag, {"code": 3})
    assert airflow.api.wait_run(dag, run)["state"] == "failed"
    error = one(kept, run, dag, "end", "FAIL")["run"]["facets"]["errorMessage"]["message"]
    assert "exit code 3" in error
    one(kept, run, dag, None, "FAIL")
