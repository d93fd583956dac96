# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Manifests that are deployed for a DAG run: applied, waited for, found again by their labels, removed.

Objects are applied on the server's side (PATCH ``application/apply-patch+yaml``), so that applying them again changes
nothing. Each, and each pod that comes of one, carries the run's token as a label. Where the hybrid file names no
namespace the run has one of its own, and what goes away with it needs no further care.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from airflow_hybrid.errors import AuthenticationError, ConfigError, DeployError, HybridError
from airflow_hybrid.sites.hosts.backoff import Backoff
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
from airflow_hybrid.yaml_problems import placed_yaml_problem

log = logging.getLogger(__name__)
Object = dict[str, Any]

MANAGER = "airflow-hybrid"
TOKEN_LABEL, NAME_LABEL, RUN_NOTE = (f"{MANAGER}/{key}" for key in ("token", "name", "run"))
POLL_S = 1.0
GONE_S = 180.0
"""how long objects may take to go (a pod's grace period is 30 s unless it says otherwise)"""
_POD_HINT = "see the image, the command and the probes in the manifests"
_KINDS = (
    ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("apps/v1", "ReplicaSet"),
    ("batch/v1", "CronJob"), ("batch/v1", "Job"), ("v1", "Pod"), ("v1", "Service"), ("networking.k8s.io/v1", "Ingress"),
    ("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "ServiceAccount"), ("v1", "PersistentVolumeClaim"),
)  # fmt: skip
"""What is looked for when a run's objects are removed, besides the kinds in its files."""


def read_manifests(files: Iterable[str]) -> list[Object]:
    """The objects of some YAML files, in order; lists are taken apart.

    :raises ConfigError: a file cannot be read, or holds what is no object.
    """
    found: list[Object] = []
    for file in files:
        try:
            with open(file, encoding="utf-8") as stream:
                text = stream.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the manifest cannot be read: {error}", where=file) from None
        found += parse_manifests(text, file)
    return found


def parse_manifests(text: str, where: str) -> list[Object]:
    """The objects of some YAML text.

    :raises ConfigError: it is no YAML, or holds what is no object.
    """
    import yaml

    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise ConfigError(f"the manifest is not valid YAML: {placed_yaml_problem(error)}", where=where) from None
    found: list[Object] = []
    for document in documents:
        items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
        for item in [document] if items is None else items:
            if not isinstance(item, dict) or not all(isinstance(item.get(k), str) for k in ("kind", "apiVersion")):
                raise ConfigError("a manifest needs `apiVersion` and `kind`", where=where)
            if not isinstance((item.get("metadata") or {}).get("name"), str):
                raise ConfigError(f"a {item['kind']} has no `metadata.name`", where=where)
            found.append(item)
    return found


def pod_of(item: Object) -> Object | None:
    """The pod, or pod template, in an object: a mapping with ``metadata`` and ``spec``."""
    if item["kind"] == "Pod":
        return item
    spec = item.get("spec") or {}
    if item["kind"] == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template = spec.get("template") if isinstance(spec, dict) else None
    return template if isinstance(template, dict) and isinstance(template.get("spec"), dict) else None


def containers_of(items: Iterable[Object]) -> list[str]:
    """Names of all containers: the services that a step can be bound to."""
    pods = [pod for item in items if (pod := pod_of(item)) is not None]
    return sorted({str(c.get("name")) for pod in pods for c in pod["spec"].get("containers") or ()})


def labelled(item: Object, labels: Mapping[str, str], run: str) -> Object:
    """A copy of an object with labels on it and on its pods."""
    metadata = dict(item["metadata"])
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), RUN_NOTE: run}
    new = {**item, "metadata": metadata}
    pod = pod_of(item)
    if pod is None:
        return new
    if item["kind"] == "Pod":
        return new
    inner = dict(pod.get("metadata") or {})
    inner["labels"] = {**(inner.get("labels") or {}), **labels}
    template = {**pod, "metadata": inner}
    spec = dict(item["spec"])
    if item["kind"] == "CronJob":
        spec["jobTemplate"] = {**spec["jobTemplate"], "spec": {**spec["jobTemplate"]["spec"], "template": template}}
    else:
        spec["template"] = template
    return {**new, "spec": spec}


