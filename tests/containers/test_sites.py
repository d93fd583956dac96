# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Containers where steps are bound: by SSH, and in the jobs of a Slurm cluster; rootless podman of an ordinary user."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import for_run, parse_deployments
from airflow_hybrid.errors import JobFailedError
from airflow_hybrid.model import Target
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.connectors import Connector, open_connector
from tests.containers.conftest import MINI
from tests.containers.engine import Bench, text_of
from tests.containers.test_boxes import LINKS, LOOK, PULL, script
from tests.needs import unavailable
from tests.testbed.fixture import Testbed

DEBIAN = "docker.io/library/debian:stable-slim"


def ssh_to(testbed: Testbed) -> list[str]:
    return ["ssh", "-F", json.loads(Path(testbed.variables()["TESTBED_JSON"]).read_text())["ssh_config"]]


@pytest.fixture(scope="module")
def deployments(testbed: Testbed, images: Path) -> dict[str, Any]:
    """Sites whose users may have containers, and an image there."""
    described = json.loads(Path(testbed.variables()["TESTBED_JSON"]).read_text())
    ssh = ssh_to(testbed)
    archive = subprocess.run(["podman", "save", "-q", MINI], capture_output=True, check=True).stdout
    found: dict[str, Any] = {}
    for name in ("cloud", "hpc"):
        site = described["sites"][name]
        ranges = f"grep -q ^{site['user']}: /etc/subuid || echo {site['user']}:200000:65536"
        testbed.exec(name, "sh", "-c", f"{ranges} >>/etc/subuid; cp /etc/subuid /etc/subgid")
        loaded = subprocess.run([*ssh, name, "podman load"], input=archive, capture_output=True, check=False)
        if loaded.returncode != 0:
            unavailable(
                "podman at a site", f"rootless podman ({loaded.stderr.decode()[-300:]})", "apt-get install uidmap"
            )
        config = {
            "nodes": [{"hostname": site["host"]}],
            "username": site["user"],
            "sshKey": site["key"],
            "known_hosts": [described["known_hosts"]],
        }
        found[name] = {"type": "ssh", "config": config, "containers": "podman"}
    found["cluster"] = {"type": "slurm", "wraps": "hpc", "config": {"services": {"main": {"partition": "main"}}}}
    found["boxes"] = {
        "type": "podman",
        "wraps": {"deployment": "cluster", "service": "main"},
        "config": {"image": MINI},
    }
    mounted = "mkdir -p ch etc && touch ch/environment etc/passwd etc/group"
    unpack = f"mkdir -p mini && tar -x -C mini -f - && cd mini && {mounted}"
    subprocess.run([*ssh, "hpc", unpack], input=images.read_bytes(), check=True)
    found["folder"] = {"type": "charliecloud", "wraps": "cluster", "config": {"image": "~/mini"}}
    standing = {"image": DEBIAN, "network": ["host"]}
    found["standing"] = {"type": "podman", "wraps": "cloud", "config": standing}
    return dict(parse_deployments(found))


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(Target("cloud"), id="ssh", marks=pytest.mark.long),
        pytest.param(Target("cluster", "main"), id="slurm"),
    ],
)
def test_a_step_runs_in_a_container_where_it_is_bound(
    deployments: dict[str, Any], target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    bench = Bench(tmp_path, deployments, target, run_id=secrets.token_hex(4))
    said = text_of(bench.run(script(LOOK))["said"])
    assert "folder /var/spool/cwl\n" in said
    assert "the root is read-only\n" in said
    assert "user 0:" not in said
    (tmp_path / "in.txt").write_text("in\n")
    result = bench.run(LINKS, {"file": {"class": "File", "path": str(tmp_path / "in.txt")}})
    assert {name: text_of(file) for name, file in result.items()} == {"linked": "in\n", "inner": "x\n", "same": "in\n"}
    with pytest.raises(JobFailedError, match="exit code 41"):
        bench.run(script("exit 41"))


@pytest.mark.parametrize("target", [Target("boxes"), Target("folder", "main")], ids=["podman", "charliecloud"])
def test_the_jobs_of_a_queue_run_in_the_image_of_their_deployment(
    deployments: dict[str, Any], target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    if target.deployment == "folder" and shutil.which("ch-run") is None:
        unavailable("charliecloud", "charliecloud", "apt-get install --no-install-recommends charliecloud")
    bench = Bench(tmp_path, deployments, target, run_id=secrets.token_hex(4))
    (tmp_path / "in.txt").write_text("in\n")
    plain = PULL.replace(f"  DockerRequirement: {{dockerPull: {MINI}}}\n", "")
    look = script("ls -l /bin/ls; pwd; cat $(inputs.file.path) >copy; hostname", plain, outputs="{said: stdout}")
    look = look.replace("inputs: {}", "inputs: {file: File}")
    said = text_of(bench.run(look, {"file": {"class": "File", "path": str(tmp_path / "in.txt")}})["said"])
    assert "/bin/ls -> busybox\n/var/spool/cwl\n" in said
    with pytest.raises(JobFailedError, match="exit code 41"):
        bench.run(script("exit 41", plain))


def test_a_container_stands_at_an_ssh_host(
    testbed: Testbed, deployments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    # what stands needs flock, which the small image lacks
    archive = subprocess.run(["podman", "save", "-q", DEBIAN], capture_output=True, check=True).stdout
    subprocess.run([*ssh_to(testbed), "cloud", "podman load"], input=archive, capture_output=True, check=True)
    found = for_run(deployments, "ah-0a1b2c-00000000ab", "dag run_1")

    async def with_box(work: Callable[[Connector], Awaitable[Any]]) -> Any:
        try:
            return await work(open_connector(found, "standing"))
        finally:
            await close_all()

    asyncio.run(with_box(lambda box: box.deploy([])))
    try:
        bench = Bench(tmp_path, found, Target("standing"), run_id=secrets.token_hex(4))
        plain = PULL.replace(f"  DockerRequirement: {{dockerPull: {MINI}}}\n", "")
        assert text_of(bench.run(script("ls /run/.containerenv", plain))["said"]) == "/run/.containerenv\n"
    finally:
        asyncio.run(with_box(lambda box: box.undeploy()))
    assert asyncio.run(with_box(lambda box: box.deployed())) == []
