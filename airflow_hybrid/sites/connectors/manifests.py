# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``kubernetes`` with ``files``: manifests that are deployed for a DAG run, whose pods' containers are services."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

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

DEPLOY_TIMEOUT_S = 600


class RunPods:
    """The containers of the pods that were deployed for a run; each is a location."""

    def __init__(self, cluster: Cluster, deployment: str, selector: str) -> None:
        self.cluster = cluster
        self.deployment = deployment
        self.selector = selector
        self._hosts: dict[tuple[str, str], PodHost] = {}

    async def hosts(self, container: str | None) -> list[Host]:
        """Those of the containers called so (all, for None) whose pod is ready.

        :raises SiteError: there is none.
        """
        await self.cluster.connect()
        found = await self.cluster.call(
            "CoreV1Api", "list_namespaced_pod", self.cluster.namespace, label_selector=self.selector
        )
        hosts: list[Host] = []
        for pod in sorted(found["items"], key=answers.name_of):
            if pod["metadata"].get("deletionTimestamp") or not answers.condition(pod, "Ready"):
                continue
            names = [str(c["name"]) for c in pod["spec"]["containers"]]
            hosts += [self._host(pod, name, len(names) > 1) for name in names if container in (None, name)]
        if not hosts:
            raise SiteError(
                f"no pod of deployment {self.deployment!r} with a container {container or ''!r} is ready",
                where=f"{self.cluster.title}: {self.selector}",
                hint="clear the deployment's setup task and the steps whose files were in it, and all is made anew",
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

    Without ``namespace`` each run has one of its own. A service that the hybrid file does not declare is the name of
    a container in the manifests' pods, as in StreamFlow.
    """

    managed = True

    def __init__(self, deployment: Deployment, inner: Connector | None = None) -> None:
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
        super().__init__(dataclasses.replace(deployment, config=config), inner)
        if self.own_namespace:  # before it connects
            self.cluster.settings = dataclasses.replace(self.cluster.settings, namespace=self.deployed_name)
            self.cluster.namespace = self.deployed_name
        self._run_pods = RunPods(self.cluster, deployment.name, f"{TOKEN_LABEL}={deployment.token}")

    def _of_run(self, service: str | None) -> bool:
        """Whether a service is containers of the run's pods."""
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

    def _items(self) -> Sequence[dict[str, Any]]:
        return read_manifests(self.deployment.config.get("files") or ())

    async def deployable(self) -> str:
        items = self._items()
        own = not self.deployment.config.get("namespace")
        await Manifests(self.cluster, "", self.deployed_name, "", own).try_out(items)
        return f"{await self.where()}, {len(items)} objects"

    async def deploy(self, services: Collection[str]) -> None:
        items = self._items()
        self._check_services(services, items, ", ".join(self.deployment.config["files"]))
        manifests = self._manifests()
        await manifests.apply(items)
        if self.deployment.config.get("wait", True):
            await manifests.wait(items, float(self.deployment.config.get("timeout") or DEPLOY_TIMEOUT_S))

    def _check_services(self, services: Collection[str], items: Sequence[dict[str, Any]], where: str) -> None:
        """:raises ConfigError: a service that a step is bound to is not there."""
        known = sorted({*containers_of(items), *self.services})
        for service in services:
            if service not in known:
                raise ConfigError(
                    f"deployment {self.deployment.name!r} has no service {service!r}, to which a step is bound",
                    where=where,
                    hint="a service is a container of its pods, or declared in `services`; there are: "
                    + (", ".join(known) or "none"),
                )

    async def undeploy(self) -> None:
        try:
            items = self._items()
        except ConfigError:
            items = []  # the files may have changed since; the labels tell what is ours
        await self._manifests().remove(items)

    async def deployed(self) -> list[Deployed]:
        await self.cluster.connect()
        things = []
        pods = f"/api/v1/namespaces/{self.cluster.namespace}/pods"
        for kind, path in (("namespace", "/api/v1/namespaces"), ("pod", pods)):
            try:
                answer = await self.cluster.request("GET", path, labelSelector=TOKEN_LABEL)
            except HybridError:
                if kind == "pod":
                    raise
                continue  # a role of one namespace sees no others, and has made none
            things += [(kind, item["metadata"]) for item in answer["items"]]
        return self._found(things)

    def _found(self, things: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Deployed]:
        """:param things: kind and metadata of what carries a token."""
        found: dict[str, tuple[list[str], str]] = {}
        for kind, metadata in things:
            token = metadata["labels"][TOKEN_LABEL]
            if TOKEN.fullmatch(token) and metadata["labels"].get(NAME_LABEL) == self.name_for(token):
                kinds, _ = found.setdefault(token, ([], (metadata.get("annotations") or {}).get(RUN_NOTE, "")))
                kinds.append(kind)
        return [
            Deployed(token, ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))), run)
            for token, (kinds, run) in found.items()
        ]


def _selector(labels: Mapping[str, str] | str) -> str:
    return labels if isinstance(labels, str) else ",".join(f"{key}={value}" for key, value in labels.items())
