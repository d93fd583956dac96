# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Connectors of batch schedulers, which work through the hosts of what they wrap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_hybrid.config import Deployment
from airflow_hybrid.hooks.base import Host
from airflow_hybrid.hooks.connectors.base import Connector
from airflow_hybrid.hooks.connectors.hosts import LocalConnector
from airflow_hybrid.model import LOCAL_DEPLOYMENT
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler


class SlurmConnector(Connector):
    """A Slurm cluster: its commands run on the first location of what it wraps (this machine, if nothing)."""

    def __init__(self, deployment: Deployment, inner: Connector | None = None) -> None:
        super().__init__(deployment, inner or LocalConnector(Deployment(name=LOCAL_DEPLOYMENT, type="local")))

    async def hosts(self, service: str | None = None) -> list[Host]:
        assert self.inner is not None
        return (await self.inner.hosts(self.deployment.wraps_service))[:1]

    def scheduler(self) -> Scheduler:
        return SlurmScheduler()

    def options(self, service: str | None = None) -> Mapping[str, Any]:
        config = self.deployment.config
        services: Mapping[str, Any] = config.get("services") or {}
        native = {key: value for key, value in (services.get(service or "") or {}).items() if key != "file"}
        limits = {key: config[key] for key in ("maxConcurrentJobs", "pollingInterval") if config.get(key) is not None}
        return {**native, **limits, **super().options(service)}
