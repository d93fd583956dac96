# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From the type of a deployment to its connector, one per deployment, process and event loop."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from airflow_hybrid.config import Deployment
from airflow_hybrid.config.users import check_usable
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import LOCAL_DEPLOYMENT
from airflow_hybrid.sites.connectors.base import Connector
from airflow_hybrid.sites.hosts.per_loop import PerLoop

ENTRY_POINT_GROUP = "airflow_hybrid.connectors"
BUILT_IN: Mapping[str, str] = {
    "local": "hosts:LocalConnector",
    "ssh": "ssh:SshConnector",
    "kubernetes": "manifests:ManifestsConnector",
    "docker-compose": "compose:ComposeConnector",
    **dict.fromkeys(("helm", "helm3", "helm4"), "helm:HelmConnector"),
    **dict.fromkeys(("docker", "podman"), "containers:ContainerConnector"),
    **dict.fromkeys(("singularity", "apptainer", "charliecloud"), "containers:ImageConnector"),
    **dict.fromkeys(("slurm", "pbs", "sge", "flux"), "clusters:QueueConnector"),
}
"""type -> module of this package and class; imported when a deployment of the type is used"""
_OPEN: PerLoop[str, Connector] = PerLoop()
"""key: the content of their deployments"""


def open_connector(deployments: Mapping[str, Deployment], name: str) -> Connector:
    """The connector of deployment ``name``, shared by everything in this process and event loop.

    Deployments with the same content share a connector, whichever DAG they come from.

    :param deployments: by name; ``local`` always exists.
    :raises ConfigError: no such deployment, or no connector for its type.
    """
    return _open(_OPEN.here(), deployments, name, ())


def _open(
    connectors: dict[str, Connector], deployments: Mapping[str, Deployment], name: str, wrapping: tuple[str, ...]
) -> Connector:
    deployment = deployments.get(name)
    if deployment is None and name == LOCAL_DEPLOYMENT:
        deployment = Deployment(name=LOCAL_DEPLOYMENT, type="local")
    if deployment is None:
        raise ConfigError(f"there is no deployment {name!r}", hint=f"there are: {', '.join(sorted(deployments))}")
    if name in wrapping:
        raise ConfigError(f"deployment {name!r} wraps itself: {' -> '.join([*wrapping, name])}")
    chain: list[Any] = []
    link: Deployment | None = deployment
    while link is not None and len(chain) <= len(deployments):
        chain.append(link.to_json())
        link = deployments.get(link.wraps) if link.wraps else None
    key = json.dumps(chain, sort_keys=True, default=str)
    if key not in connectors:
        check_usable(deployment)
        wrapped = _open(connectors, deployments, deployment.wraps, (*wrapping, name)) if deployment.wraps else None
        connectors[key] = connector_class(deployment, wrapped)(deployment, wrapped)
    return connectors[key]


def connector_class(deployment: Deployment, wrapped: Connector | None = None) -> type[Connector]:
    """The class for a deployment's type: one of ours, or one of an entry point.

    :param wrapped: the connector that it wraps. Inside a queue system, docker and podman are an image for its jobs.
    :raises ConfigError: there is none.
    """
    if deployment.type in BUILT_IN:
        module, _, name = BUILT_IN[deployment.type].partition(":")
        from airflow_hybrid.sites.connectors.clusters import QueueConnector

        if isinstance(wrapped, QueueConnector) and name == "ContainerConnector":
            name = "ImageConnector"
        connector: type[Connector] = getattr(importlib.import_module(f"{__package__}.{module}"), name)
        return connector
    points = list(entry_points(group=ENTRY_POINT_GROUP, name=deployment.type))
    if not points:
        from airflow_hybrid.sites.connectors.clusters import SCHEDULER_GROUP, QueueConnector, scheduler_class

        if scheduler_class(deployment.type) is not None:
            return QueueConnector
        raise ConfigError(
            f"deployment {deployment.name!r} has type {deployment.type!r}, for which there is no connector",
            hint=f"built in are {', '.join(BUILT_IN)}; packages may add others through the entry point groups"
            f" {ENTRY_POINT_GROUP} and {SCHEDULER_GROUP}",
        )
    loaded = points[0].load()
    if not (isinstance(loaded, type) and issubclass(loaded, Connector)):
        raise ConfigError(f"the entry point {points[0].value!r} for type {deployment.type!r} is not a Connector")
    return loaded


async def close_connectors() -> None:
    """Close the connections of this event loop."""
    for connector in list(_OPEN.here().values()):
        if connector.owns_hosts:
            await connector.close()
