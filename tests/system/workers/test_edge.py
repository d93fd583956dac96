# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""An Edge worker at a site that lets nobody in: it connects to Airflow's API server, and to nothing else."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.model import FileRef
from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.needs import unavailable
from tests.system.airflow_stack import AirflowStack, free_port
from tests.system.conftest import SYSTEM_PATH, Dags
from tests.system.executors import Worker
from tests.system.workers.machines import Machine
from tests.testbed.fixture import Testbed

pytestmark = pytest.mark.workers

EDGE = "airflow.providers.edge3.executors.EdgeExecutor"
PROGRAM = ("edge", "worker", "--edge-hostname")
PATIENT = {"AIRFLOW__EDGE__API_RETRY_WAIT_MAX": "3", "AIRFLOW__EDGE__API_RETRIES": "200"}
"""while the API server starts, workers try again every three seconds, for ten minutes"""
SITE = "cloud"


class Edge:
    """An Airflow with an Edge worker on this machine, and one in the network of a site."""

    def __init__(self, folder: Path, testbed: Testbed) -> None:
        self.dags = Dags(folder / "dags")
        home = folder / "airflow"
        main = f"{testbed.sites[SITE].host.rpartition('.')[0]}.1"
        port = free_port()
        url = f"http://{main}:{port}/edge_worker/v1/rpcapi"
        self.site = Machine("site", home, folder)
        pid = (testbed.folder / SITE / "pid").read_text().split()[0]
        within = ["nsenter", f"--net=/proc/{pid}/ns/net", *self.site.within]
        self.airflow = AirflowStack(
            home, self.dags.folder, path=SYSTEM_PATH, executor=EDGE, port=port, host=main,
            settings={
                "edge.api_enabled": "True",
                # a worker ends if its request waits for longer than its token is valid
                "api_auth.jwt_leeway": "300",
                "edge.api_url": url,
                "database.external_db_managers": "airflow.providers.edge3.models.db.EdgeDBManager",
            },
            workers=(
                Worker("main", ("default",), environment=PATIENT, program=PROGRAM),
                Worker("site", ("site",), within, {**PATIENT, "OWN_LOGS": "1"}, PROGRAM),
            ),
        )  # fmt: skip


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, testbed: Testbed) -> Iterator[Edge]:
    if importlib.util.find_spec("airflow.providers.edge3") is None:
        unavailable("an Edge worker", "apache-airflow-providers-edge3", "make workers")
    testbed.exec(SITE, "sh", "-c", "kill $(cat /run/sshd.pid)")
    testbed.links(f"{SITE}>main")
    made = Edge(tmp_path_factory.mktemp("edge"), testbed)
    try:
        with made.airflow:
            yield made
    finally:
        testbed.links()
        testbed.exec(SITE, "/usr/sbin/sshd", "-f", "/etc/ssh/site_config", "-E", "/var/log/sshd.log")
    assert made.airflow.leftovers() == []


def local(queue: str) -> dict[str, Any]:
    return {"type": "local", "config": {"queue": queue}, "workdir": "/tmp/airflow-hybrid-edge"}


def test_a_step_runs_at_a_site_that_nobody_can_log_in_to(edge: Edge, testbed: Testbed) -> None:
    with pytest.raises(OSError), socket.create_connection((testbed.sites[SITE].host, 22), timeout=5):
        pass
    steps = ("first", "second", "third")
    workflow = {
        "type": "cwl",
        "config": {"file": "machines.cwl"},
        "bindings": [{"step": f"/{step}", "target": "there"} for step in steps],
    }
    given = edge.site.file("/tmp/airflow-hybrid-edge/given.txt")
    given.parent.mkdir(parents=True)
    given.write_text("whale\n")
    edge.dags.add(
        "there", {"version": "v1.0", "workflows": {"there": workflow}, "deployments": {"there": local("site")}}
    )
    api = edge.airflow.api
    api.unpause("there")
    run = api.trigger("there", {"file": {"class": "File", "path": "/tmp/airflow-hybrid-edge/given.txt"}})
    api.succeed("there", run)
    assert {task["hostname"] for task in api.tasks("there", run)} == {"site"}
    value = api.xcom("there", run, OUTPUTS_TASK)
    output = edge.site.file(FileRef.parse(value["out"]["location"]).path)
    assert output.read_text() == "whale\nsite\nsite\nsite\n"
