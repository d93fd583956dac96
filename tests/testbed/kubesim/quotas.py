# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What pods ask for, and resource quotas.

After https://kubernetes.io/docs/concepts/policy/resource-quotas/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .objects import JOBS, PODS, QUOTAS, Key, KubeObject, ended
from .storage import Store

_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_OF_CONTAINERS = re.compile(r"(requests|limits)\.(cpu|memory)|cpu|memory")


def quantity(text: str | int) -> float:
    """A Kubernetes quantity as a number."""
    match = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text))
    if match is None:
        raise ValueError(f"{text} is no quantity")
    return float(match[1]) * _UNITS[match[2]]


def asked(pod: KubeObject, kind: Literal["requests", "limits"] = "requests") -> dict[str, float]:
    """What the containers of a pod ask for (or are limited to), summed. A limit is also a request."""
    total: dict[str, float] = {}
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        values = dict(resources.get("limits") or {})
        if kind == "requests":
            values.update(resources.get("requests") or {})
        _add(total, {name: quantity(value) for name, value in values.items()})
    return total


@dataclass(frozen=True)
class _Demand:
    """What one more object wants, and what those that are there use, by the names of quotas."""

    wants: dict[str, float]
    used: dict[str, float]

    def over(self, hard: Mapping[str, str]) -> list[str]:
        """What would be more than the quota allows."""
        return [name for name in hard if name in self.wants and self._total(name) > quantity(hard[name])]

    def _total(self, name: str) -> float:
        return self.used.get(name, 0) + self.wants[name]


def over_quota(store: Store, key: Key, value: KubeObject) -> str | None:
    """The message of the quota that forbids the object at ``key``, or None."""
    quotas = store.select(QUOTAS, key.namespace)
    if not quotas:
        return None
    demand = _demand(store, key, value)
    for quota_key, quota in quotas.items():
        hard = (quota.get("spec") or {}).get("hard") or {}
        missing = [name for name in hard if name not in demand.wants and _OF_CONTAINERS.fullmatch(name)]
        if missing and key.kind is PODS:
            first = value["spec"]["containers"][0]["name"]
            return f"failed quota: {quota_key.name}: must specify {','.join(missing)} for: {first}"
        over = demand.over(hard)
        if over:
            requested = ",".join(f"{name}={_shown(demand.wants[name])}" for name in over)
            used = ",".join(f"{name}={_shown(demand.used.get(name, 0))}" for name in over)
            limited = ",".join(f"{name}={hard[name]}" for name in over)
            return f"exceeded quota: {quota_key.name}, requested: {requested}, used: {used}, limited: {limited}"
    return None


def with_status(store: Store, key: Key, quota: KubeObject) -> KubeObject:
    """A quota with what it allows and what is used of it, as the quota controller keeps it."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    used: dict[str, float] = {}
    for kind in (PODS, JOBS):
        others = store.select(kind, key.namespace)
        count = "count/jobs.batch" if kind is JOBS else f"count/{kind.resource}"
        used[count] = float(len(others))
    for pod in store.select(PODS, key.namespace).values():
        if not ended(pod):
            _add(used, _measures(pod))
    status = {"hard": hard, "used": {name: _shown(used.get(name, 0)) for name in hard}}
    return {**quota, "status": status}


def _demand(store: Store, key: Key, value: KubeObject) -> _Demand:
    count = "count/jobs.batch" if key.kind is JOBS else f"count/{key.kind.resource}"
    others = [other for k, other in store.select(key.kind, key.namespace).items() if k != key]
    demand = _Demand({count: 1.0}, {count: float(len(others))})
    if key.kind is PODS:
        demand.wants.update(_measures(value))
        for other in others:
            if not ended(other):
                _add(demand.used, _measures(other))
    return demand


def _measures(pod: KubeObject) -> dict[str, float]:
    measures = {"pods": 1.0}
    for name, value in asked(pod).items():
        measures[name] = value
        measures[f"requests.{name}"] = value
    for name, value in asked(pod, "limits").items():
        measures[f"limits.{name}"] = value
    return measures


def _add(total: dict[str, float], more: Mapping[str, float]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _shown(value: float) -> str:
    for unit in ("Gi", "Mi", "Ki"):
        if value >= _UNITS[unit] and value % _UNITS[unit] == 0:
            return f"{int(value // _UNITS[unit])}{unit}"
    if value >= 1 or value == 0:
        return f"{value:g}"
    return f"{round(value * 1000)}m"
