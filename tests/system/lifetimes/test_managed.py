# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Deployments that are made for a DAG run: compose projects in real containers, around the steps bound to them."""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_hybrid.config import for_run, load_hybrid_file, parse_deployments
from airflow_hybrid.model import FileRef
from airflow_hybrid.removal import MARKER, MARKER_LINE
from airflow_hybrid.sites.check import FAIL, OK, check
from airflow_hybrid.sites.connectors import open_connector
from tests.needs import unavailable
from tests.system.airflow_api import wait_for
from tests.system.airflow_stack import AirflowStack
from tests.system.conftest import Dags

IMAGE = "docker.io/library/debian:stable-slim"
COMPOSE = Path(sys.executable).with_name("podman-compose")
pytestmark = pytest.mark.slow


def in_loop(work: Callable[[Any], Coroutine[Any, Any, Any]], deployments: Any) -> Any:
    async def run() -> Any:
        return await work(deployments)

    return asyncio.run(run())


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
        script = Path(__file__).parents[2] / "conformance" / "make_images"
        made = subprocess.run([script, IMAGE], capture_output=True, text=True, check=False)
        if made.returncode:
            unavailable("the image", "mmdebstrap and a Debian mirror", made.stderr[-500:])


class Box:
    """DAGs like ``box.cwl``: its job in a compose project of the run, on this machine."""

    def __init__(self, airflow: AirflowStack, dags: Dags) -> None:
        self.airflow, self.api, self.dags = airflow, airflow.api, dags

    def add(self, name: str, *, file: str = "box-compose.yml", service: str = "worker", **dag: Any) -> str:
        config = {"files": [file], "composeCommand": str(COMPOSE), "deployTimeout": 120}
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
    left = podman("ps", "-aq", "--filter", "name=^ah-")
    assert not left, podman("ps", "-a")


def wait_failed(box: Box, dag: str, run: str) -> str:
    """The run has failed; the log of its ``deploy_box``, last try."""
    assert box.api.wait_run(dag, run)["state"] == "failed"
    (task,) = [t for t in box.api.tasks(dag, run) if t["task_id"] == "deploy_box"]
    return box.api.log(dag, run, "deploy_box", try_number=task["try_number"])


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


WRONG = {
    "service": ("box-compose.yml", "wrker", ["has no service 'wrker'", "its services are: store, worker"]),
    "image": ("box-image.yml", "worker", ["could not start the services", "localhost/no-such-image"]),
    "health": ("box-health.yml", "worker", ["a service did not start", "store", "unhealthy", "| it broke"]),
    "syntax": ("box-syntax.yml", "worker", ["does not accept the compose file", "yaml"]),
}


def test_what_cannot_be_deployed_is_said_once_and_leaves_nothing(box: Box, dags: Dags) -> None:
    good = yaml.safe_load((dags.folder / "documents" / "box-compose.yml").read_text())
    image, health = copy.deepcopy(good), copy.deepcopy(good)
    image["services"]["worker"]["image"] = "localhost/no-such-image:1"
    health["services"]["store"] |= {
        "command": ["sh", "-c", "echo it broke; exec sleep infinity"],
        "healthcheck": {"test": ["CMD", "false"], "interval": "1s", "retries": 2},
    }
    (dags.folder / "documents" / "box-image.yml").write_text(yaml.safe_dump(image))
    (dags.folder / "documents" / "box-health.yml").write_text(yaml.safe_dump(health))
    (dags.folder / "documents" / "box-syntax.yml").write_text("services: {worker: [}")
    names = {
        box.add(f"box_{kind}", file=file, service=service, retries=0): words
        for kind, (file, service, words) in WRONG.items()
    }
    runs = {dag: box.start(dag) for dag in names}
    for dag, words in names.items():
        log = wait_failed(box, dag, runs[dag])
        for word in words:
            assert word in log, log
        assert "Traceback" not in log
        states = box.api.states(dag, runs[dag])
        assert states["make"] == states["outputs"] == "upstream_failed"
    assert podman("ps", "-aq", "--filter", "name=^ah-") == ""


