# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The queue of Kubernetes: the pods of a namespace that wait and run, and what its quotas leave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_hybrid.errors import SiteError
from airflow_hybrid.printable import printable, shortened
from airflow_hybrid.schedulers.kubernetes.manifest import MANAGED_BY, US
from airflow_hybrid.sites.check.findings import Findings, timed
from airflow_hybrid.sites.connectors import Connector
from airflow_hybrid.sites.connectors.kubernetes import KubernetesConnector
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.kubernetes.cluster import Cluster

_PAGE = 250
_MOST_PAGES = 4
_MOST_QUOTAS = 3
_MOST_RESOURCES = 8
_MOST_OF_WORD = 60


async def try_namespace(findings: Findings, connector: Connector, host: Host, timeout_s: float) -> None:
    """How many pods of the namespace wait and run? A cluster that does not say makes no finding.

    It is asked once, at the place of the deployment's files.
    """
    if not isinstance(connector, KubernetesConnector):
        return
    hosts, _, _ = await timed(connector.hosts)
    if not hosts or host.location != hosts[0].location:
        return
    counted, _, seconds = await timed(lambda: _pods(connector.cluster, timeout_s))
    if counted is None:
        return
    (running, own_running), (waiting, own_waiting) = counted
    detail = f"{running} pods run and {waiting} wait in the namespace, of which ours: {own_running} and {own_waiting}"
    figures = {"queue": f"{running} pods run ({own_running} ours), {waiting} wait ({own_waiting} ours)"}
    quotas, _, _ = await timed(lambda: _quotas(connector.cluster, timeout_s))
    if quotas:
        figures["used of the quota"] = quotas
        detail += f"; used of the quota: {quotas}"
    findings.tell("queue", detail, figures, seconds)


async def _pods(cluster: Cluster, timeout_s: float) -> list[tuple[str, int]]:
    return await asyncio.gather(*(_of_phase(cluster, phase, timeout_s) for phase in ("Running", "Pending")))


async def _of_phase(cluster: Cluster, phase: str, timeout_s: float) -> tuple[str, int]:
    """How many pods are in a phase (``1000 or more``: no further ones are asked for), and how many of them are ours."""
    pods, own, following = 0, 0, ""
    for _ in range(_MOST_PAGES):
        page = await _list(cluster, "list_namespaced_pod", timeout_s, f"status.phase={phase}", following)
        items = _items(page)
        pods += len(items)
        own += sum(_labels(pod).get(MANAGED_BY) == US for pod in items)
        following = str(_mapping(page.get("metadata")).get("continue") or "")
        if not following:
            return str(pods), own
    return f"{pods} or more", own


async def _quotas(cluster: Cluster, timeout_s: float) -> str:
    """``requests.cpu 6 of 8, pods 12 of 20``, which are used; empty: there is no quota."""
    page = await _list(cluster, "list_namespaced_resource_quota", timeout_s, "", "")
    return ", ".join(words for quota in _items(page)[:_MOST_QUOTAS] for words in _used(_mapping(quota.get("status"))))


def _used(status: Mapping[str, Any]) -> Sequence[str]:
    hard, used = _mapping(status.get("hard")), _mapping(status.get("used"))
    names = [name for name in hard if name in used][:_MOST_RESOURCES]
    return [f"{_word(name)} {_word(used[name])} of {_word(hard[name])}" for name in names]


async def _list(cluster: Cluster, method: str, timeout_s: float, fields: str, following: str) -> Mapping[str, Any]:
    await cluster.connect()  # which knows the namespace
    more = {"field_selector": fields} if fields else {}
    if following:
        more["_continue"] = following
    answer = await cluster.call("CoreV1Api", method, cluster.namespace, limit=_PAGE, timeout_s=timeout_s, **more)
    if not isinstance(answer, Mapping):
        raise SiteError("the cluster's answer is no list", where=cluster.title)
    return answer


def _items(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = page.get("items")
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def _labels(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_mapping(pod.get("metadata")).get("labels"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _word(value: object) -> str:
    return shortened(printable(str(value)), _MOST_OF_WORD)
