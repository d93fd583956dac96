# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What runs and waits in a namespace, what is used of its quotas, and what the cluster's nodes have left. Pure.

Sources: https://kubernetes.io/docs/concepts/policy/resource-quotas/ and
https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.amounts import counted
from airflow_hybrid.printable import printable, shortened
from airflow_hybrid.schedulers.kubernetes import answers
from airflow_hybrid.schedulers.kubernetes.manifest import MANAGED_BY, US, quantity

Object = Mapping[str, Any]

_OUR_RUNS = "airflow-hybrid/token"
"""label of what was deployed for a run"""
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_OF_THE_NODE = ("DaemonSet", "Node")
"""kinds of owners whose pods are on a node whatever else runs there"""
_MOST_RESOURCES = 12
_MOST_OF_WORD = 60


@dataclass(frozen=True)
class PodLoad:
    """The pods of a namespace that have not ended; ``own``: made by this package, for any Airflow.

    :ivar is_whole: these are all of them.
    """

    running: int
    own_running: int
    waiting: int
    own_waiting: int
    is_whole: bool = True

    @property
    def in_short(self) -> str:
        """``12 pods run (3 ours), 40 wait (2 ours)``."""
        text = f"{self._running_pods} ({self.own_running:,} ours), {self.waiting:,} wait ({self.own_waiting:,} ours)"
        return text if self.is_whole else f"at least {text}"

    @property
    def in_words(self) -> str:
        """``12 pods run and 40 wait, of which ours: 3 and 2``."""
        text = f"{self._running_pods} and {self.waiting:,} wait, of which ours: {self.own_running:,} and"
        return f"{'' if self.is_whole else 'at least '}{text} {self.own_waiting:,}"

    @property
    def _running_pods(self) -> str:
        return f"{counted(self.running, 'pod runs', 'pods run')}"


def pod_load(pods: Iterable[Object], *, is_whole: bool = True) -> PodLoad:
    """Count pods by what they do."""
    counts = {("Running", False): 0, ("Running", True): 0, ("Pending", False): 0, ("Pending", True): 0}
    for pod in pods:
        kind = (str(_part(pod, "status").get("phase")), _is_ours(pod))
        if kind in counts:
            counts[kind] += 1
    own_running, own_waiting = counts["Running", True], counts["Pending", True]
    return PodLoad(
        counts["Running", False] + own_running,
        own_running,
        counts["Pending", False] + own_waiting,
        own_waiting,
        is_whole,
    )


def _is_ours(pod: Object) -> bool:
    labels = _part(_part(pod, "metadata"), "labels")
    return labels.get(MANAGED_BY) == US or _OUR_RUNS in labels


def quota_use(quota: Object) -> str:
    """What is used of a ResourceQuota, in its own words: ``pods 12 of 20, requests.memory 24Gi of 64Gi``."""
    hard = _part(_part(quota, "status"), "hard") or _part(_part(quota, "spec"), "hard")
    used = _part(_part(quota, "status"), "used")
    entries = [_entry(name, used.get(name), limit) for name, limit in sorted(hard.items(), key=_importance)]
    shown = entries[:_MOST_RESOURCES]
    if len(entries) > len(shown):
        shown.append(f"{len(entries) - len(shown)} more")
    return ", ".join(shown) or "it limits nothing"


def _importance(limit: tuple[str, Any]) -> tuple[bool, str]:
    """Pods, cores and memory come first."""
    name = limit[0]
    return name.rpartition(".")[2] not in ("pods", "cpu", "memory"), name


def _entry(name: str, used: Any, limit: Any) -> str:
    if used is None:
        return f"{_word(name)} at most {_word(limit)} (its use is not told)"
    text = f"{_word(name)} {_word(used)} of {_word(limit)}"
    used_number, limit_number = _number(used), _number(limit)
    is_full = used_number is not None and limit_number is not None and used_number >= limit_number
    return f"{text} (used up)" if is_full else text


@dataclass(frozen=True)
class NodeRoom:
    """Nodes that take pods, and what the pods on them leave.

    :ivar cores: that pods may ask for; ``free_cores``: that they do not ask for; None: unknown.
    :ivar free_nodes: on which no pod runs but those that are on every node; None: unknown.
    :ivar closed: nodes that take no pods: not ready, cordoned, or of the control plane.
    """

    nodes: int
    closed: int
    cores: float
    free_nodes: int | None = None
    free_cores: float | None = None


def node_room(nodes: Iterable[Object], pods: Sequence[Object] | None) -> NodeRoom:
    """What nodes have left. Taints other than that of the control plane are not looked at.

    :param pods: all that have not ended, of all namespaces; None: they are not known.
    """
    cores_by_node: dict[str, float] = {}
    closed = 0
    for node in nodes:
        if _takes_pods(node):
            allocatable = _part(_part(node, "status"), "allocatable")
            cores_by_node[answers.name_of(node)] = _number(allocatable.get("cpu")) or 0.0
        else:
            closed += 1
    room = NodeRoom(len(cores_by_node), closed, sum(cores_by_node.values()))
    if pods is None:
        return room
    asked = dict.fromkeys(cores_by_node, 0.0)
    busy: set[str] = set()
    for pod in pods:
        node_name = str(_part(pod, "spec").get("nodeName") or "")
        if node_name in asked:
            asked[node_name] += cores_asked(pod)
            if not _is_on_every_node(pod):
                busy.add(node_name)
    free = sum(max(0.0, cores - asked[name]) for name, cores in cores_by_node.items())
    return NodeRoom(room.nodes, closed, room.cores, room.nodes - len(busy), free)


def _takes_pods(node: Object) -> bool:
    spec = _part(node, "spec")
    taints = [taint for taint in spec.get("taints") or () if isinstance(taint, Mapping)]
    is_control = any(taint.get("key") in _CONTROL_PLANE and taint.get("effect") == "NoSchedule" for taint in taints)
    return answers.condition(node, "Ready") is not None and not spec.get("unschedulable") and not is_control


def _is_on_every_node(pod: Object) -> bool:
    owners = _part(pod, "metadata").get("ownerReferences") or ()
    return any(isinstance(owner, Mapping) and owner.get("kind") in _OF_THE_NODE for owner in owners)


def cores_asked(pod: Object) -> float:
    """The cores that a pod reserves on its node."""
    spec = _part(pod, "spec")
    first = [container for container in spec.get("initContainers") or () if isinstance(container, Mapping)]
    beside = sum(_cores(container) for container in first if container.get("restartPolicy") == "Always")
    before = max((_cores(container) for container in first if container.get("restartPolicy") != "Always"), default=0.0)
    main = sum(_cores(container) for container in spec.get("containers") or () if isinstance(container, Mapping))
    return beside + max(main, before) + (_number(_part(spec, "overhead").get("cpu")) or 0.0)


def _cores(container: Object) -> float:
    return _number(_part(_part(container, "resources"), "requests").get("cpu")) or 0.0


def _number(amount: Any) -> float | None:
    try:
        return quantity(amount)
    except ValueError:
        return None


def _part(value: Object, name: str) -> Object:
    part = value.get(name)
    return part if isinstance(part, Mapping) else {}


def _word(value: Any) -> str:
    return shortened(printable(str(value)), _MOST_OF_WORD)
