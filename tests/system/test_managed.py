# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Deployments that are made for a DAG run: compose projects in real containers, around the steps bound to them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.model import FileRef
from tests.conftest import unavailable
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags

IMAGE = "docker.io/library/debian:stable-slim"
COMPOSE = Path(sys.executable).with_name("podman-compose")
pytestmark = pytest.mark.slow


def podman(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def there(token: str) -> list[str]:
    """What carries a run's token in its name: containers, networks, volumes."""
    found = podman("ps", "-a", "--format", "{{.Names}}") + podman("network", "ls", "--format", "{{.Name}}")
    return [name for name in (found + podman("volume", "ls", "-q")).split() if token in name]


@pytest.fixture(scope="module")
def containers() -> None:
    """Podman, a compose, and the image."""
    if not shutil.which("podman") or not COMPOSE.exists():
        unavailable("containers", "podman and podman-compose", "apt-get install podman; make .venv/.dev")
    if subprocess.run(["podman", "image", "exists", IMAGE], check=False).returncode:
        script = Path(__file__).parents[1] / "containers" / "make_images"
        made = subprocess.run([script, IMAGE], capture_output=True, text=True, check=False)
        if made.returncode:
            unavailable("the image", "mmdebstrap and a Debian mirror", made.stderr[-500:])


class Box:
    """DAGs like ``box.cwl``: its job in a compose project of the run, on this machine."""

    def __init__(self, airflow: AirflowStack, dags: Dags) -> None:
        self.airflow, self.api, self.dags = airflow, airflow.api, dags

    def add(self, name: str, *, file: str = "box-compose.yml", service: str = "worker", **dag: Any) -> str:
        config = {"files": [file], "composeCommand": str(COMPOSE), "deployTimeout": 60}
        workflow = {
            "type": "cwl",
            "config": {"file": "box.cwl"},
            "bindings": [{"step": "/make", "target": {"deployment": "box", "service": service}}],
            "dag": dag,
        }
        box = {"type": "docker-compose", "config": config}
        self.dags.add(name, {"version": "v1.0", "workflows": {name: workflow}, "deployments": {"box": box}})
        return name

    def start(self, dag: str, mood: str = "good") -> str:
        self.api.unpause(dag)
        return self.api.trigger(dag, {"mood": mood})

    def token(self, dag: str, run: str) -> str:
        return str(self.api.xcom(dag, run, "deploy_box"))


@pytest.fixture(scope="module")
def box(airflow: AirflowStack, dags: Dags, containers: None) -> Iterator[Box]:
    yield Box(airflow, dags)
    left = podman("ps", "-aq", "--filter", "name=ah-")
    assert not left, podman("ps", "-a")


def test_a_deployment_lives_as_long_as_its_run_needs_it(box: Box) -> None:
    dag = box.add("box")
    runs = [box.start(dag, mood) for mood in ("good", "good", "bad")]
    for run, mood in zip(runs, ("good", "good", "bad"), strict=True):
        ended = box.api.wait_run(dag, run)
        states = box.api.states(dag, run)
        assert ended["state"] == ("success" if mood == "good" else "failed"), box.api.failures(dag, run)
        # a teardown hides nothing, and comes in any case
        assert (states["deploy_box"], states["undeploy_box"]) == ("success", "success")
        assert there(box.token(dag, run)) == []
        if mood == "good":
            outputs = box.api.xcom(dag, run, "outputs")
            for port in ("said", "copy"):
                assert Path(FileRef.parse(outputs[port]["location"]).path).read_text() == "the store is ready\n"
    assert len({box.token(dag, run) for run in runs}) == 3
