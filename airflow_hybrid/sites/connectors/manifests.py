# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``kubernetes`` with ``files``: manifests deployed for a DAG run. The containers of their pods are services."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from airflow_hybrid import settings
from airflow_hybrid.amounts import counted
from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import ConfigError, HybridError, SiteError
from airflow_hybrid.schedulers.kubernetes import answers
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.connectors.base import TOKEN, Connector, Deployed
from airflow_hybrid.sites.connectors.kubernetes import KubernetesConnector
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.kubernetes.cluster import Cluster
from airflow_hybrid.sites.kubernetes.manifests import (
    NAME_LABEL,
    RUN_NOTE,
    TOKEN_LABEL,
    Manifests,
    containers_of,
    read_manifests,
)
from airflow_hybrid.sites.kubernetes.pod import PodAccess, PodHost


class RunPods:
    """The containers of the pods that were deployed for a run; each is a location."""

    def __init__(self, cluster: Cluster, deployment: str, selector: str) -> None:
        self.cluster = cluster
        self.deployment = deployment
        self.selector = selector
        self._hosts: dict[tuple[str, str], PodHost] = {}

    async def hosts(self, container: str | None) -> list[Host]:
        """The containers of that name (None: all of them) whose pod is ready.

        :raises SiteError: there is none.
        """
        await self.cluster.connect()
        answer = await self.cluster.call(
            "CoreV1Api", "list_namespaced_pod", self.cluster.namespace, label_selector=self.selector
        )
        hosts: list[Host] = []
        for pod in sorted(answer["items"], key=answers.name_of):
            if pod["metadata"].get("deletionTimestamp") or not answers.condition(pod, "Ready"):
                continue
            names = [str(c["name"]) for c in pod["spec"]["containers"]]
            hosts += [self._host(pod, name, len(names) > 1) for name in names if container in (None, name)]
        if not hosts:
            raise SiteError(
                f"no pod of deployment {self.deployment!r} with a container {container or ''!r} is ready",
                where=f"{self.cluster.title}: {self.selector}",
                hint="clear the deployment's setup task and the steps whose files were in it; they are run again",
            )
        return hosts

    def _host(self, pod: Mapping[str, Any], container: str, several: bool) -> PodHost:
        name, uid = answers.name_of(pod), str(pod["metadata"].get("uid"))
        if (uid, container) not in self._hosts:

            async def same(again: bool) -> str:
                return name

            location = f"{name}.{container}" if several else name
            self._hosts[uid, container] = PodHost(self.deployment, location, PodAccess(self.cluster, same, container))
        return self._hosts[uid, container]