@pytest.mark.parametrize(
    ("text", "result", "words"),
    [
        ("services: {worker: {image: here, command: [sleep, '9']}}", OK, "services: worker"),
        ("services: {worker: [image]}", FAIL, "does not accept the compose file"),
        (None, FAIL, "there is no compose file"),
    ],
)
async def test_a_check_reads_the_compose_file_and_makes_nothing(
    containers: None, tmp_path: Path, text: str | None, result: str, words: str
) -> None:
    file = tmp_path / "compose.yml"
    if text is not None:
        file.write_text(text)
    config = {"files": [str(file)], "composeCommand": str(COMPOSE)}
    (finding,) = await check(parse_deployments({"box": {"type": "docker-compose", "config": config}}), names=["box"])
    assert finding.result == result and words in finding.detail
    assert there("ah-") == []


@pytest.mark.long
def test_a_run_that_is_stopped_leaves_nothing_and_cleanup_takes_what_a_killed_airflow_left(
    box: Box, dags: Dags, tmp_path: Path
) -> None:
    dag = box.add("box_slow")
    run = box.start(dag, "slow")
    wait_for(lambda: box.api.states(dag, run).get("make") == "deferred", 180, lambda: box.api.failures(dag, run))
    token = box.token(dag, run)
    assert there(token)
    # as if Airflow, and then its record of the run, had gone; and one that another Airflow made
    lost, foreign = token[:10] + "0123456789", "ah-ffffff-0123456789"
    file = dags.folder / "documents" / f"{dag}.yml"
    deployments = load_hybrid_file(file, cache_dir=str(tmp_path)).deployments
    for other in (lost, foreign):
        in_loop(lambda d: open_connector(d, "box").deploy(["worker"]), for_run(deployments, other, "x y"))
    try:
        would = box.airflow.airflow("hybrid", "cleanup", str(file), "--dry-run")
        assert "would be removed: box at local (localhost): 2 container" in would and foreign[3:9] in would
        assert there(lost)
        assert "removed: box at local" in box.airflow.airflow("hybrid", "cleanup", str(file))
        assert (there(lost), bool(there(foreign)), bool(there(token))) == ([], True, True)
    finally:
        in_loop(lambda d: open_connector(d, "box").undeploy(), for_run(deployments, foreign, ""))
    box.api.mark(dag, run, "make", "failed")
    assert box.api.wait_run(dag, run)["state"] == "failed"
    assert box.api.states(dag, run)["undeploy_box"] == "success"
    assert there(token) == []


@pytest.mark.long
def test_a_step_that_is_cleared_gets_its_deployment_anew(box: Box) -> None:
    dag = box.add("box_clear")
    run = box.start(dag)
    box.api.succeed(dag, run)
    box.api.clear(dag, run, ["make"])
    box.api.succeed(dag, run)
    tries = {task["task_id"]: task["try_number"] for task in box.api.tasks(dag, run)}
    assert tries == {"inputs": 1, "deploy_box": 2, "make": 2, "read": 2, "outputs": 2, "undeploy_box": 2}
    assert there(box.token(dag, run)) == []


@pytest.mark.long
def test_old_runs_folders_go_by_age(box: Box, dags: Dags, tmp_path: Path) -> None:
    dag, work = "box_old", tmp_path / "work"
    workflow = {
        "type": "cwl",
        "config": {"file": "box.cwl"},
        "bindings": [{"step": "/", "target": {"deployment": "here", "workdir": str(work)}}],
    }
    dags.add(dag, {"version": "v1.0", "workflows": {dag: workflow}, "deployments": {"here": {"type": "local"}}})
    for name, age_s in (("old", 3 * 86400), ("new", 0), ("unmarked", 3 * 86400)):
        file = work / dag / name / "make" / "g0-0123456789" / "out"
        file.parent.mkdir(parents=True)
        file.write_text("x")
        if name != "unmarked":
            (file.parent / MARKER).write_text(f"{MARKER_LINE}\n")
            os.utime(file.parent / MARKER, (time.time() - age_s,) * 2)
        for path in (file, *file.parents[:4]):
            os.utime(path, (time.time() - age_s,) * 2)
    hybrid = str(dags.folder / "documents" / f"{dag}.yml")
    said = box.airflow.airflow("hybrid", "cleanup", hybrid, "--older-than", "2d", "--dry-run")
    assert "would be removed" in said and f"{work}/{dag}/unmarked, which has no marker" in said
    box.airflow.airflow("hybrid", "cleanup", hybrid, "--older-than", "2d")
    assert sorted(path.name for path in (work / dag).iterdir()) == ["new", "unmarked"]
