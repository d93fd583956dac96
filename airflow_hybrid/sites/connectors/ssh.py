# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``ssh``: machines that are reached by SSH and run jobs themselves."""

from __future__ import annotations

import posixpath

from airflow_hybrid.config import Deployment
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.connectors.base import Connector
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.environment import prelude
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from airflow_hybrid.sites.hosts.ssh.settings import nodes_of


class SshConnector(Connector):
    """One or more hosts that run jobs themselves."""

    def __init__(self, deployment: Deployment, wrapped: Connector | None = None) -> None:
        super().__init__(deployment, wrapped)
        cores = deployment.config.get("cores")
        self._hosts: list[Host] = [
            SshHost(deployment.name, name, settings, cores, prelude(deployment.config))
            for name, settings in nodes_of(deployment.config).items()
        ]
        self._shared = [posixpath.normpath(path) for path in deployment.config.get("sharedPaths") or ()]

    @property
    def storage(self) -> str:
        return self.deployment.name

    @property
    def owns_hosts(self) -> bool:
        return True

    async def hosts(self, service: str | None = None) -> list[Host]:
        return self._hosts

    def scheduler(self) -> Scheduler:
        return ProcessScheduler()

    def shares(self, path: str) -> bool:
        return any(path == shared or path.startswith(shared.rstrip("/") + "/") for shared in self._shared)
