# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kills while a deployment is made or taken away: the run goes on with it, and nothing of it is left."""

from __future__ import annotations

import importlib.util
import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.needs import unavailable
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags
from tests.system.kube import Kube
from tests.system.kubernetes.test_helm import CHART
from tests.system.lifetimes.test_faults import kill_tasks, task_processes
from tests.system.lifetimes.test_managed import COMPOSE, IMAGE, containers, podman

pytestmark = [pytest.mark.slow, pytest.mark.faults]
__all__ = ["containers"]
STUBBORN = "trap : TERM; while :; do sleep 1; done"
"""does not end when it is asked to, so that taking it away takes its time"""
GRACE_S = 8


class Compose:
    """A compose project whose second service is ready late, and whose first is slow to go."""

    def __init__(self, dags: Dags) -> None:
        self.name = f"box{secrets.token_hex(3)}"
        slow = {"image": IMAGE, "command": ["sh", "-c", STUBBORN], "stop_grace_period": f"{GRACE_S}s"}
        late = {"image": IMAGE, "command": ["sh", "-c", "sleep 6; touch /ready; exec sleep infinity"], "init": True}
        check = {"test": ["CMD", "test", "-e", "/ready"], "interval": "1s", "retries": 60}
        services = {"services": {"main": slow, "late": {**late, "healthcheck": check}}}
        (dags.folder / "documents" / "stubborn.yml").write_text(yaml.safe_dump(services))
        self.deployment = {
            "type": "docker-compose",
            "config": {"files": ["stubborn.yml"], "composeCommand": str(COMPOSE), "deployTimeout": 120},
        }

    def made(self) -> list[str]:
        return podman("ps", "-aq", "--filter", f"name=^ah-.*-{self.name}_").split()

    def going(self) -> bool:
        states = podman("ps", "-a", "--filter", f"name=^ah-.*-{self.name}_", "--format", "{{.Status}}").lower()
        return "stopping" in states or "exited" in states

    left = made


class Manifests:
    """Some pods, which come up one after the other and are slow to go."""

    name = "box"

    def __init__(self, dags: Dags, kube: Kube) -> None:
        self.kube = kube
        main = {"name": "main", "image": kube.tools, "command": ["/usr/bin/sh", "-c", STUBBORN]}
        spec = {"terminationGracePeriodSeconds": GRACE_S, "containers": [main]}
        pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod{i}"}, "spec": spec} for i in range(8)]
        (dags.folder / "documents" / "pods.yml").write_text(yaml.safe_dump_all(pods))
        config = {"kubeconfig": str(kube.kubeconfig), "files": ["pods.yml"], "timeout": 120}
        self.deployment = {"type": "kubernetes", "config": config}

    def made(self) -> list[str]:
        pods = self.kube.get("pods", "--all-namespaces", "-l", "airflow-hybrid/token")
        return [pod["metadata"]["name"] for pod in pods]

    def going(self) -> bool:
        found = self.kube.get("ns", "-l", "airflow-hybrid/token")
        return any(item["metadata"].get("deletionTimestamp") for item in found)

    def left(self) -> list[str]:
        spaces = [item["metadata"]["name"] for item in self.kube.get("ns", "-l", "airflow-hybrid/token")]
        return spaces + self.made()


class Chart(Manifests):
    """A release with a hook that takes its time, and pods that are slow to go."""

    def __init__(self, dags: Dags, kube: Kube) -> None:
        if importlib.util.find_spec("helm_python") is None:
            unavailable("a chart", "Helm's library", "pip install 'airflow-hybrid[helm]'")
        self.kube = kube
        values = {"image": kube.tools, "command": ["/usr/bin/sh", "-c", STUBBORN], "grace": GRACE_S}
        config = {
            "kubeconfig": str(kube.kubeconfig), "chart": str(CHART), "timeout": 120,
            "values": {**values, "replicas": 2, "hook": ["/usr/bin/sleep", "8"]},
        }  # fmt: skip
        self.deployment = {"type": "helm", "config": config}

    def made(self) -> list[str]:
        records = self.kube.get("secrets", "--all-namespaces", "-l", "owner=helm,airflow-hybrid/token")
        return [record["metadata"]["name"] for record in records]


@pytest.fixture(params=["compose", "manifests", "chart"])
def place(request: pytest.FixtureRequest, dags: Dags) -> Any:
    if request.param == "compose":
        request.getfixturevalue("containers")
        return Compose(dags)
    kind = Manifests if request.param == "manifests" else Chart
    return kind(dags, request.getfixturevalue("kube"))


def kill_scheduler(airflow: AirflowStack) -> None:
    airflow.kill("scheduler", family=True)
    airflow.restart("scheduler")


def kill_workers(airflow: AirflowStack) -> None:
    """The processes of tasks, and whatever they have started."""
    below = [child for task in task_processes(airflow) for child in task.children(recursive=True)]
    kill_tasks(airflow)
    for process in below:
        if process.is_running():
            process.kill()


@pytest.mark.parametrize(
    ("moment", "kill"),
    [
        pytest.param("deploy", kill_workers, id="workers-in-deploy"),
        pytest.param("undeploy", kill_workers, id="workers-in-undeploy"),
        pytest.param("deploy", kill_scheduler, id="scheduler-in-deploy"),
        pytest.param("undeploy", kill_scheduler, id="scheduler-in-undeploy"),
    ],
)
def test_a_kill_leaves_nothing_of_a_deployment(  # noqa: PLR0913 - fixtures and cases
    airflow: AirflowStack, dags: Dags, place: Any, moment: str, kill: Callable[[AirflowStack], None],
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    name = "killed_" + request.node.callspec.id.replace("-", "_")
    workflow = {
        "type": "cwl",
        "config": {"file": "handed_on.cwl"},
        "bindings": [{"step": "/first", "target": {"deployment": place.name, "service": "main"}}],
        "dag": {"default_args": {"retries": 2, "retry_delay": 2}},
    }
    dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": {place.name: place.deployment}})
    airflow.api.unpause(name)
    assert place.left() == []
    run = airflow.api.trigger(name, {"word": "hello"})

    def problems() -> str:
        return str(airflow.api.failures(name, run))

    happening = place.made if moment == "deploy" else place.going
    wait_for(lambda: happening() or None, 180, problems, poll_s=0.1)
    assert airflow.api.states(name, run)[f"{moment}_{place.name}"] == "running", "it was over before the kill"
    kill(airflow)
    airflow.api.succeed(name, run, 600)
    task = next(t for t in airflow.api.tasks(name, run) if t["task_id"] == f"{moment}_{place.name}")
    assert task["try_number"] > 1, "the kill was not noticed: the test shows nothing"
    deadline = time.monotonic() + 180
    while place.left() and time.monotonic() < deadline:
        time.sleep(1)
    assert place.left() == []
