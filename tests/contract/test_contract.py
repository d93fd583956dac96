# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The contract, for every connector of this package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.hooks.connectors import Connector
from airflow_hybrid.hooks.connectors.clusters import QueueConnector
from airflow_hybrid.hooks.connectors.hosts import LocalConnector, SshConnector
from airflow_hybrid.hooks.connectors.kubernetes import KubernetesConnector
from airflow_hybrid.testing import ConnectorContract
from tests.fakes.jobstore import install
from tests.system.kube import Kube
from tests.testbed.fixture import Testbed


def ssh(testbed: Testbed, site: str) -> SshConnector:
    there = testbed.sites[site]
    node = {"hostname": there.host, "username": there.user, "sshKey": str(there.key)}
    config = {"nodes": [node], "known_hosts": [str(testbed.known_hosts)]}
    return SshConnector(Deployment(site, "ssh", config, workdir="~/work dir"))


class TestLocal(ConnectorContract):
    @pytest.fixture
    def make_connector(self, tmp_path: Path) -> Callable[[], Connector]:
        return lambda: LocalConnector(Deployment("here", "local", {"cores": 4}, workdir=f"{tmp_path}/work dir"))


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
        deployment = Deployment("kube", "kubernetes", kube.config(), workdir="/airflow_hybrid/work dir")
        return lambda: KubernetesConnector(deployment)


class TestFakePbs(ConnectorContract):
    """PBS is not installed here: the programs of tests/fakes."""

    @pytest.fixture
    def make_connector(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Connector]:
        for name, value in install(tmp_path / "fake", "pbs.py", "qsub", "qstat", "qdel").items():
            monkeypatch.setenv(name, value)
        workdir = f"{tmp_path}/work dir"
        return lambda: QueueConnector(Deployment("fake", "pbs", {}, workdir=workdir))
