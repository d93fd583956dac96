# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import asyncio
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.sites.connectors import open_connector, registry
from airflow_hybrid.sites.connectors.clusters import QueueConnector
from airflow_hybrid.sites.connectors.hosts import LocalConnector
from airflow_hybrid.sites.connectors.ssh import SshConnector
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from tests.raising import raising

SSH = Deployment("hpc", "ssh", {"nodes": [{"hostname": "n1"}, {"hostname": "n2"}], "sharedPaths": ["/shared/"]})


async def test_a_deployment_is_one_connector_as_long_as_its_content_is_the_same() -> None:
    first = open_connector({"hpc": SSH}, "hpc")
    same = open_connector({"hpc": Deployment.from_json(SSH.to_json())}, "hpc")
    other = open_connector({"hpc": Deployment("hpc", "ssh", {"nodes": [{"hostname": "n3"}]})}, "hpc")
    assert first is same and other is not first
    assert await first.hosts() == await same.hosts()


def test_event_loops_share_no_connector() -> None:
    async def opened() -> Any:
        return open_connector({"hpc": SSH}, "hpc")

    assert asyncio.run(opened()) is not asyncio.run(opened())


async def test_local_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", "/srv/airflow")
    connector = open_connector({}, "local")
    (host,) = await connector.hosts()
    assert isinstance(connector, LocalConnector) and isinstance(host, LocalHost)
    assert await connector.workdir(host) == "/srv/airflow/airflow_hybrid/local"
    assert connector.storage == "local"


async def test_the_nodes_of_an_ssh_deployment_are_its_locations() -> None:
    connector = open_connector({"hpc": SSH}, "hpc")
    assert isinstance(connector, SshConnector)
    hosts = await connector.hosts()
    assert [h.location for h in hosts] == ["n1", "n2"] and all(isinstance(h, SshHost) for h in hosts)
    assert [connector.shares(p) for p in ("/shared", "/shared/x", "/sharedx", "/")] == [True, True, False, False]


async def test_slurm_uses_the_first_location_and_the_files_of_what_it_wraps() -> None:
    slurm = Deployment(
        "slurm",
        "slurm",
        {"services": {"gpu": {"partition": "g", "file": "x"}}, "maxConcurrentJobs": 5, "pollingInterval": 9},
        wraps="hpc",
        templates={"gpu": "#!/bin/sh\n{{streamflow_command}}", "": "default"},
    )
    connector = open_connector({"hpc": SSH, "slurm": slurm}, "slurm")
    assert isinstance(connector, QueueConnector) and connector.storage == "hpc"
    (host,) = await connector.hosts("gpu")
    assert (host.deployment, host.location) == ("hpc", "n1")
    assert connector.options("gpu") == {
        "partition": "g",
        "maxConcurrentJobs": 5,
        "pollingInterval": 9,
        "template": "#!/bin/sh\n{{streamflow_command}}",
    }
    assert connector.options(None)["template"] == "default"
    assert connector.queue(host, "gpu") is connector.queue(host, "gpu")
    alone = open_connector({"s": Deployment("s", "slurm")}, "s")
    assert alone.storage == "local" and isinstance((await alone.hosts())[0], LocalHost)


@pytest.mark.parametrize(
    ("given", "there"),
    [
        ("/a/../b//c", "/b/c"),
        ("~/w", "{HOME}/w"),
        ("~", "{HOME}"),
        ("$HOME/a b", "{HOME}/a b"),
        ('${HOME}/it\'s "x"', '{HOME}/it\'s "x"'),
        ("$HOME/$(id)`id`\\", "{HOME}/$(id)`id`\\"),
    ],
)
async def test_a_work_directory_is_expanded_at_the_location(
    given: str, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    connector = open_connector({"x": Deployment("x", "local", {}, given)}, "x")
    (host,) = await connector.hosts()
    assert await connector.workdir(host) == there.replace("{HOME}", "/home/me")


async def test_a_work_directory_that_is_not_absolute_is_refused() -> None:
    connector = open_connector({"x": Deployment("x", "local", {}, "$NOWHERE_SET")}, "x")
    (host,) = await connector.hosts()
    message = (
        "the workdir '$NOWHERE_SET' of deployment 'x' is '' at x (localhost)\n"
        "  -> use an absolute path, or one that begins with ~ or with a variable that is set there"
    )
    with raising(ConfigError, message):
        await connector.workdir(host)


async def test_third_parties_add_types_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "airflow_hybrid.sites.connectors.hosts:LocalConnector", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda **k: EntryPoints([point]).select(**k))
    assert isinstance(open_connector({"m": Deployment("m", "mine")}, "m"), LocalConnector)
    message = (
        "deployment 'o' has type 'other', for which there is no connector\n"
        "  -> built in are local, ssh, kubernetes, docker-compose, helm, helm3, helm4, docker, podman, singularity, "
        "apptainer, charliecloud, slurm, pbs, sge, flux; packages may add others through the entry point "
        "groups airflow_hybrid.connectors and airflow_hybrid.schedulers"
    )
    with raising(ConfigError, message):
        open_connector({"o": Deployment("o", "other")}, "o")


async def test_what_is_not_there_is_said() -> None:
    with raising(ConfigError, "there is no deployment 'x'\n  -> there are: hpc"):
        open_connector({"hpc": SSH}, "x")
    circle = {"a": Deployment("a", "slurm", wraps="b"), "b": Deployment("b", "slurm", wraps="a")}
    with raising(ConfigError, "deployment 'a' wraps itself: a -> b -> a"):
        open_connector(circle, "a")