class ManifestsConnector(KubernetesConnector):
    """A namespace of a cluster, and what is deployed there for the run.

    Without ``namespace`` each run has a namespace of its own. A service that the hybrid file does not declare is the
    name of a container in the manifests' pods, as in StreamFlow.
    """

    managed = True

    def __init__(self, deployment: Deployment, wrapped: Connector | None = None) -> None:
        config = dict(deployment.config)
        self.own_namespace = bool(deployment.token) and not config.get("namespace")
        if deployment.token:
            ours = f"{TOKEN_LABEL}={deployment.token}"
            config["services"] = {
                name: {**service, "selector": f"{_selector(service['selector'])},{ours}"}
                if service.get("selector")
                else service
                for name, service in (config.get("services") or {}).items()
            }
        super().__init__(dataclasses.replace(deployment, config=config), wrapped)
        if self.own_namespace:  # before it connects
            self.cluster.settings = dataclasses.replace(self.cluster.settings, namespace=self.deployed_name)
            self.cluster.namespace = self.deployed_name
        self._run_pods = RunPods(self.cluster, deployment.name, f"{TOKEN_LABEL}={deployment.token}")

    def _of_run(self, service: str | None) -> bool:
        """Whether a service consists of containers of the run's pods."""
        if not self.deployment.token:
            return False
        return service not in self.services if service is not None else not self.services

    async def hosts(self, service: str | None = None) -> list[Host]:
        if self._of_run(service):
            return await self._run_pods.hosts(service)
        return await super().hosts(service)

    def queue(self, host: Host, service: str | None = None) -> JobQueue:
        if self._of_run(service):
            key = (host.location, service)
            if key not in self._queues or self._queues[key].host is not host:
                self._queues[key] = JobQueue(host, ProcessScheduler())
            return self._queues[key]
        return super().queue(host, service)

    def options(self, service: str | None = None) -> Mapping[str, Any]:
        return {} if self._of_run(service) else super().options(service)

    # --- deploying --------------------------------------------------------------------------------------------------

    async def where(self) -> str:
        await self.cluster.connect()
        return self.cluster.title

    def _manifests(self) -> Manifests:
        deployment = self.deployment
        return Manifests(self.cluster, deployment.token, self.deployed_name, deployment.run, self.own_namespace)

    def _objects(self) -> Sequence[dict[str, Any]]:
        return read_manifests(self.deployment.config.get("files") or ())

    async def deployable(self) -> str:
        objects = self._objects()
        own_namespace = not self.deployment.config.get("namespace")
        await Manifests(self.cluster, "", self.deployed_name, "", own_namespace).try_out(objects)
        return f"{await self.where()}, {counted(len(objects), 'object')}"

    async def deploy(self, services: Collection[str]) -> None:
        objects = self._objects()
        self._check_services(services, objects, ", ".join(self.deployment.config["files"]))
        manifests = self._manifests()
        await manifests.apply(objects)
        if self.deployment.config.get("wait", True):
            await manifests.wait(
                objects, float(self.deployment.config.get("timeout") or settings.current().deploy_timeout)
            )

    def _check_services(self, services: Collection[str], objects: Sequence[dict[str, Any]], where: str) -> None:
        """:raises ConfigError: a step is bound to a service that does not exist."""
        names = sorted({*containers_of(objects), *self.services})
        for service in services:
            if service not in names:
                raise ConfigError(
                    f"deployment {self.deployment.name!r} has no service {service!r}, to which a step is bound",
                    where=where,
                    hint="a service is a container of its pods, or is declared in `services`; it has: "
                    + (", ".join(names) or "none"),
                )

    async def undeploy(self) -> None:
        try:
            objects = self._objects()
        except ConfigError:
            objects = []  # the files may have changed since; what is ours is found by labels
        await self._manifests().remove(objects)

    async def deployed(self) -> list[Deployed]:
        await self.cluster.connect()
        objects = []
        pods = f"/api/v1/namespaces/{self.cluster.namespace}/pods"
        for kind, path in (("namespace", "/api/v1/namespaces"), ("pod", pods)):
            try:
                answer = await self.cluster.request("GET", path, labelSelector=TOKEN_LABEL)
            except HybridError:
                if kind == "pod":
                    raise
                continue  # a role for one namespace sees no others, and has made none
            objects += [(kind, obj["metadata"]) for obj in answer["items"]]
        return self._deployed_runs(objects)

    def _deployed_runs(self, objects: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Deployed]:
        """:param objects: kind and metadata of what has a token."""
        kinds_and_run: dict[str, tuple[list[str], str]] = {}
        for kind, metadata in objects:
            token = metadata["labels"][TOKEN_LABEL]
            if TOKEN.fullmatch(token) and metadata["labels"].get(NAME_LABEL) == self.name_for(token):
                kinds, _ = kinds_and_run.setdefault(token, ([], (metadata.get("annotations") or {}).get(RUN_NOTE, "")))
                kinds.append(kind)
        return [
            Deployed(token, ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))), run)
            for token, (kinds, run) in kinds_and_run.items()
        ]


def _selector(labels: Mapping[str, str] | str) -> str:
    return labels if isinstance(labels, str) else ",".join(f"{key}={value}" for key, value in labels.items())
