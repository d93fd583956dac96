# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""An Edge worker at a site that lets nobody in: it connects to Airflow's API server, and to nothing else."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_hybrid.model import FileRef
from airflow_hybrid.operators.values import OUTPUTS_TASK
from tests.needs import root, unavailable
from tests.system.airflow_stack import AirflowStack, free_port
from tests.system.conftest import SYSTEM_PATH, Dags
from tests.system.executors import Worker
from tests.system.workers.machines import Machine
from tests.testbed.fixture import Testbed

# an Airflow of its own, with workers that ask for tasks once a second: about a minute and a half
pytestmark = pytest.mark.workers

EXECUTOR = "airflow.providers.edge3.executors.EdgeExecutor"
PROGRAM = ("edge", "worker", "--edge-hostname")
PATIENT = {"AIRFLOW__EDGE__API_RETRY_WAIT_MAX": "3", "AIRFLOW__EDGE__API_RETRIES": "200"}
"""while the API server starts, workers ask again every three seconds, for ten minutes"""
SITE = "cloud"
WORKDIR = Path("/tmp/airflow-hybrid-edge")
BARRED = """\
table ip barred {
  chain in { type filter hook input priority -1; iifname != lo tcp flags & (syn | ack) == syn drop; }
}
"""
"""nobody outside can open a connection to the site"""
STEPS = ("first", "second", "third")


class Edge:
    """An Airflow with an Edge worker on this machine, and one in the network of a site."""

    def __init__(self, folder: Path, testbed: Testbed) -> None:
        self.dags = Dags(folder / "dags")
        home = folder / "airflow"
        main = f"{testbed.sites[SITE].host.rpartition('.')[0]}.1"
        port = free_port()
        self.site = Machine("site", home, folder)
        pid = (testbed.folder / SITE / "pid").read_text().split()[0]
        within = ["nsenter", f"--net=/proc/{pid}/ns/net", *self.site.within]
        self.airflow = AirflowStack(
            home, self.dags.folder, path=SYSTEM_PATH, executor=EXECUTOR, port=port, host=main,
            settings={
                "edge.api_enabled": "True",
                "edge.api_url": f"http://{main}:{port}/edge_worker/v1/rpcapi",
                "edge.job_poll_interval": "1",
                # a worker's token is valid for that long; a busy API server takes longer than the default, 10 seconds
                "api_auth.jwt_leeway": "300",
                "workers.execution_api_timeout": "60",
                "database.external_db_managers": "airflow.providers.edge3.models.db.EdgeDBManager",
            },
            workers=(
                Worker("main", ("default",), environment=PATIENT, program=PROGRAM),
                Worker("site", ("site",), within, {**PATIENT, "OWN_LOGS": "1"}, PROGRAM),
            ),
        )  # fmt: skip

    def add(self, name: str, document: str, **targets: str) -> str:
        """Add a DAG whose steps are bound to the deployment ``there``, the site's machine, or ``here``."""
        bindings = [{"step": f"/{step}", "target": target} for step, target in targets.items()]
        workflow = {"type": "cwl", "config": {"file": document}, "bindings": bindings}
        deployments = {
            "there": {"type": "local", "config": {"queue": "site"}, "workdir": str(WORKDIR)},
            "here": {"type": "local", "workdir": str(self.dags.work)},
        }
        used = {target: deployments[target] for target in targets.values()}
        self.dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": used})
        self.airflow.api.unpause(name)
        return name

    def hosts(self, name: str, run: str) -> dict[str, str]:
        """The machines of the tasks that have run."""
        return {task["task_id"]: task["hostname"] for task in self.airflow.api.tasks(name, run) if task["hostname"]}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, testbed: Testbed) -> Iterator[Edge]:
    root("enter the network of a site")
    if importlib.util.find_spec("airflow.providers.edge3") is None:
        unavailable("an Edge worker", "apache-airflow-providers-edge3", "make workers")
    testbed.links(f"{SITE}>main")
    testbed.exec(SITE, "nft", "-f", "-", stdin=BARRED)
    made = Edge(tmp_path_factory.mktemp("edge"), testbed)
    try:
        with made.airflow:
            yield made
    finally:
        testbed.exec(SITE, "nft", "delete", "table", "ip", "barred")
        testbed.links()
    assert made.airflow.leftovers() == []


def test_a_workflow_runs_at_a_site_that_nobody_can_connect_to(edge: Edge, testbed: Testbed) -> None:
    with pytest.raises(OSError), socket.create_connection((testbed.sites[SITE].host, 22), timeout=5):
        pass
    given = WORKDIR / "given.txt"
    edge.site.file(given).parent.mkdir(parents=True)
    edge.site.file(given).write_text("whale\n")
    dag = edge.add("there", "machines.cwl", **dict.fromkeys(STEPS, "there"))
    mixed = edge.add("mixed", "host_name.cwl", first="there", second="here")
    api = edge.airflow.api
    run = api.trigger(dag, {"file": {"class": "File", "path": str(given)}})
    run_of_mixed = api.trigger(mixed, {"greeting": "hello"})
    api.succeed(dag, run)
    assert edge.hosts(dag, run) == dict.fromkeys(("inputs", *STEPS, OUTPUTS_TASK), "site")
    output = FileRef.parse(api.xcom(dag, run, OUTPUTS_TASK)["out"]["location"]).path
    assert edge.site.file(output).read_text() == "whale\nsite\nsite\nsite\n"
    assert not Path(output).exists(), "the site has files of its own"

    # values that are no files go through Airflow to the workers of other queues
    api.succeed(mixed, run_of_mixed)
    main = socket.gethostname()
    assert api.xcom(mixed, run_of_mixed, OUTPUTS_TASK) == {"names": f"hello site {main}"}
    hosts = {"inputs": "main", "first": "site", "second": "main", OUTPUTS_TASK: "main"}
    assert edge.hosts(mixed, run_of_mixed) == hosts
