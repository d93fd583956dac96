# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Queue systems, which work through the hosts of the wrapped deployment: one connector for all schedulers.

A third party adds a scheduler by a subclass of :class:`airflow_hybrid.schedulers.batch.BatchScheduler` and an entry
point of the group ``airflow_hybrid.schedulers`` named after the type of deployment.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import LOCAL_DEPLOYMENT
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.sites.connectors.base import Connector
from airflow_hybrid.sites.connectors.hosts import LocalConnector
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.environment import prelude
from airflow_hybrid.sites.hosts.local import LocalHost

SCHEDULER_GROUP = "airflow_hybrid.schedulers"
COMMON_VARIABLES = ("LD_LIBRARY_PATH", "KRB5CCNAME", "KRB5_CONFIG")
"""environment variables that the programs of any queue system may need"""
SCHEDULERS: Mapping[str, str] = {
    "slurm": "slurm:SlurmScheduler",
    "pbs": "pbs:PbsScheduler",
    "sge": "sge:SgeScheduler",
    "flux": "flux:FluxScheduler",
}
"""type of deployment -> module of :mod:`airflow_hybrid.schedulers` and class"""


def scheduler_class(kind: str) -> type[Scheduler] | None:
    """The scheduler for a type of deployment: one of ours, or one of an entry point; None if there is none.

    :raises ConfigError: the entry point is not a scheduler.
    """
    if kind in SCHEDULERS:
        module, _, name = SCHEDULERS[kind].partition(":")
        loaded: Any = getattr(importlib.import_module(f"airflow_hybrid.schedulers.{module}"), name)
    else:
        points = list(entry_points(group=SCHEDULER_GROUP, name=kind))
        if not points:
            return None
        loaded = points[0].load()
        if not (isinstance(loaded, type) and issubclass(loaded, Scheduler)):
            raise ConfigError(f"the entry point {points[0].value!r} for type {kind!r} is not a Scheduler")
    scheduler: type[Scheduler] = loaded
    return scheduler


class QueueConnector(Connector):
    """A cluster. Its scheduler's commands run on the first location of the wrapped deployment, or on this machine."""

    def __init__(self, deployment: Deployment, wrapped: Connector | None = None) -> None:
        super().__init__(deployment, wrapped or LocalConnector(Deployment(name=LOCAL_DEPLOYMENT, type="local")))
        self._host: LocalHost | None = None

    async def hosts(self, service: str | None = None) -> list[Host]:
        assert self.wrapped is not None
        host = (await self.wrapped.hosts(self.deployment.wraps_service))[0]
        if not isinstance(host, LocalHost):
            return [host]
        if self._host is None:
            # its programs find their configuration by variables, which commands on this machine do not see by default
            names = (*COMMON_VARIABLES, *self.scheduler().client_variables)
            self._host = host.with_variables(names, prelude(self.deployment.config))
        return [self._host]

    def scheduler(self) -> Scheduler:
        scheduler = scheduler_class(self.deployment.type)
        if scheduler is None:
            raise ConfigError(f"there is no scheduler for deployments of type {self.deployment.type!r}")
        return scheduler()

    def options(self, service: str | None = None) -> Mapping[str, Any]:
        config = self.deployment.config
        services: Mapping[str, Any] = config.get("services") or {}
        native = {key: value for key, value in (services.get(service or "") or {}).items() if key != "file"}
        limits = {key: config[key] for key in ("maxConcurrentJobs", "pollingInterval") if config.get(key) is not None}
        return {**native, **limits, **super().options(service)}
