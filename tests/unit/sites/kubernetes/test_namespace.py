# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a namespace runs, what its quotas leave, and what nodes have left."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_hybrid.schedulers.kubernetes.namespace import (
    NodeRoom,
    PodLoad,
    cores_asked,
    node_room,
    pod_load,
    quota_use,
)
from airflow_hybrid.sites.kubernetes.manifests import TOKEN_LABEL

OURS = {"app.kubernetes.io/managed-by": "airflow-hybrid"}


def pod(phase: str = "Running", labels: Any = None, node: str = "", owner: str = "", **spec: Any) -> dict[str, Any]:
    owners = [{"kind": owner}] if owner else None
    return {
        "metadata": {"labels": labels, "ownerReferences": owners},
        "spec": {"nodeName": node, **spec},
        "status": {"phase": phase},
    }


def container(cpu: Any, **more: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu}}, **more}


def node(name: str, cpu: str = "8", **spec: Any) -> dict[str, Any]:
    ready = [{"type": "Ready", "status": "True"}]
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": {"cpu": cpu}, "conditions": ready}}


def test_pods_are_counted_by_what_they_do_and_whose_they_are() -> None:
    pods = [pod(), pod(labels=OURS), pod(labels={TOKEN_LABEL: "ah-1"}), pod("Pending", OURS), pod("Unknown"), {}]
    load = pod_load(pods)
    assert load == PodLoad(3, 2, 1, 1)
    assert load.in_short == "3 pods run (2 ours), 1 wait (1 ours)"
    assert load.in_words == "3 pods run and 1 wait, of which ours: 2 and 1"
    part = pod_load([pod()], is_whole=False)
    assert part.in_short == "at least 1 pod runs (0 ours), 0 wait (0 ours)"
    assert part.in_words == "at least 1 pod runs and 0 wait, of which ours: 0 and 0"


@pytest.mark.parametrize(
    ("hard", "used", "text"),
    [
        (
            {"count/jobs.batch": "9", "requests.memory": "64Gi", "pods": "20"},
            {"count/jobs.batch": "1", "requests.memory": "24Gi", "pods": "20"},
            "pods 20 of 20 (used up), requests.memory 24Gi of 64Gi, count/jobs.batch 1 of 9",
        ),
        ({"requests.cpu": "8"}, {"requests.cpu": "7500m"}, "requests.cpu 7500m of 8"),
        ({"requests.cpu": "8"}, {"requests.cpu": "8000m"}, "requests.cpu 8000m of 8 (used up)"),
        ({"requests.cpu": "8"}, {}, "requests.cpu at most 8 (its use is not told)"),
        ({"a\nb": "x"}, {"a\nb": "\x1b[2J"}, "a\\nb \\x1b[2J of x"),
        ({f"r{i:02}": "1" for i in range(14)}, {}, ", ".join(
            [f"r{i:02} at most 1 (its use is not told)" for i in range(12)] + ["2 more"])),
        ({}, {}, "it limits nothing"),
    ],
)  # fmt: skip
def test_the_use_of_a_quota_in_its_own_words(hard: Any, used: Any, text: str) -> None:
    assert quota_use({"metadata": {"name": "q"}, "status": {"hard": hard, "used": used}}) == text


def test_a_quota_without_a_status_says_what_it_allows() -> None:
    assert quota_use({"spec": {"hard": {"pods": "5"}}}) == "pods at most 5 (its use is not told)"


def test_nodes_have_left_what_pods_do_not_ask_for() -> None:
    plain, cordoned = node("a"), node("b", unschedulable=True)
    control = node("c", taints=[{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}])
    down = {**node("d"), "status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    special = node("e", "3900m", taints=[{"key": "nvidia.com/gpu", "effect": "NoSchedule"}])
    pods = [
        pod(node="a", owner="DaemonSet", containers=[container("100m")]),
        pod(node="e", owner="ReplicaSet", containers=[container("1"), container("500m")]),
        pod(node="b", containers=[container("4")]),
        pod("Pending", containers=[container("4")]),
    ]
    nodes = [plain, cordoned, control, down, special]
    room = node_room(nodes, pods)
    assert (room.nodes, room.closed, room.free_nodes) == (2, 3, 1)
    assert (room.cores, room.free_cores) == pytest.approx((11.9, 10.3))
    assert node_room(nodes, None) == NodeRoom(2, 3, 11.9)
    over = pod(node="a", containers=[container("99")])
    assert node_room([plain], [over]) == NodeRoom(1, 0, 8.0, 0, 0.0)


@pytest.mark.parametrize(
    ("spec", "cores"),
    [
        ({"containers": [container("1"), container("250m"), {}]}, 1.25),
        ({"containers": [container("1")], "initContainers": [container("3"), container("2")]}, 3.0),
        ({"containers": [container("1")], "initContainers": [container("500m", restartPolicy="Always")]}, 1.5),
        ({"containers": [container("1")], "overhead": {"cpu": "250m"}}, 1.25),
        ({"containers": [container("many"), None]}, 0.0),
        ({}, 0.0),
    ],
)
def test_what_a_pod_reserves(spec: Any, cores: float) -> None:
    assert cores_asked(pod(**spec)) == cores
