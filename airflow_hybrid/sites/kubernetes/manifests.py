# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Manifests that are deployed for a DAG run: applied, waited for, found again by their labels, removed.

Objects are applied on the server's side (PATCH ``application/apply-patch+yaml``), so that applying them again changes
nothing. Each object, and each pod that it makes, has the run's token as a label. If the hybrid file names no namespace,
the run has one of its own, and everything in it is removed with it.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from airflow_hybrid.errors import AuthenticationError, ConfigError, DeployError, HybridError
from airflow_hybrid.sites.kubernetes.cluster import ApiError, Cluster
from airflow_hybrid.sites.kubernetes.readiness import (
    Unready,
    has_lasting_pods,
    problems_of_pods,
    problems_of_quota,
    ready,
    reasons_of_waiting,
    refusal_of,
)
from airflow_hybrid.sites.patience.backoff import Backoff
from airflow_hybrid.yaml_problems import placed_yaml_problem

log = logging.getLogger(__name__)
Object = dict[str, Any]

MANAGER = "airflow-hybrid"
TOKEN_LABEL, NAME_LABEL, RUN_NOTE = (f"{MANAGER}/{key}" for key in ("token", "name", "run"))
POLL_S = 1.0
GONE_S = 180.0
"""how long the deletion of objects may take (a pod's default grace period is 30 s)"""
_POD_HINT = "check the image, the command and the probes in the manifests"
_KINDS = (
    ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("apps/v1", "ReplicaSet"),
    ("batch/v1", "CronJob"), ("batch/v1", "Job"), ("v1", "Pod"), ("v1", "Service"), ("networking.k8s.io/v1", "Ingress"),
    ("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "ServiceAccount"), ("v1", "PersistentVolumeClaim"),
)  # fmt: skip
"""kinds that are searched when a run's objects are removed, besides those in its files"""


def read_manifests(files: Iterable[str]) -> list[Object]:
    """The objects of some YAML files, in order; lists are flattened.

    :raises ConfigError: a file cannot be read, or contains something that is not an object.
    """
    objects: list[Object] = []
    for file in files:
        try:
            with open(file, encoding="utf-8") as stream:
                text = stream.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the manifest cannot be read: {error}", where=file) from None
        objects += parse_manifests(text, file)
    return objects


def parse_manifests(text: str, where: str) -> list[Object]:
    """The objects of some YAML text.

    :raises ConfigError: it is not YAML, or contains something that is not an object.
    """
    import yaml

    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise ConfigError(f"the manifest is not valid YAML: {placed_yaml_problem(error)}", where=where) from None
    objects: list[Object] = []
    for document in documents:
        members = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
        for obj in [document] if members is None else members:
            if not isinstance(obj, dict) or not all(isinstance(obj.get(k), str) for k in ("kind", "apiVersion")):
                raise ConfigError("a manifest needs `apiVersion` and `kind`", where=where)
            if not isinstance((obj.get("metadata") or {}).get("name"), str):
                raise ConfigError(f"a {obj['kind']} has no `metadata.name`", where=where)
            objects.append(obj)
    return objects


def pod_of(obj: Object) -> Object | None:
    """The pod, or pod template, in an object: a mapping with ``metadata`` and ``spec``."""
    if obj["kind"] == "Pod":
        return obj
    spec = obj.get("spec") or {}
    if obj["kind"] == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template = spec.get("template") if isinstance(spec, dict) else None
    return template if isinstance(template, dict) and isinstance(template.get("spec"), dict) else None


def containers_of(objects: Iterable[Object]) -> list[str]:
    """Names of all containers: the services that a step can be bound to."""
    pods = [pod for obj in objects if (pod := pod_of(obj)) is not None]
    return sorted({str(c.get("name")) for pod in pods for c in pod["spec"].get("containers") or ()})


def labelled(obj: Object, labels: Mapping[str, str], run: str) -> Object:
    """A copy of an object with labels on it and on its pods."""
    metadata = dict(obj["metadata"])
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), RUN_NOTE: run}
    new = {**obj, "metadata": metadata}
    pod = pod_of(obj)
    if pod is None:
        return new
    if obj["kind"] == "Pod":
        return new
    pod_metadata = dict(pod.get("metadata") or {})
    pod_metadata["labels"] = {**(pod_metadata.get("labels") or {}), **labels}
    template = {**pod, "metadata": pod_metadata}
    spec = dict(obj["spec"])
    if obj["kind"] == "CronJob":
        spec["jobTemplate"] = {**spec["jobTemplate"], "spec": {**spec["jobTemplate"]["spec"], "template": template}}
    else:
        spec["template"] = template
    return {**new, "spec": spec}