class Manifests:
    """The objects of one run in one cluster.

    :param token, name: of the run, and of what is deployed for it.
    :param own: the namespace is the run's own.
    """

    def __init__(self, cluster: Cluster, token: str, name: str, run: str, own: bool) -> None:
        self.cluster = cluster
        self.labels = {TOKEN_LABEL: token, NAME_LABEL: name}
        self.run = run
        self.own = own
        self._paths: dict[str, dict[str, tuple[str, bool]]] = {}

    # --- up ---------------------------------------------------------------------------------------------------------

    async def apply(self, items: Sequence[Object]) -> None:
        """Apply the objects, in order.

        :raises DeployError: the server refuses one, in its words; or it is there and is another run's.
        """
        await self.cluster.connect()
        if self.own:
            await self.make_namespace()
        for item in items:
            await self._apply_one(labelled(item, self.labels, self.run))

    async def try_out(self, items: Sequence[Object]) -> None:
        """Let the cluster judge the objects (or, where each run has a namespace of its own, such a one); none is made.

        :raises ConfigError: the cluster has no such kind.
        :raises DeployError: it refuses an object, in its words.
        """
        await self.cluster.connect()
        for item in items:
            await self._path(item["apiVersion"], item["kind"], None)
        namespace: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "airflow-hybrid-check"}}
        for item in [namespace] if self.own else items:
            path = await self._path(item["apiVersion"], item["kind"], item["metadata"].get("namespace"))
            try:
                await self.cluster.request("POST", path, item, dryRun="All")
            except (ApiError, AuthenticationError) as error:
                if isinstance(error, ApiError) and error.status == 409:
                    continue  # it is there: of a run that goes on
                lacks = [f'"{other["metadata"]["name"]}" not found' for other in items if other is not item]
                if any(words in error.message for words in lacks):
                    continue  # another of the objects, which is made before it
                raise self._refused(item, error) from None

    def _refused(self, item: Object, error: HybridError) -> DeployError:
        return DeployError(
            f"the cluster refuses {item['kind']} {item['metadata']['name']!r}: {error.message}",
            where=self.cluster.title,
            retryable=error.retryable,
            hint="see the deployment's manifests (`config.files`)",
        )

    async def make_namespace(self) -> None:
        """Make the run's own namespace, unless it is there."""
        await self.cluster.connect()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.cluster.namespace}}
        try:
            await self._apply_one(labelled(namespace, self.labels, self.run))
        except AuthenticationError as error:
            raise DeployError(
                f"the run's own namespace cannot be made: {error.message}",
                where=self.cluster.title,
                hint="give `config.namespace` (then one run at a time), or a role that may create namespaces",
                retryable=False,
            ) from None

    async def _apply_one(self, item: Object) -> None:
        title = f"{item['kind']} {item['metadata']['name']!r}"
        path = await self._path(item["apiVersion"], item["kind"], item["metadata"].get("namespace"))
        path = f"{path}/{quote(item['metadata']['name'])}"
        try:
            there = await self.cluster.request("GET", path)
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            self._check_ours(there, title)
        try:
            await self.cluster.request(
                "PATCH", path, item, content_type="application/apply-patch+yaml", fieldManager=MANAGER, force="true"
            )
        except ApiError as error:
            raise self._refused(item, error) from None

    def _check_ours(self, there: Object, title: str) -> None:
        metadata = there["metadata"]
        if (metadata.get("labels") or {}).get(TOKEN_LABEL) == self.labels[TOKEN_LABEL]:
            if metadata.get("deletionTimestamp"):
                raise DeployError(f"{title} is being deleted", where=self.cluster.title)
            return
        owner = (metadata.get("annotations") or {}).get(RUN_NOTE)
        raise DeployError(
            f"{title} is there already, "
            + (f"deployed for the run {owner}" if owner else "and was not deployed by us"),
            where=self.cluster.title,
            hint="leave `config.namespace` out, and each run has a namespace of its own; or allow one run at a time"
            " (`dag: {max_active_runs: 1}`)",
        )

    async def wait(self, items: Sequence[Object], timeout_s: float) -> None:
        """Wait until all pods of the objects are ready.

        :raises DeployError: a pod cannot become ready, in the cluster's words; or not in time.
        """
        announced = ""
        unready: list[Unready] = []
        pods: list[Object] = []
        async for _ in Backoff(POLL_S, POLL_S, limit_s=timeout_s):
            unready = await self._unready(items)
            if not unready:
                return
            pods = await self._pods()
            problems = [*problems_of_pods(pods), *problems_of_quota(unready)]
            if problems:
                raise self._hopeless(unready, problems)
            refused = ", ".join(str(one) for one in unready if one.refusal)
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
            hint=f"{_POD_HINT}; `config.timeout` (seconds) gives it more time",
        )

    async def _unready(self, items: Sequence[Object]) -> list[Unready]:
        """Those of the objects whose pods are not ready."""
        unready = []
        for item in items:
            kind, name = item["kind"], item["metadata"]["name"]
            if not has_lasting_pods(kind):
                continue
            path = await self._path(item["apiVersion"], kind, item["metadata"].get("namespace"))
            current = await self.cluster.request("GET", f"{path}/{quote(name)}")
            if not ready(current):
                unready.append(Unready(f"{kind} {name}", refusal_of(current)))
        return unready

    async def _pods(self) -> list[Object]:
        return await self._list("v1", "Pod")

    async def _list(self, version: str, kind: str) -> list[Object]:
        path = await self._path(version, kind, None)
        found = await self.cluster.request("GET", path, labelSelector=f"{TOKEN_LABEL}={self.labels[TOKEN_LABEL]}")
        items: list[Object] = found["items"]
        return [item for item in items if (item["metadata"]["labels"]).get(NAME_LABEL) == self.labels[NAME_LABEL]]

    # --- down -------------------------------------------------------------------------------------------------------

    async def remove(self, items: Sequence[Object]) -> None:
        """Delete everything with the run's labels, and wait until it is gone.

        :param items: the objects that were applied, as far as their files can still be read.
        :raises DeployError: something is still there.
        """
        await self.cluster.connect()
        if self.own:
            await self._remove_namespace()
            return
        kinds = list(dict.fromkeys([*((i["apiVersion"], i["kind"]) for i in reversed(items)), *_KINDS]))
        left: list[str] = []
        async for _ in Backoff(POLL_S, POLL_S, limit_s=GONE_S):
            left = [item for version, kind in kinds for item in await self._delete_all(version, kind)]
            if not left:
                return
        raise DeployError(f"still there: {', '.join(left[:5])}", where=self.cluster.title)

    async def _delete_all(self, version: str, kind: str) -> list[str]:
        """Ask for the deletion of all objects of a kind; -> those that are still there."""
        try:
            found = await self._list(version, kind)
        except (ApiError, ConfigError, AuthenticationError):
            return []  # a kind that the cluster does not have, or that we may not see and so did not make
        for item in found:
            if not item["metadata"].get("deletionTimestamp"):
                path = await self._path(version, kind, item["metadata"].get("namespace"))
                await self._delete(f"{path}/{quote(item['metadata']['name'])}")
        return [f"{kind} {item['metadata']['name']}" for item in found]

    async def _remove_namespace(self) -> None:
        path = f"/api/v1/namespaces/{quote(self.cluster.namespace)}"
        async for _ in Backoff(POLL_S / 2, POLL_S / 2, limit_s=GONE_S):
            try:
                there = await self.cluster.request("GET", path)
            except ApiError as error:
                if error.status == 404:
                    return
                raise
            if (there["metadata"].get("labels") or {}).get(TOKEN_LABEL) != self.labels[TOKEN_LABEL]:
                raise DeployError(f"the namespace {self.cluster.namespace} is not ours", where=self.cluster.title)
            if not there["metadata"].get("deletionTimestamp"):
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
        """Path of the collection that objects of a kind are in.

        :raises ConfigError: the cluster has no such kind.
        """
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if version not in self._paths:
            try:
                found = await self.cluster.request("GET", root)
            except ApiError as error:
                if error.status != 404:
                    raise
                found = {"resources": []}
            self._paths[version] = {
                r["kind"]: (r["name"], bool(r["namespaced"])) for r in found["resources"] if "/" not in r["name"]
            }
        if kind not in self._paths[version]:
            raise ConfigError(f"the cluster has no kind {kind!r} in {version!r}", where=self.cluster.title)
        plural, namespaced = self._paths[version][kind]
        where = f"/namespaces/{quote(namespace or self.cluster.namespace)}" if namespaced else ""
        return f"{root}{where}/{plural}"


def _lines(texts: Sequence[str]) -> str:
    """The first few, each in a line of its own below a message."""
    return "".join(f"\n  {text}" for text in texts[:5])
