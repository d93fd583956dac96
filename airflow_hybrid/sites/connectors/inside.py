# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What deployments whose locations are running containers have in common."""

from __future__ import annotations

import posixpath

from airflow_hybrid.config import Deployment
from airflow_hybrid.model import LOCAL_DEPLOYMENT
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.connectors.base import FOLDER, Connector, own_folder
from airflow_hybrid.sites.connectors.hosts import LocalConnector
from airflow_hybrid.sites.containers.inspect import InspectedContainer
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.container import ContainerHost, RunningContainer


class InContainers(Connector):
    """Running containers on this machine, or on the first location of the wrapped deployment; each is a location.

    They have files of their own, and run jobs as hosts do.
    """

    managed = True

    def __init__(self, deployment: Deployment, wrapped: Connector | None = None) -> None:
        super().__init__(deployment, wrapped or LocalConnector(Deployment(name=LOCAL_DEPLOYMENT, type="local")))
        self._hosts: dict[str, ContainerHost] = {}

    @property
    def storage(self) -> str:
        return self.deployment.name

    def scheduler(self) -> Scheduler:
        return ProcessScheduler()

    def default_workdir(self) -> str:
        return f"/tmp/{FOLDER}"

    async def _resolve_workdir(self, host: Host) -> str:
        # not that of the engine's machine: the containers do not see its files
        if self.deployment.workdir is not None:
            return posixpath.normpath(self.deployment.workdir)
        return await own_folder(host, self.default_workdir())

    def shares(self, path: str) -> bool:
        shared = [posixpath.normpath(p) for p in self.deployment.config.get("sharedPaths") or ()]
        return any(path == p or path.startswith(f"{p.rstrip('/')}/") for p in shared)

    async def engine_host(self) -> Host:
        """The host of the container engine."""
        assert self.wrapped is not None
        return (await self.wrapped.hosts(self.deployment.wraps_service))[0]

    def host_of(self, engine_host: Host, program: str, container: InspectedContainer, location: str) -> ContainerHost:
        """A container as a location: the same object each time, a new one for a container that was recreated."""
        if container.id not in self._hosts:
            running = RunningContainer(engine_host, program, container.id)
            cores = self.deployment.config.get("cores")
            self._hosts[container.id] = ContainerHost(self.deployment.name, location, running, cores)
        return self._hosts[container.id]

    def title_of(self, service: str | None = None) -> str:
        """For messages."""
        name = f"deployment {self.deployment.name!r}"
        return f"service {service!r} of {name}" if service else name

    def missing_hint(self) -> str:
        """What to do if none of its containers is running."""
        if self.deployment.external:
            return "start it, or leave `external` out so that each run starts its own"
        return "clear the deployment's setup task and the steps whose files were in it; they are run again"
