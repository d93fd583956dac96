# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The status of a pod, from what podman says of its containers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from ..objects import KubeObject, now
from .podman import Inspected


@dataclass(frozen=True)
class Problem:
    """Why a pod cannot go on, as the kubelet says it."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Report:
    """What the kubelet says of a pod.

    :ivar containers: their statuses; None: as they were.
    :ivar problem: what ended it.
    """

    phase: Literal["Pending", "Running", "Succeeded", "Failed"]
    containers: list[KubeObject] | None = None
    problem: Problem | None = None
    ip: str | None = None

    def write(self, status: KubeObject) -> None:
        """Put it into the status of a pod."""
        status["phase"] = self.phase
        status.setdefault("startTime", now())
        status["hostIP"] = "127.0.0.1"
        if self.ip:
            status["podIP"] = self.ip
            status["podIPs"] = [{"ip": self.ip}]
        if self.problem:
            status["reason"], status["message"] = self.problem.reason, self.problem.message
        if self.containers is not None:
            status["containerStatuses"] = self.containers
        kept = [c for c in status.get("conditions", []) if c["type"] == "DisruptionTarget"]
        ready = self._is_ready()
        states = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
        since = {"lastTransitionTime": status["startTime"]}
        status["conditions"] = kept + [{"type": name, "status": str(is_so), **since} for name, is_so in states.items()]

    def _is_ready(self) -> bool:
        if self.phase != "Running" or not self.containers:
            return False
        return all(container["ready"] for container in self.containers)


def waiting(pod: KubeObject, problem: Problem) -> list[KubeObject]:
    """The statuses of containers none of which has been made."""
    state = {"waiting": {"reason": problem.reason, "message": problem.message}}
    none = {"imageID": "", "ready": False, "restartCount": 0, "started": False}
    return [{"name": c["name"], "image": c["image"], **none, "state": state} for c in pod["spec"]["containers"]]


@dataclass(frozen=True)
class Container:
    """A container of a pod, as it is asked for and as it is.

    :ivar inspected: None: it has not been made.
    """

    spec: KubeObject
    inspected: Inspected | None

    @property
    def has_memory_limit(self) -> bool:
        """Whether it may use so much memory only."""
        limits = (self.spec.get("resources") or {}).get("limits") or {}
        return bool(limits.get("memory"))

    def status(self, over_memory: Collection[str]) -> KubeObject:
        """Its status.

        :param over_memory: ids of containers that used more memory than their limit.
        """
        status = {"name": self.spec["name"], "image": self.spec["image"]}
        if self.inspected is None:
            none = {"imageID": "", "restartCount": 0, "ready": False, "started": False}
            return {**status, **none, "state": {"waiting": {"reason": "PodInitializing"}}}
        runs = self.inspected["State"]["Status"] == "running"
        return {
            **status,
            "imageID": self.inspected["Image"],
            "restartCount": self.inspected.get("RestartCount", 0),
            "ready": runs,
            "started": runs,
            "containerID": f"podman://{self.inspected['Id']}",
            "state": _state(self.inspected, over_memory),
        }


def exit_code(status: KubeObject) -> int | None:
    """The exit code in a container's status; None: it has not ended."""
    terminated = status.get("state", {}).get("terminated")
    return None if terminated is None else int(terminated["exitCode"])


def _state(inspected: Inspected, over_memory: Collection[str]) -> KubeObject:
    state = inspected["State"]
    if state["Status"] == "running":
        return {"running": {"startedAt": _timestamp(state["StartedAt"])}}
    if state["Status"] not in ("exited", "stopped"):
        return {"waiting": {"reason": "PodInitializing"}}
    reason = "Completed" if state["ExitCode"] == 0 else "Error"
    if state.get("OOMKilled") or inspected["Id"] in over_memory:
        reason = "OOMKilled"
    return {
        "terminated": {
            "exitCode": state["ExitCode"],
            "reason": reason,
            "startedAt": _timestamp(state["StartedAt"]),
            "finishedAt": _timestamp(state["FinishedAt"]),
            "containerID": f"podman://{inspected['Id']}",
        }
    }


def _timestamp(text: str) -> str:
    """podman's timestamp as Kubernetes writes it: without parts of a second."""
    return text[:19] + "Z"