class Manifests:
    """The objects of one run in one cluster.

    :param token, name: the token of the run, and the name of what is deployed for it.
    :param own_namespace: the namespace belongs to the run.
    """

    def __init__(self, cluster: Cluster, token: str, name: str, run: str, own_namespace: bool) -> None:
        self.cluster = cluster
        self.labels = {TOKEN_LABEL: token, NAME_LABEL: name}
        self.run = run
        self.own_namespace = own_namespace
        self._paths: dict[str, dict[str, tuple[str, bool]]] = {}

    # --- up ---------------------------------------------------------------------------------------------------------

    async def apply(self, objects: Sequence[Object]) -> None:
        """Apply the objects, in order.

        :raises DeployError: the server refuses one, in its own words; or one belongs to another run.
        """
        await self.cluster.connect()
        if self.own_namespace:
            await self.make_namespace()
        for obj in objects:
            await self._apply_one(labelled(obj, self.labels, self.run))

    async def try_out(self, objects: Sequence[Object]) -> None:
        """Let the cluster check the objects (or only a namespace, if each run has its own); nothing is created.

        :raises ConfigError: the cluster has no such kind.
        :raises DeployError: it refuses an object, in its own words.
        """
        await self.cluster.connect()
        for obj in objects:
            await self._path(obj["apiVersion"], obj["kind"], None)
        namespace: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "airflow-hybrid-check"}}
        for obj in [namespace] if self.own_namespace else objects:
            path = await self._path(obj["apiVersion"], obj["kind"], obj["metadata"].get("namespace"))
            try:
                await self.cluster.request("POST", path, obj, dryRun="All")
            except (ApiError, AuthenticationError) as error:
                if isinstance(error, ApiError) and error.status == 409:
                    continue  # it exists: it belongs to a run that has not ended
                lacks = [f'"{other["metadata"]["name"]}" not found' for other in objects if other is not obj]
                if any(words in error.message for words in lacks):
                    continue  # it needs another of the objects, which is created before it
                raise self._refused(obj, error) from None

    def _refused(self, obj: Object, error: HybridError) -> DeployError:
        return DeployError(
            f"the cluster refuses {obj['kind']} {obj['metadata']['name']!r}: {error.message}",
            where=self.cluster.title,
            retryable=error.retryable,
            hint="check the deployment's manifests (`config.files`)",
        )

    async def make_namespace(self) -> None:
        """Create the run's own namespace, unless it exists."""
        await self.cluster.connect()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.cluster.namespace}}
        try:
            await self._apply_one(labelled(namespace, self.labels, self.run))
        except AuthenticationError as error:
            raise DeployError(
                f"the run's own namespace cannot be created: {error.message}",
                where=self.cluster.title,
                hint="set `config.namespace` (then one run at a time), or use a role that may create namespaces",
                retryable=False,
            ) from None

    async def _apply_one(self, obj: Object) -> None:
        title = f"{obj['kind']} {obj['metadata']['name']!r}"
        path = await self._path(obj["apiVersion"], obj["kind"], obj["metadata"].get("namespace"))
        path = f"{path}/{quote(obj['metadata']['name'])}"
        try:
            existing = await self.cluster.request("GET", path)
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            self._check_ours(existing, title)
        try:
            await self.cluster.request(
                "PATCH", path, obj, content_type="application/apply-patch+yaml", fieldManager=MANAGER, force="true"
            )
        except ApiError as error:
            raise self._refused(obj, error) from None

    def _check_ours(self, existing: Object, title: str) -> None:
        metadata = existing["metadata"]
        if (metadata.get("labels") or {}).get(TOKEN_LABEL) == self.labels[TOKEN_LABEL]:
            if metadata.get("deletionTimestamp"):
                raise DeployError(f"{title} is being deleted", where=self.cluster.title)
            return
        owner = (metadata.get("annotations") or {}).get(RUN_NOTE)
        raise DeployError(
            f"{title} exists already: "
            + (f"it was deployed for the run {owner}" if owner else "it was not deployed by us"),
            where=self.cluster.title,
            hint="leave out `config.namespace`, and each run has a namespace of its own; or allow one run at a time"
            " (`dag: {max_active_runs: 1}`)",
        )

    async def wait(self, objects: Sequence[Object], timeout_s: float) -> None:
        """Wait until all pods of the objects are ready.

        :raises DeployError: a pod cannot become ready, in the cluster's words; or it took too long.
        """
        announced = ""
        unready: list[Unready] = []
        pods: list[Object] = []
        async for _ in Backoff(POLL_S, POLL_S, limit_s=timeout_s):
            unready = await self._unready(objects)
            if not unready:
                return
            pods = await self._pods()
            problems = [*problems_of_pods(pods), *problems_of_quota(unready)]
            if problems:
                raise self._hopeless(unready, problems)
            refused = ", ".join(str(blocked) for blocked in unready if blocked.refusal)
            if refused and refused != announced:
                log.warning("%s: waiting for %s", self.cluster.title, refused)
                announced = refused
        raise self._late(unready, reasons_of_waiting(pods), timeout_s)

    def _hopeless(self, unready: Sequence[Unready], problems: Sequence[str]) -> DeployError:
        return DeployError(
            f"not ready: {', '.join(map(str, unready))}" + _lines(problems),
            where=self.cluster.title,
            hint=_POD_HINT,
            retryable=False,
        )

    def _late(self, unready: Sequence[Unready], reasons: Sequence[str], timeout_s: float) -> DeployError:
        return DeployError(
            f"not ready within {timeout_s:g} s: {', '.join(map(str, unready))}" + _lines(reasons),
            where=self.cluster.title,
            hint=f"{_POD_HINT}; for more time, set `config.timeout` (seconds)",
        )

    async def _unready(self, objects: Sequence[Object]) -> list[Unready]:
        """The objects whose pods are not ready."""
        unready = []
        for obj in objects:
            kind, name = obj["kind"], obj["metadata"]["name"]
            if not has_lasting_pods(kind):
                continue
            path = await self._path(obj["apiVersion"], kind, obj["metadata"].get("namespace"))
            current = await self.cluster.request("GET", f"{path}/{quote(name)}")
            if not ready(current):
                unready.append(Unready(f"{kind} {name}", refusal_of(current)))
        return unready

    async def _pods(self) -> list[Object]:
        return await self._list("v1", "Pod")

    async def _list(self, version: str, kind: str) -> list[Object]:
        path = await self._path(version, kind, None)
        answer = await self.cluster.request("GET", path, labelSelector=f"{TOKEN_LABEL}={self.labels[TOKEN_LABEL]}")
        objects: list[Object] = answer["items"]
        return [obj for obj in objects if (obj["metadata"]["labels"]).get(NAME_LABEL) == self.labels[NAME_LABEL]]

    # --- down -------------------------------------------------------------------------------------------------------

    async def remove(self, objects: Sequence[Object]) -> None:
        """Delete everything with the run's labels, and wait until it is gone.

        :param objects: the objects that were applied, as far as their files can still be read.
        :raises DeployError: something is still there.
        """
        await self.cluster.connect()
        if self.own_namespace:
            await self._remove_namespace()
            return
        kinds = list(dict.fromkeys([*((i["apiVersion"], i["kind"]) for i in reversed(objects)), *_KINDS]))
        left: list[str] = []
        async for _ in Backoff(POLL_S, POLL_S, limit_s=GONE_S):
            left = [title for version, kind in kinds for title in await self._delete_all(version, kind)]
            if not left:
                return
        raise DeployError(f"still there: {', '.join(left[:5])}", where=self.cluster.title)

    async def _delete_all(self, version: str, kind: str) -> list[str]:
        """Request the deletion of all objects of a kind; -> those that still exist."""
        try:
            objects = await self._list(version, kind)
        except (ApiError, ConfigError, AuthenticationError):
            return []  # the cluster does not have this kind, or we may not see it and so have not made any
        for obj in objects:
            if not obj["metadata"].get("deletionTimestamp"):
                path = await self._path(version, kind, obj["metadata"].get("namespace"))
                await self._delete(f"{path}/{quote(obj['metadata']['name'])}")
        return [f"{kind} {obj['metadata']['name']}" for obj in objects]

    async def _remove_namespace(self) -> None:
        path = f"/api/v1/namespaces/{quote(self.cluster.namespace)}"
        async for _ in Backoff(POLL_S / 2, POLL_S / 2, limit_s=GONE_S):
            try:
                namespace = await self.cluster.request("GET", path)
            except ApiError as error:
                if error.status == 404:
                    return
                raise
            if (namespace["metadata"].get("labels") or {}).get(TOKEN_LABEL) != self.labels[TOKEN_LABEL]:
                raise DeployError(f"the namespace {self.cluster.namespace} is not ours", where=self.cluster.title)
            if not namespace["metadata"].get("deletionTimestamp"):
                await self._delete(path)
        raise DeployError(f"the namespace {self.cluster.namespace} is still there", where=self.cluster.title)

    async def _delete(self, path: str) -> None:
        try:
            await self.cluster.request("DELETE", path, {"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    # --- the API's map ----------------------------------------------------------------------------------------------

    async def _path(self, version: str, kind: str, namespace: str | None) -> str:
        """The API path of the collection of a kind's objects.

        :raises ConfigError: the cluster has no such kind.
        """
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if version not in self._paths:
            try:
                answer = await self.cluster.request("GET", root)
            except ApiError as error:
                if error.status != 404:
                    raise
                answer = {"resources": []}
            self._paths[version] = {
                r["kind"]: (r["name"], bool(r["namespaced"])) for r in answer["resources"] if "/" not in r["name"]
            }
        if kind not in self._paths[version]:
            raise ConfigError(f"the cluster has no kind {kind!r} in {version!r}", where=self.cluster.title)
        plural, namespaced = self._paths[version][kind]
        where = f"/namespaces/{quote(namespace or self.cluster.namespace)}" if namespaced else ""
        return f"{root}{where}/{plural}"


def _lines(texts: Sequence[str]) -> str:
    """The first few texts, each on a line of its own after a message."""
    return "".join(f"\n  {text}" for text in texts[:5])
