# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The queue of Kubernetes: pods of a namespace, its quotas, and the nodes, as far as the account may see them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_hybrid.amounts import counted
from airflow_hybrid.printable import printable, shortened
from airflow_hybrid.schedulers.kubernetes.answers import name_of
from airflow_hybrid.schedulers.kubernetes.namespace import NodeRoom, node_room, pod_load, quota_use
from airflow_hybrid.sites.check.findings import Finding, Findings, timed
from airflow_hybrid.sites.connectors import Connector

if TYPE_CHECKING:
    from airflow_hybrid.sites.kubernetes.cluster import Cluster

_MOST_QUOTAS = 4
_MOST_SHOWN = 200
_ALL_PODS = "pods of all namespaces"


@dataclass(frozen=True)
class _Answer:
    """What the cluster says to one question.

    :ivar unseen: why there are no objects: ``may not list nodes``, or ``not known: ...``; empty: these are the objects.
    :ivar is_lost: the question was not answered at all.
    """

    objects: Sequence[Mapping[str, Any]] = ()
    is_whole: bool = True
    unseen: str = ""
    is_lost: bool = False
    seconds: float = 0.0


async def namespace_figures(connector: Connector, timeout_s: float) -> list[Finding]:
    """Figures of a Kubernetes deployment; none of others, or if the cluster does not answer (other tests say so)."""
    from airflow_hybrid.sites.connectors.kubernetes import KubernetesConnector

    if not isinstance(connector, KubernetesConnector):
        return []
    cluster = connector.cluster
    _, error, _ = await timed(cluster.connect)  # which knows the namespace
    if error is not None:
        return []
    findings = Findings(connector.deployment.name, cluster.namespace)
    await _queue(findings, cluster, timeout_s)
    await _capacity(findings, cluster, timeout_s)
    return findings.entries


async def _queue(findings: Findings, cluster: Cluster, timeout_s: float) -> None:
    namespace = cluster.namespace
    pods, quotas = await asyncio.gather(
        _ask(cluster, "pods", "list_namespaced_pod", namespace, timeout_s=timeout_s),
        _ask(cluster, "resource quotas", "list_namespaced_resource_quota", namespace, timeout_s=timeout_s),
    )
    if pods.is_lost:
        return
    load = pod_load(pods.objects, is_whole=pods.is_whole)
    figures = {"queue": pods.unseen or load.in_short, **_quota_figures(quotas)}
    detail = f"the account {pods.unseen}" if pods.unseen else load.in_words
    rest = [f"{name}: {text}" for name, text in figures.items() if name != "queue"]
    findings.tell("queue", "; ".join([detail, *rest]), figures, max(pods.seconds, quotas.seconds))


def _quota_figures(quotas: _Answer) -> dict[str, str]:
    if quotas.unseen or not quotas.objects:
        return {"quotas": quotas.unseen or "none"}
    figures = {f"quota {_short(name_of(quota))}": quota_use(quota) for quota in quotas.objects[:_MOST_QUOTAS]}
    if len(quotas.objects) > _MOST_QUOTAS:
        figures["quotas"] = f"{len(quotas.objects) - _MOST_QUOTAS} more"
    return figures


async def _capacity(findings: Findings, cluster: Cluster, timeout_s: float) -> None:
    nodes = await _ask(cluster, "nodes", "list_node", timeout_s=timeout_s)
    if nodes.is_lost:
        return
    if nodes.unseen:
        detail = f"the account {nodes.unseen}: how many are free is not known"
        findings.tell("capacity", detail, {"free nodes": nodes.unseen}, nodes.seconds)
        return
    pods = await _ask(cluster, _ALL_PODS, "list_pod_for_all_namespaces", timeout_s=timeout_s)
    unseen = pods.unseen or _too_many(nodes, "nodes") or _too_many(pods, _ALL_PODS)
    room = node_room(nodes.objects, None if unseen else pods.objects)
    findings.tell("capacity", _room_in_words(room, unseen), _room_figures(room, unseen), nodes.seconds + pods.seconds)


def _too_many(answer: _Answer, what: str) -> str:
    return "" if answer.is_whole else f"not known: there are more than {len(answer.objects):,} {what}"


def _room_figures(room: NodeRoom, unseen: str) -> dict[str, str]:
    if room.free_cores is None:
        return {"nodes": f"{room.nodes:,} ({counted(room.cores, 'core')})", "free nodes": unseen}
    return {
        "free cores": f"{room.free_cores:.4g} of {room.cores:.4g}",
        "free nodes": f"{room.free_nodes:,} of {room.nodes:,}",
    }


def _room_in_words(room: NodeRoom, unseen: str) -> str:
    if room.free_cores is None:
        text = f"{counted(room.cores, 'core')} in {counted(room.nodes, 'node')}; what is free: {unseen}"
    else:
        figures = _room_figures(room, unseen)
        nodes = f"{room.free_nodes:,} of {counted(room.nodes, 'node')}"
        text = f"{figures['free cores']} cores are free (not asked for by pods), {nodes}"
    return f"{text}; {counted(room.closed, 'node')} more without room for pods" if room.closed else text


async def _ask(cluster: Cluster, what: str, method: str, *args: str, timeout_s: float) -> _Answer:
    from airflow_hybrid.sites.kubernetes.cluster import ApiError, NotAllowedError
    from airflow_hybrid.sites.kubernetes.listing import NOT_ENDED, list_some

    fields = NOT_ENDED if what.startswith("pods") else ""
    listed, error, seconds = await timed(lambda: list_some(cluster, method, *args, timeout_s=timeout_s, fields=fields))
    if isinstance(error, NotAllowedError) or (isinstance(error, ApiError) and error.status == 403):
        return _Answer(unseen=f"may not list {what}", seconds=seconds)
    if listed is None:
        problem = error.message if error is not None else "no answer"
        return _Answer(unseen=f"not known: {_short(problem)}", is_lost=True, seconds=seconds)
    return _Answer(listed.items, listed.is_whole, seconds=seconds)


def _short(text: str) -> str:
    return shortened(printable(text), _MOST_SHOWN)
