# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Deployments that are a container image: containers that stand for a run, and images in which jobs run."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment, for_run, parse_deployments
from airflow_hybrid.errors import DeployError, EndedError, HybridError, JobFailedError
from airflow_hybrid.model import Target
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.connectors import Connector, open_connector
from airflow_hybrid.sites.connectors.base import Deployed
from tests.containers.conftest import MINI
from tests.containers.engine import Bench, text_of
from tests.needs import unavailable

IMAGE = "docker.io/library/debian:stable-slim"
TOKEN = f"ah-0a1b2c-{secrets.token_hex(5)}"
"""of this process only: others on this machine have containers of their own"""
HELLO = """cwlVersion: v1.2
class: CommandLineTool
inputs: {file: File}
outputs: {said: stdout, copy: {type: File, outputBinding: {glob: copy}}}
stdout: said.txt
baseCommand: [sh, -ec, 'cat "$1"; cp "$1" copy; test -e /.inside && echo inside; hostname', sh]
arguments: [$(inputs.file.path)]
"""
PAIR = """cwlVersion: v1.2
class: Workflow
inputs: {file: File}
outputs: {said: {type: File, outputSource: second/said}}
steps:
  first: {run: hello.cwl, in: {file: file}, out: [said, copy]}
  second: {run: hello.cwl, in: {file: first/copy}, out: [said, copy]}
"""


def podman(*arguments: str) -> str:
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=True).stdout


def left() -> list[str]:
    return podman("ps", "-a", "--format", "{{.Names}}", "--filter", f"label=airflow-hybrid/token={TOKEN}").split()


def with_connector(deployments: Any, name: str, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        try:
            return await work(open_connector(deployments, name))
        finally:
            await close_all()

    return asyncio.run(run())


@pytest.fixture
def here(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    (tmp_path / "in.txt").write_text("whale\n")
    (tmp_path / "hello.cwl").write_text(HELLO)
    yield tmp_path
    for name in left():
        podman("rm", "-f", "-v", name)


def deployments(config: dict[str, Any], **more: Any) -> dict[str, Deployment]:
    """One deployment ``box``, as a run sees it."""
    return for_run(parse_deployments({"box": {"type": "podman", "config": config, **more}}), TOKEN, "dag run_1")


def run(root: Path, found: dict[str, Deployment], document: str, target: Target | None = None) -> Any:
    bench = Bench(root, found, target or Target("box"))
    return bench.run(document, {"file": {"class": "File", "path": str(root / "in.txt")}})


# --- containers that stand -------------------------------------------------------------------------------------------


def test_steps_run_in_a_container_that_stands_for_the_run(here: Path) -> None:
    found = deployments({"image": IMAGE, "env": ["A=1"], "hostname": "whalebox"})

    async def deploy(box: Connector) -> list[Deployed]:
        await box.deploy([])
        await box.deploy([])  # again, as after a kill: it is there
        return await box.deployed()

    (there,) = with_connector(found, "box", deploy)
    assert (there.token, there.summary, there.run) == (TOKEN, "1 container", "dag run_1")
    result = run(here, found, PAIR)
    assert text_of(result["said"]) == "whale\nwhalebox\n"
    with pytest.raises(JobFailedError, match="exit code 41"):
        run(here, found, HELLO.replace("hostname", "exit 41"))

    async def undeploy(box: Connector) -> list[Deployed]:
        await box.undeploy()
        await box.undeploy()
        return await box.deployed()

    assert with_connector(found, "box", undeploy) == [] and left() == []


def test_replicas_are_locations(here: Path) -> None:
    found = deployments({"image": IMAGE, "replicas": 2, "sharedPaths": ["/data"]})

    async def deploy(box: Connector) -> list[str]:
        await box.deploy([])
        return [host.location for host in await box.hosts()]

    assert with_connector(found, "box", deploy) == ["container-1", "container-2"]
    assert text_of(run(here, found, HELLO)["said"]).startswith("whale\n")


def test_a_container_that_runs_already_is_used_and_left(here: Path) -> None:
    name = "airflow_hybrid-tests-external"
    podman("run", "-d", "--name", name, "--replace", IMAGE, "sleep", "infinity")
    try:
        found = deployments({"containerId": name}, external=True)
        assert not found["box"].managed
        assert text_of(run(here, found, HELLO)["said"]).startswith("whale\n")
        with pytest.raises(HybridError, match="there is no container nobody"):
            run(here, deployments({"containerId": "nobody"}, external=True), HELLO)
    finally:
        podman("rm", "-f", "-t", "0", name)


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "image": ({"image": "localhost/no-such-image:1"}, ["podman could not get the image 'localhost/no-such-image:1'"]),
    "ends": (
        {"image": IMAGE, "command": ["sh", "-c", "echo it broke; exit 3"]},
        ["the container does not keep running", "exited, exit code 3", "| it broke"],
    ),
    "done": ({"image": IMAGE, "command": ["true"]}, ["the container does not keep running", "exited, exit code 0"]),
    "health": (
        {"image": IMAGE, "healthCmd": "false", "healthRetries": 1, "healthInterval": "1s"},
        ["the container does not keep running", "unhealthy"],
    ),
    "option": ({"image": IMAGE, "network": ["nowhere"]}, ["podman could not start a container", "nowhere"]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_made_is_one_clear_message(here: Path, kind: str) -> None:
    config, words = WRONG[kind]

    async def deploy(box: Connector) -> None:
        try:
            await box.deploy([])
        finally:
            await box.undeploy()

    with pytest.raises(DeployError) as caught:
        with_connector(deployments(config), "box", deploy)
    for word in words:
        assert word in str(caught.value)
    assert "->" in str(caught.value) and left() == []


def test_an_engine_that_is_not_there_is_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "bin").mkdir()
    for name in ("id", "timeout", "sh", "tail", "tr"):
        (here / "bin" / name).symlink_to(f"/usr/bin/{name}")
    said = "of type podman, which cannot be used: podman is not on the PATH"
    with monkeypatch.context() as changed, pytest.raises(DeployError, match=said):
        changed.setenv("PATH", str(here / "bin"))
        with_connector(deployments({"image": IMAGE}), "box", lambda box: box.deploy([]))


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (["kill"], "it was killed"),
        (["rm", "-f", "-t", "0"], "somebody removed it"),
    ],
)
def test_a_container_that_dies_under_a_job_is_said_and_not_waited_for(here: Path, end: list[str], words: str) -> None:
    found = deployments({"image": IMAGE})
    with_connector(found, "box", lambda box: box.deploy([]))
    (name,) = left()
    slow = HELLO.replace("hostname", "touch /started; sleep 100")

    async def both() -> None:
        bench = Bench(here, found, Target("box"))
        running = asyncio.ensure_future(
            bench.go(bench.write(slow), {"file": {"class": "File", "path": f"{here}/in.txt"}})
        )
        while podman("exec", name, "sh", "-c", "test -e /started || echo no"):
            await asyncio.sleep(0.3)
            assert not running.done(), running.exception()
        podman(*end, name)
        await asyncio.wait_for(running, 240)

    with pytest.raises(EndedError, match=words):
        asyncio.run(both())
    # and the next try
    if end == ["kill"]:
        with pytest.raises(EndedError, match=r"no container .* is running\n  ah-.*: exited, exit code 137"):
            run(here, found, HELLO)


