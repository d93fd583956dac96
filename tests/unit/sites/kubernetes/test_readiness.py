# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether what was applied to a cluster is ready, will be, or never will."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.sites.kubernetes.readiness import (
    Unready,
    has_lasting_pods,
    hopeless,
    problems_of_pods,
    problems_of_quota,
    ready,
    reasons_of_waiting,
    refusal_of,
)


def made(kind: str, spec: dict[str, Any] | None = None, generation: int | None = None, **status: Any) -> dict[str, Any]:
    """An object of the API; ``None`` where it has no such part."""
    metadata = {"name": "x"} if generation is None else {"name": "x", "generation": generation}
    return {"kind": kind, "metadata": metadata, "spec": spec, "status": status or None}


def container(reason: str | None, restarts: int = 0, message: str = "") -> dict[str, Any]:
    """The status of a container that waits for that reason, or runs."""
    state = {"running": {}} if reason is None else {"waiting": {"reason": reason, "message": message}}
    return {"name": "main", "restartCount": restarts, "state": state}


READY: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}]}
UNREADY: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "False"}]}
QUOTA = "exceeded quota: q, requested: requests.memory={}Gi, used: requests.memory=1Gi, limited: requests.memory=8Gi"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (made("Pod"), False),
        (made("Pod", **READY), True),
        (made("Pod", **UNREADY), False),
        (made("Pod", phase="Succeeded"), True),
        (made("Pod", phase="Running"), False),
        (made("Deployment"), False),
        (made("Deployment", readyReplicas=1), True),
        (made("Deployment", {"replicas": 0}), True),
        (made("Deployment", {"replicas": 3}, readyReplicas=2), False),
        (made("StatefulSet", {"replicas": 3}, readyReplicas=3), True),
        # what the status tells is of an earlier state of the object
        (made("Deployment", generation=2, observedGeneration=1, readyReplicas=1), False),
        (made("Deployment", generation=2, observedGeneration=2, readyReplicas=1), True),
        (made("DaemonSet", desiredNumberScheduled=2, numberReady=1), False),
        (made("DaemonSet", desiredNumberScheduled=2, numberReady=2), True),
        (made("DaemonSet", generation=1), False),
        (made("DaemonSet", generation=1, observedGeneration=1, desiredNumberScheduled=0), True),
    ],
)
def test_an_object_is_ready_when_its_status_says_so(item: dict[str, Any], expected: bool) -> None:
    assert ready(item) is expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("Pod", True), ("Deployment", True), ("DaemonSet", True), ("Job", False), ("Service", False)],
)
def test_a_job_comes_to_an_end_and_its_pods_with_it(kind: str, expected: bool) -> None:
    assert has_lasting_pods(kind) is expected


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({}, ""),
        ({"conditions": [{"type": "Available", "status": "True", "message": "fine"}]}, ""),
        ({"conditions": [{"type": "ReplicaFailure", "status": "False", "message": "was"}]}, ""),
        ({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "forbidden"}]}, "forbidden"),
        ({"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]}, "FailedCreate"),
    ],
)
def test_why_pods_cannot_be_made_is_told_in_the_clusters_words(status: dict[str, Any], words: str) -> None:
    assert refusal_of(made("ReplicaSet", **status)) == words


@pytest.mark.parametrize(
    ("refusal", "problems"),
    [
        ("", []),
        ("denied by a policy", []),
        (QUOTA.format(4), []),  # it fits once others have ended
        (QUOTA.format(9), ["ReplicaSet x: the quota allows less than one pod asks for"]),
    ],
)
def test_what_no_quota_will_ever_allow_is_a_problem(refusal: str, problems: list[str]) -> None:
    assert problems_of_quota([Unready("ReplicaSet x", refusal)]) == problems


def test_what_is_not_ready_is_named_with_the_refusal() -> None:
    assert [str(Unready("Pod x", "")), str(Unready("Pod x", "no room"))] == ["Pod x", "Pod x (no room)"]


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({}, ""),
        ({"phase": "Pending", "containerStatuses": [container("ContainerCreating")]}, ""),
        ({"phase": "Running", "containerStatuses": [container(None, restarts=9)]}, ""),
        ({"phase": "Failed"}, "Failed (pod x)"),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "Evicted: low on memory (pod x)"),
        ({"containerStatuses": [container("InvalidImageName")]}, "pod x: InvalidImageName"),
        (
            {"initContainerStatuses": [container("ErrImagePull", message="not found")]},
            "pod x: ErrImagePull: not found",
        ),
        ({"containerStatuses": [container("CrashLoopBackOff", restarts=2)]}, ""),
        (
            {"containerStatuses": [container("CrashLoopBackOff", restarts=3, message="back-off 40s")]},
            "pod x: CrashLoopBackOff: back-off 40s",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]},
            "",  # a node may come
        ),
    ],
)
def test_a_pod_that_will_not_become_ready_says_why(status: dict[str, Any], problem: str) -> None:
    pod = made("Pod", **status)
    assert hopeless(pod) == problem
    assert problems_of_pods([pod]) == [problem] * bool(problem)


@pytest.mark.parametrize(
    ("status", "reasons"),
    [
        ({}, []),
        ({"containerStatuses": [container("PodInitializing")]}, []),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]},
            ["Unschedulable: 0/3 nodes are available"],
        ),
        ({"containerStatuses": [container("ImagePullBackOff")]}, ["ImagePullBackOff"]),
    ],
)
def test_what_a_pod_waits_for_is_told(status: dict[str, Any], reasons: list[str]) -> None:
    assert reasons_of_waiting([made("Pod", **status)]) == reasons
