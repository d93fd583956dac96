# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``helm``: a chart that is installed for a DAG run. The containers of its pods are services."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from airflow_hybrid.amounts import counted
from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import DeployError, HybridError
from airflow_hybrid.sites.connectors.base import TOKEN, Connector, Deployed
from airflow_hybrid.sites.connectors.manifests import ManifestsConnector, RunPods
from airflow_hybrid.sites.kubernetes.helm import Release
from airflow_hybrid.sites.kubernetes.manifests import NAME_LABEL, TOKEN_LABEL, Manifests, Object, parse_manifests

INSTANCE = "app.kubernetes.io/instance"
"""label that charts give their objects by convention; StreamFlow, too, finds a release's pods by it"""


class HelmConnector(ManifestsConnector):
    """A release of a chart.

    Without ``namespace`` each run has a namespace of its own, and all pods in it belong to the release. In a namespace
    that is named, the pods labelled ``app.kubernetes.io/instance=<release>`` do.
    """

    def __init__(self, deployment: Deployment, wrapped: Connector | None = None) -> None:
        super().__init__(deployment, wrapped)
        token = deployment.token
        name = deployment.config.get("releaseName") or (self.deployed_name if token else deployment.name)
        labels = {TOKEN_LABEL: token, NAME_LABEL: self.deployed_name} if token else {}
        self.release = Release(self.cluster, name, deployment.config, labels)
        self._pods_selector = "" if self.own_namespace else f"{INSTANCE}={name}"
        self._run_pods = RunPods(self.cluster, deployment.name, self._pods_selector)

    def _of_run(self, service: str | None) -> bool:
        return True

    def _manifests(self) -> Manifests:
        deployment = self.deployment
        return _ReleasedObjects(
            self.cluster, deployment.token, self.deployed_name, deployment.run, self.own_namespace, self._pods_selector
        )

    async def deployable(self) -> str:
        objects = parse_manifests(await self.release.render(), self.deployment.config["chart"])
        return f"{await self.where()}, the chart renders {counted(len(objects), 'object')}"

    async def deploy(self, services: Collection[str]) -> None:
        manifests = self._manifests()
        objects = parse_manifests(await self.release.render(), self.deployment.config["chart"])
        self._check_services(services, objects, self.deployment.config["chart"])
        if self.own_namespace:
            await manifests.make_namespace()
        else:
            await self._refuse_others()
        await self.release.install()
        if self.deployment.config.get("wait", True) not in (False, "hookOnly"):
            await manifests.wait(objects, self.release.timeout_s)

    async def undeploy(self) -> None:
        await self.cluster.connect()
        if not self.own_namespace:
            if await self._records(f"{TOKEN_LABEL}={self.deployment.token},name={self.release.name}"):
                await self.release.uninstall()
            return
        try:
            await self.release.uninstall()
        finally:  # the namespace is removed in any case
            await self._manifests().remove([])

    async def _refuse_others(self) -> None:
        """:raises DeployError: the release exists and belongs to something else."""
        for metadata in await self._records(f"name={self.release.name}"):
            if (metadata.get("labels") or {}).get(TOKEN_LABEL) != self.deployment.token:
                raise DeployError(
                    f"the release {self.release.name!r} exists already and does not belong to this run",
                    where=self.cluster.title,
                    hint="leave out `releaseName` or `namespace`, and each run has its own; or allow one run at a time"
                    " (`dag: {max_active_runs: 1}`)",
                    retryable=False,
                )

    async def _records(self, selector: str) -> list[Mapping[str, Any]]:
        """Metadata of Helm's records of releases in the namespace: one Secret per revision."""
        path = f"/api/v1/namespaces/{self.cluster.namespace}/secrets"
        answer = await self.cluster.request("GET", path, labelSelector=f"owner=helm,{selector}")
        return [secret["metadata"] for secret in answer["items"]]

    async def deployed(self) -> list[Deployed]:
        await self.cluster.connect()
        try:
            answer = await self.cluster.request("GET", "/api/v1/namespaces", labelSelector=TOKEN_LABEL)
            objects = [("namespace", namespace["metadata"]) for namespace in answer["items"]]
        except HybridError:
            objects = []  # a role for one namespace sees no others, and has made none
        objects += [("release", metadata) for metadata in await self._records(TOKEN_LABEL)]
        return self._deployed_runs(
            (kind, metadata) for kind, metadata in objects if TOKEN.fullmatch(metadata["labels"][TOKEN_LABEL])
        )


class _ReleasedObjects(Manifests):
    """A release's objects. Its pods have no token; the namespace or the label of the release identifies them."""

    def __init__(self, *args: Any) -> None:
        *manifests_arguments, self._selector = args
        super().__init__(*manifests_arguments)

    async def _pods(self) -> list[Object]:
        path = await self._path("v1", "Pod", None)
        answer = await self.cluster.request("GET", path, labelSelector=self._selector)
        pods: list[Object] = answer["items"]
        return pods