# --- images for jobs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anywhere", ["apptainer", "charliecloud"], indirect=True)
def test_jobs_run_in_the_image_of_their_deployment(anywhere: Bench) -> None:
    (anywhere.root / "in.txt").write_text("whale\n")
    (anywhere.root / "hello.cwl").write_text(HELLO)
    box = {"type": anywhere.runtime, "config": {"image": MINI}, "wraps": "here"}
    here = {"type": "local", "workdir": str(anywhere.root / "work")}
    anywhere.deployments = parse_deployments({"box": box, "here": here})
    anywhere.target = Target("box")
    inside = HELLO.replace("hostname", "ls -l /bin/ls; pwd")
    said = text_of(anywhere.run(inside, {"file": {"class": "File", "path": str(anywhere.root / "in.txt")}})["said"])
    assert "/bin/ls -> busybox\n/var/spool/cwl\n" in said


# --- check -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "config", "result", "words"),
    [
        ("podman", {"image": IMAGE}, "ok", ["podman 4", f"{IMAGE} is there"]),
        ("podman", {"image": "localhost/none:1"}, "ok", ["localhost/none:1 would be pulled"]),
        ("singularity", {"image": "docker://x"}, "FAIL", ["singularity cannot be used", "is not on the PATH"]),
        ("charliecloud", {"image": "/no/such/image"}, "FAIL", ["/no/such/image is not there"]),
    ],
)
def test_check_tries_what_a_container_needs(
    here: Path, kind: str, config: dict[str, Any], result: str, words: list[str]
) -> None:
    from airflow_hybrid.sites.check import check

    if kind == "charliecloud" and shutil.which("ch-run") is None:
        unavailable("this test", "charliecloud", "apt-get install --no-install-recommends charliecloud")
    box = parse_deployments({"box": {"type": kind, "config": config}})

    async def tried() -> Any:
        try:
            return await check(box, names=["box"])
        finally:
            await close_all()

    found = [f for f in asyncio.run(tried()) if f.what in ("connector", "image")]
    assert [f.result for f in found] == [result]
    for word in words:
        assert word in found[0].detail
