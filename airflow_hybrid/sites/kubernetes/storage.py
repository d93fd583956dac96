# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which pods are hosts: the service pod of a volume claim, and existing pods of a service."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from airflow_hybrid.errors import ConfigError, SiteError
from airflow_hybrid.schedulers.kubernetes import answers, manifest
from airflow_hybrid.sites.kubernetes.cluster import ApiError, Cluster
from airflow_hybrid.sites.kubernetes.pod import PodAccess, PodHost
from airflow_hybrid.sites.patience.backoff import Backoff

log = logging.getLogger(__name__)

START_S = 300.0
"""how long a service pod may take to start (attach a volume, pull an image)"""
DEFAULT_IDLE_S = 600
CACHE_S = 10.0
"""StreamFlow's locationsCacheTTL: how long a list of pods is used"""


class StoragePod:
    """The pod through which a volume claim is reached; the first process that needs it creates it.

    :param storage: the ``storage`` of the deployment's config.
    """

    def __init__(self, cluster: Cluster, deployment: str, storage: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.deployment = deployment
        self.storage = storage
        self._name: str | None = None
        self._making = asyncio.Lock()

    async def name(self, again: bool) -> str:
        """Name of a running pod; ``again``: the last one was not usable.

        :raises SiteError: it does not start, in the cluster's words.
        """
        async with self._making:
            if self._name is None or again:
                self._name = None
                self._name = await self._ensure()
            return self._name

    async def _ensure(self) -> str:
        job = manifest.service_job(self.deployment, self.storage, int(self.storage.get("idle") or DEFAULT_IDLE_S))
        name = answers.name_of(job)
        await self.cluster.connect()
        why = ""
        async for _ in Backoff(0.3, 2.0, factor=1.5, limit_s=START_S):
            pods = await self.cluster.call(
                "CoreV1Api", "list_namespaced_pod", self.cluster.namespace, label_selector=f"job-name={name}"
            )
            live = [p for p in pods["items"] if not p["metadata"].get("deletionTimestamp")]
            for pod in live:
                if (pod.get("status") or {}).get("phase") == "Running" and answers.condition(pod, "Ready"):
                    return answers.name_of(pod)
            pending = [p for p in live if (p.get("status") or {}).get("phase") in (None, "Pending", "Running")]
            if not pending:
                await self._create(job)
            for pod in pending:
                why = answers.with_message(*answers.waiting(pod)) or why
                if answers.waiting(pod)[0] in answers.NEVER:
                    raise self._problem(why)
        raise self._problem(why or "it is still pending")

    async def _create(self, job: dict[str, Any]) -> None:
        """Create the Job unless it exists; one that has ended is removed first."""
        name, namespace = answers.name_of(job), self.cluster.namespace
        try:
            await self.cluster.call("BatchV1Api", "create_namespaced_job", namespace, job)
            log.info("%s: service pod of claim %s: %s", self.cluster.title, self.storage.get("claim"), name)
        except ApiError as error:
            if error.status != 409:
                raise SiteError(
                    f"the service pod of claim {self.storage.get('claim')!r} was refused: {error.message}",
                    where=error.where, hint="check `storage` of the deployment in the hybrid file",
                ) from None  # fmt: skip
            existing = await self.cluster.call("BatchV1Api", "read_namespaced_job", name, namespace)
            if answers.ended(existing):
                uid = existing["metadata"]["uid"]  # not a new one that another process has just made
                body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
                try:
                    await self.cluster.call("BatchV1Api", "delete_namespaced_job", name, namespace, body=body)
                except ApiError as gone:
                    if gone.status not in (404, 409):
                        raise

    def _problem(self, why: str) -> SiteError:
        return SiteError(
            f"the service pod of claim {self.storage.get('claim')!r} does not start: {why}",
            where=self.cluster.title,
            hint="check `storage` of the deployment: its claim, its image, and the room on the cluster's nodes",
        )

    async def remove(self) -> None:
        """Delete the service pod; the volume is kept."""
        self._name = None
        await self.cluster.connect()
        try:
            await self.cluster.call(
                "BatchV1Api", "delete_namespaced_job", manifest.service_name(self.deployment, self.storage),
                self.cluster.namespace, propagation_policy="Background",
            )  # fmt: skip
        except ApiError as error:
            if error.status != 404:
                raise


class ServicePods:
    """The locations of a service with existing pods; replicas come and go.

    :param service: its entry in the hybrid file: ``pod`` (a name) or ``selector`` (labels), ``container``.
    """

    def __init__(self, cluster: Cluster, deployment: str, name: str, service: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.deployment = deployment
        self.name = name
        self.service = service
        self._hosts: dict[str, PodHost] = {}
        self._live: list[str] = []
        self._until = 0.0

    async def hosts(self) -> list[PodHost]:
        """One host per running pod, in the order of their names; the same object for the same pod.

        :raises SiteError: none is running; says why.
        """
        if time.monotonic() > self._until:
            self._live = await self._running()
            self._until = time.monotonic() + CACHE_S
        return [self._host(pod) for pod in self._live]

    def _host(self, pod: str) -> PodHost:
        if pod not in self._hosts:

            async def same(again: bool) -> str:
                return pod

            access = PodAccess(self.cluster, same, self.service.get("container"))
            self._hosts[pod] = PodHost(self.deployment, pod, access, self.service.get("cores"))
        return self._hosts[pod]

    async def _running(self) -> list[str]:
        await self.cluster.connect()
        if self.service.get("pod"):
            more: dict[str, Any] = {"field_selector": f"metadata.name={self.service['pod']}"}
        else:
            more = {"label_selector": selector(self.service.get("selector") or {})}
        answer = await self.cluster.call("CoreV1Api", "list_namespaced_pod", self.cluster.namespace, **more)
        container = self.service.get("container")
        live, why = [], "there is no such pod"
        for pod in answer["items"]:
            names = [c["name"] for c in pod["spec"]["containers"]]
            if container and container not in names:
                raise ConfigError(
                    f"pod {answers.name_of(pod)!r} of service {self.name!r} has no container {container!r}",
                    hint=f"it has: {', '.join(names)}",
                )
            if pod["metadata"].get("deletionTimestamp") is None and answers.condition(pod, "Ready"):
                live.append(answers.name_of(pod))
            else:
                why = (
                    answers.with_message(*answers.waiting(pod))
                    or f"{answers.name_of(pod)} is {pod['status'].get('phase')}"
                )
        if not live:
            raise SiteError(
                f"service {self.name!r} of deployment {self.deployment!r} has no pod that is ready: {why}",
                where=f"{self.cluster.title}: {next(iter(more.values()))}",
            )
        return sorted(live)


def selector(labels: Mapping[str, str] | str) -> str:
    """Labels as a selector of the API: from a mapping, or from text that is a selector already."""
    return labels if isinstance(labels, str) else ",".join(f"{key}={value}" for key, value in labels.items())
