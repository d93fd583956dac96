# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kinds and names of objects, and the answers that are no object."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

KubeObject = dict[str, Any]
"""an object of Kubernetes, or a part of one, as its JSON"""

NODE = "kubesim"
NODE_LABELS = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
ALLOCATABLE = {"cpu": "8", "memory": "20Gi", "pods": "250", "ephemeral-storage": "50Gi"}
JOB_NAME = "batch.kubernetes.io/job-name"


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of objects; there is one value of each, below.

    :ivar version: its group and version.
    :ivar resource: its name in paths.
    """

    version: str
    resource: str
    name: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()


NAMESPACES = Kind("v1", "namespaces", "Namespace", namespaced=False, short_names=("ns",))
PODS = Kind("v1", "pods", "Pod", short_names=("po",))
CONFIG_MAPS = Kind("v1", "configmaps", "ConfigMap", short_names=("cm",))
SECRETS = Kind("v1", "secrets", "Secret")
EVENTS = Kind("v1", "events", "Event")
CLAIMS = Kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim", short_names=("pvc",))
SERVICE_ACCOUNTS = Kind("v1", "serviceaccounts", "ServiceAccount")
SERVICES = Kind("v1", "services", "Service")
NODES = Kind("v1", "nodes", "Node", namespaced=False)
QUOTAS = Kind("v1", "resourcequotas", "ResourceQuota")
JOBS = Kind("batch/v1", "jobs", "Job")
DEPLOYMENTS = Kind("apps/v1", "deployments", "Deployment")

KINDS = {
    (kind.version, kind.resource): kind
    for kind in (
        NAMESPACES, PODS, CONFIG_MAPS, SECRETS, EVENTS, CLAIMS, SERVICE_ACCOUNTS, SERVICES, NODES, QUOTAS,
        JOBS, DEPLOYMENTS,
    )
}  # fmt: skip
GROUPS = ("batch/v1", "apps/v1")


@dataclass(frozen=True)
class Key:
    """Where an object is; what belongs to the whole cluster has no namespace."""

    kind: Kind
    namespace: str | None
    name: str


class ApiError(Exception):
    """What the API refuses.

    :ivar code: of HTTP.
    :ivar reason: one word, such as ``NotFound``.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def status(self) -> KubeObject:
        """What a client is answered."""
        return {**_status(self.code, "Failure"), "message": self.message, "reason": self.reason}


def success(code: int = 200, **details: str) -> KubeObject:
    """The answer where no object is one."""
    answer = _status(code, "Success")
    if details:
        answer["details"] = details
    return answer


def _status(code: int, text: str) -> KubeObject:
    of = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
    return {**of, "status": text, "message": "", "reason": "", "code": code}


def now() -> str:
    """This second, as in timestamps of objects."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def ended(pod: KubeObject) -> bool:
    """Whether all containers of a pod are over."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_ready(pod: KubeObject) -> bool:
    """Whether a pod has the condition Ready."""
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_going(value: KubeObject) -> bool:
    """Whether an object is being deleted."""
    return bool(value["metadata"].get("deletionTimestamp"))


def containers_of(pod: KubeObject) -> list[KubeObject]:
    """All containers of a pod's spec, those that initialise it last."""
    found: list[KubeObject] = pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
    return found
