# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether objects that were applied to a cluster are ready, may become ready, or never will, by their own status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.schedulers.kubernetes import answers
from airflow_hybrid.schedulers.kubernetes.scheduler import beyond_quota

Object = dict[str, Any]

RESTARTS = 3
"""a container that ended this often will not start"""
WITH_PODS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"})
"""kinds of objects that make pods"""


@dataclass(frozen=True)
class Unready:
    """An object whose pods are not ready.

    :ivar title: its kind and name.
    :ivar refusal: why its pods cannot be created, in the cluster's words; empty if they can.
    """

    title: str
    refusal: str

    def __str__(self) -> str:
        return f"{self.title} ({self.refusal})" if self.refusal else self.title


def has_lasting_pods(kind: str) -> bool:
    """Whether objects of a kind are ready when their pods are; not Jobs, whose pods end."""
    return kind == "Pod" or (kind in WITH_PODS and kind != "Job")


def ready(obj: Object) -> bool:
    """Whether an object with pods is ready, by its status."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if obj["kind"] == "Pod":
        return bool(answers.condition(obj, "Ready")) or status.get("phase") == "Succeeded"
    if int(status.get("observedGeneration") or 0) < int(obj["metadata"].get("generation") or 0):
        return False
    if obj["kind"] == "DaemonSet":
        return int(status.get("numberReady") or 0) >= int(status.get("desiredNumberScheduled") or 0)
    replicas = spec.get("replicas")
    return int(status.get("readyReplicas") or 0) >= (1 if replicas is None else int(replicas))


def refusal_of(obj: Object) -> str:
    """Why the pods of an object cannot be created (a quota, a policy), in the cluster's words."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message") or condition.get("reason"))
    return ""


def problems_of_quota(unready: Iterable[Unready]) -> list[str]:
    """Objects that ask for more than their quota will ever allow."""
    return [
        f"{blocked.title}: the quota allows less than one pod asks for"
        for blocked in unready
        if "exceeded quota" in blocked.refusal and beyond_quota(blocked.refusal)
    ]


def problems_of_pods(pods: Iterable[Object]) -> list[str]:
    """Why some pods will not become ready."""
    return [problem for problem in map(hopeless, pods) if problem]


def reasons_of_waiting(pods: Iterable[Object]) -> list[str]:
    """What pods that are not ready wait for."""
    reasons = [answers.waiting(pod) for pod in pods]
    return [answers.with_message(reason, message) for reason, message in reasons if reason]


def hopeless(pod: Object) -> str:
    """Why a pod will not become ready; empty while it may."""
    name, (reason, message) = answers.name_of(pod), answers.waiting(pod)
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        return answers.of_pod(pod).reason
    if reason in answers.NEVER | answers.MAYBE_NEVER:
        return f"pod {name}: {answers.with_message(reason, message)}"
    counts = [int(container.get("restartCount") or 0) for container in status.get("containerStatuses") or ()]
    restarts = max(counts, default=0)
    if reason == "CrashLoopBackOff" and restarts >= RESTARTS:
        return f"pod {name}: {answers.with_message(reason, message)}"
    return ""
