# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``local``: this machine, which runs jobs itself."""

from __future__ import annotations

import os

from airflow_hybrid import settings
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.connectors.base import FOLDER, Connector
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.environment import prelude
from airflow_hybrid.sites.hosts.local import LocalHost
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
