# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where files are, among the locations of one workflow's deployments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import LOCAL_DEPLOYMENT, FileRef
from airflow_hybrid.sites.connectors.registry import open_connector
from airflow_hybrid.sites.hosts.base import Host


class Locations:
    """The locations of one workflow's deployments.

    :param deployments: by name; ``local`` is always there.
    :param links: which deployments reach each other, as the hybrid file names them.
    """

    def __init__(self, deployments: Mapping[str, Deployment], links: Sequence[Link] = ()) -> None:
        self.deployments = deployments
        self._links = tuple(links)

    def knows(self, ref: FileRef) -> bool:
        """Whether the file is at a deployment of this workflow (or on this machine)."""
        return ref.deployment == LOCAL_DEPLOYMENT or ref.deployment in self.deployments

    def same_storage(self, ref: FileRef, host: Host) -> bool:
        """Whether ``host`` sees the file under the same path."""
        if ref.deployment != host.deployment:
            return False
        return ref.location == host.location or open_connector(self.deployments, ref.deployment).shares(ref.path)

    async def host_of(self, ref: FileRef) -> Host:
        """The location that holds the file.

        :raises ConfigError: the workflow has no such location.
        """
        if not self.knows(ref):
            raise ConfigError(f"{ref.uri} is at deployment {ref.deployment!r}, which is not in this workflow")
        connector = open_connector(self.deployments, ref.deployment)
        hosts = await connector.hosts()
        for host in hosts:
            if host.location == ref.location:
                return host
        if hosts and connector.shares(ref.path):
            return hosts[0]
        raise ConfigError(
            f"{ref.uri} is at location {ref.location!r}, which deployment {ref.deployment!r} does not have",
            hint=f"it has: {', '.join(host.location for host in hosts)}",
        )

    def links(self) -> list[Link]:
        """The links between storages: a link of a queue is a link of the host that the queue works on."""
        return [
            replace(link, source=self._storage(link.source), target=self._storage(link.target)) for link in self._links
        ]

    def _storage(self, name: str) -> str:
        return open_connector(self.deployments, name).storage if name in self.deployments else name
