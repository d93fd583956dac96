# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The contract, for every connector of this package."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.sites.connectors import Connector
from airflow_hybrid.sites.connectors.clusters import QueueConnector
from airflow_hybrid.sites.connectors.compose import ComposeConnector
from airflow_hybrid.sites.connectors.containers import ContainerConnector, ImageConnector
from airflow_hybrid.sites.connectors.hosts import LocalConnector
from airflow_hybrid.sites.connectors.kubernetes import KubernetesConnector
from airflow_hybrid.sites.connectors.ssh import SshConnector
from airflow_hybrid.testing import ConnectorContract
from tests.canaries import WORK
from tests.containers.conftest import MINI
from tests.fakes.jobstore import install
from tests.system.kube import Kube
from tests.testbed.fixture import Testbed

DEBIAN = "docker.io/library/debian:stable-slim"


def ssh(testbed: Testbed, site: str) -> SshConnector:
    there = testbed.sites[site]
    node = {"hostname": there.host, "username": there.user, "sshKey": str(there.key)}
    config = {"nodes": [node], "known_hosts": [str(testbed.known_hosts)]}
    return SshConnector(Deployment(site, "ssh", config, workdir=f"{there.home}/{WORK}"))


class TestLocal(ConnectorContract):
    @pytest.fixture
    def make_connector(self, tmp_path: Path) -> Callable[[], Connector]:
        return lambda: LocalConnector(Deployment("here", "local", {"cores": 4}, workdir=f"{tmp_path}/{WORK}"))


class TestSsh(ConnectorContract):
    @pytest.fixture
    def make_connector(self, testbed: Testbed) -> Callable[[], Connector]:
        return lambda: ssh(testbed, "cloud")


class TestSlurm(ConnectorContract):
    service = "main"

    @pytest.fixture
    def make_connector(self, testbed: Testbed) -> Callable[[], Connector]:
        config = {"services": {"main": {"partition": "main", "account": "proj"}}}
        return lambda: QueueConnector(Deployment("hpc", "slurm", config, wraps="login"), ssh(testbed, "hpc"))


class TestGridEngine(ConnectorContract):
    @pytest.fixture
    def make_connector(self, grid: Testbed) -> Callable[[], Connector]:
        config = {"services": {"main": {"queue": "all.q"}}}
        return lambda: QueueConnector(Deployment("grid", "sge", config, wraps="login"), ssh(grid, "grid"))


class TestKubernetes(ConnectorContract):
    service = "small"

    @pytest.fixture
    def make_connector(self, kube: Kube) -> Callable[[], Connector]:
        deployment = Deployment("kube", "kubernetes", kube.config(), workdir=f"/airflow_hybrid/{WORK}")
        return lambda: KubernetesConnector(deployment)


class TestFakePbs(ConnectorContract):
    """PBS is not installed here: the programs of tests/fakes."""

    @pytest.fixture
    def make_connector(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Connector]:
        for name, value in install(tmp_path / "fake", "pbs.py", "qsub", "qstat", "qdel").items():
            monkeypatch.setenv(name, value)
        workdir = f"{tmp_path}/{WORK}"
        return lambda: QueueConnector(Deployment("fake", "pbs", {}, workdir=workdir))


# --- containers ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def standing(images: Path) -> Iterator[str]:
    """A container that runs anyway."""
    name = "airflow_hybrid-tests-contract"
    subprocess.run(["podman", "run", "-d", "--replace", "--name", name, DEBIAN, "sleep", "infinity"], check=True)
    yield name
    subprocess.run(["podman", "rm", "-f", "-t", "0", name], check=True)


@pytest.mark.contract
class TestContainer(ConnectorContract):
    """One that stands; a compose file's are the same."""

    @pytest.fixture
    def make_connector(self, standing: str) -> Callable[[], Connector]:
        config = {"containerId": standing, "cores": 4}
        return lambda: ContainerConnector(Deployment("box", "podman", config, workdir="/work dir", external=True))


@pytest.mark.contract
class TestCompose(ConnectorContract):
    service = "worker"

    @pytest.fixture(scope="class")
    def project(self, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
        file = tmp_path_factory.mktemp("compose") / "c.yml"
        worker = {"image": DEBIAN, "command": ["sleep", "infinity"]}
        file.write_text(json.dumps({"services": {"worker": worker}}))
        config = {"files": [str(file)], "composeCommand": str(Path(sys.executable).with_name("podman-compose"))}
        found = Deployment("box", "docker-compose", config, managed=True, token=f"ah-0a1b2c-{secrets.token_hex(5)}")

        async def call(name: str, *arguments: Any) -> None:
            await getattr(ComposeConnector(found), name)(*arguments)

        asyncio.run(call("deploy", ["worker"]))
        yield found
        asyncio.run(call("undeploy"))

    @pytest.fixture
    def make_connector(self, project: Deployment) -> Callable[[], Connector]:
        return lambda: ComposeConnector(project)


class _Image(ConnectorContract):
    """Jobs in containers of an image, on this machine."""

    kind = ""
    large = 20

    @pytest.fixture
    def make_connector(self, images: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Connector]:
        if self.kind != "podman":
            request.getfixturevalue(f"_{self.kind}")
        here = Deployment("here", "local", {"cores": 4}, workdir=f"{tmp_path}/{WORK}")
        box = Deployment("box", self.kind, {"image": MINI}, wraps="here")
        return lambda: ImageConnector(box, LocalConnector(here))


@pytest.mark.contract
class TestCharliecloud(_Image):
    kind = "charliecloud"


@pytest.mark.contract
class TestImageOfPodman(_Image):
    kind = "podman"


@pytest.mark.contract
class TestApptainer(_Image):
    kind = "apptainer"


@pytest.mark.contract
class TestImageInSlurm(ConnectorContract):
    service = "main"
    large = 20

    @pytest.fixture
    def make_connector(self, testbed: Testbed, images: Path) -> Callable[[], Connector]:
        unpack = "mkdir -p mini && tar -xof - -C mini && cd mini && mkdir -p ch etc && touch ch/environment"
        command = ["ssh", "-F", testbed.variables()["TESTBED_SSH_CONFIG"], "hpc"]
        unpack = f"[ -e mini/ch ] || {{ {unpack} etc/passwd etc/group; }}"
        subprocess.run([*command, unpack], input=images.read_bytes(), check=True)
        config = {"services": {"main": {"partition": "main", "account": "proj"}}}
        box = Deployment("box", "charliecloud", {"image": "~/mini"}, wraps="hpc")

        def make() -> Connector:
            return ImageConnector(
                box, QueueConnector(Deployment("hpc", "slurm", config, wraps="login"), ssh(testbed, "hpc"))
            )

        return make
