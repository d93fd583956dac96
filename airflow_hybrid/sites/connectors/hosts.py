# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``local`` and ``ssh``: machines that run jobs themselves."""

from __future__ import annotations

import os
import posixpath

from airflow_hybrid import settings
from airflow_hybrid.config import Deployment
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.connectors.base import FOLDER, Connector
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.environment import prelude
from airflow_hybrid.sites.hosts.local import LocalHost
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from airflow_hybrid.sites.hosts.ssh.settings import nodes_of
from airflow_hybrid.sites.hosts.user import UserHost


class LocalConnector(Connector):
    """The machine that Airflow's process runs on."""

    async def hosts(self, service: str | None = None) -> list[Host]:
        if not hasattr(self, "_host"):
            config = self.deployment.config
            name, cores, before = self.deployment.name, config.get("cores"), prelude(config)
            user = config.get("run_as")
            if user:
                self._host: LocalHost = UserHost(name, user, cores, prelude=before)
            else:
                self._host = LocalHost(name, cores=cores, prelude=before)
        return [self._host]

    def scheduler(self) -> Scheduler:
        return ProcessScheduler()

    def default_workdir(self) -> str:
        if self.deployment.config.get("run_as"):
            return super().default_workdir()
        home = settings.airflow_home()
        return os.path.join(os.path.abspath(home), FOLDER, self.deployment.name)


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
