# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``kubernetes``: pods as hosts, and batches as Indexed Jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import ConfigError, SiteError
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.kubernetes import manifest
from airflow_hybrid.schedulers.kubernetes.scheduler import KubernetesScheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.connectors.base import FOLDER, Connector
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.kubernetes.cluster import Cluster
from airflow_hybrid.sites.kubernetes.cluster_settings import ClusterSettings
from airflow_hybrid.sites.kubernetes.jobs import Jobs
from airflow_hybrid.sites.kubernetes.pod import PodAccess, PodHost
from airflow_hybrid.sites.kubernetes.queue import KubernetesQueue
from airflow_hybrid.sites.kubernetes.storage import ServicePods, StoragePod

LONGEST_NAME = 200
"""letters of a folder's name; file systems take 255 bytes"""
_NOT_OPTIONS = frozenset({"file", "pod", "selector", "cores", "container"})


class KubernetesConnector(Connector):
    """One namespace of a cluster.

    A service with ``pod`` or ``selector`` consists of existing pods: each is a location, and runs jobs as a host does.
    Any other service runs a batch as an Indexed Job whose pods share the deployment's ``storage``.
    """

    def __init__(self, deployment: Deployment, wrapped: Connector | None = None) -> None:
        super().__init__(deployment, wrapped)
        config = deployment.config
        self.cluster = Cluster(ClusterSettings.of(config, personal=deployment.personal))
        self.jobs = Jobs(self.cluster)
        self.services: Mapping[str, Mapping[str, Any]] = config.get("services") or {}
        self._pods = {
            name: ServicePods(self.cluster, deployment.name, name, service)
            for name, service in self.services.items()
            if is_pods(service)
        }
        self._storage: StoragePod | None = None
        self._storage_host: PodHost | None = None
        if storage := config.get("storage"):
            self._storage = StoragePod(self.cluster, deployment.name, storage)
            access = PodAccess(self.cluster, self._storage.name, storage.get("container"), manifest.ALIVE)
            self._storage_host = PodHost(deployment.name, storage["claim"], access)

    @property
    def storage(self) -> str:
        return self.deployment.name

    @property
    def owns_hosts(self) -> bool:
        return True

    def _service(self, service: str | None) -> str | None:
        """The service that is meant: if none is named and there is only one, that one."""
        if service is None and len(self.services) == 1:
            return next(iter(self.services))
        if service is not None and service not in self.services:
            raise ConfigError(
                f"deployment {self.deployment.name!r} has no service {service!r}",
                hint=f"it has: {', '.join(self.services) or 'none'}",
            )
        return service

    async def hosts(self, service: str | None = None) -> list[Host]:
        name = self._service(service)
        if name in self._pods:
            return list(await self._pods[name].hosts())
        hosts: list[Host] = [self._storage_host] if self._storage_host is not None else []
        if service is None:  # files may be at any location
            for pods in self._pods.values():
                try:
                    hosts += await pods.hosts()
                except SiteError:
                    continue
        if not hosts:
            raise ConfigError(
                f"deployment {self.deployment.name!r} has no storage for files",
                hint="set `config.storage` with a claim, or give it services with a `selector` or a `pod`",
            )
        return hosts

    def scheduler(self) -> Scheduler:
        return KubernetesScheduler()

    def queue(self, host: Host, service: str | None = None) -> JobQueue:
        name = self._service(service)
        key = (host.location, name)
        if key not in self._queues:
            if host is self._storage_host:
                self._queues[key] = KubernetesQueue(host, self.jobs)
            else:
                self._queues[key] = JobQueue(host, ProcessScheduler())
        return self._queues[key]

    def options(self, service: str | None = None) -> Mapping[str, Any]:
        name = self._service(service)
        config = self.deployment.config
        if name in self._pods:
            return {}
        native = {k: v for k, v in self.services.get(name or "", {}).items() if k not in _NOT_OPTIONS}
        limits = {key: config[key] for key in ("maxConcurrentJobs", "pollingInterval") if config.get(key) is not None}
        return {**limits, **native, "storage": config.get("storage") or {}, **super().options(name)}

    def default_workdir(self) -> str:
        storage = self.deployment.config.get("storage")
        if not storage:
            return f"/tmp/{FOLDER}"
        return f"{str(storage.get('mountPath') or manifest.DEFAULT_MOUNT).rstrip('/')}/{FOLDER}"

    async def _expanded_workdir(self, host: Host) -> str:
        path = await super()._expanded_workdir(host)
        # a volume has no accounts: what belongs to whom is told by folders
        return f"{path}/{_folder_of(self.deployment.config['conn_id'])}" if self.deployment.personal else path

    async def close(self) -> None:
        await self.jobs.close()
        await self.cluster.close()


def _folder_of(conn_id: str) -> str:
    name = quote(conn_id, safe="")
    return f"of-{name}" if len(name) <= LONGEST_NAME else f"of-{hashlib.sha256(conn_id.encode()).hexdigest()}"


def is_pods(service: Mapping[str, Any]) -> bool:
    """Whether a service consists of existing pods."""
    return bool(service.get("pod") or service.get("selector"))
