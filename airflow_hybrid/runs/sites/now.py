# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The deployments of DAGs, by site, and what runs have told of each lately: for the page Sites."""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlalchemy.orm import Session

from airflow_hybrid.config.users import connection_ids, is_template
from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.model.records import BatchProgress
from airflow_hybrid.overviews.overview import storages_of
from airflow_hybrid.runs.sites.digests import (
    PERIOD_S,
    DeploymentDigest,
    Digests,
    LastJob,
    ReportReader,
    TaskDigest,
)
from airflow_hybrid.runs.sites.health import Health, Known, health_of

LATELY_S = 24 * 3600
_MOST_HOSTS = 3
_MOST_BATCHES = 200
_THIS_MACHINE = "the machine of Airflow's workers"
_PLACES = ("hostname", "namespace", "image", "dockerImage")
"""options that say where a deployment is, and are no secrets"""


@dataclass(frozen=True)
class BatchNow:
    """A batch that is at a deployment now.

    :ivar at: when this was told, in seconds since the epoch.
    """

    dag_id: str
    run_id: str
    task: str
    progress: BatchProgress
    at: float


@dataclass(frozen=True)
class DeploymentNow:
    """A deployment, as several DAGs may use it.

    :ivar type: as in the hybrid file; ``where``: its hosts, Connection or image.
    :ivar is_of_users: each user has a Connection of his own.
    :ivar jobs: that ended in the last 24 h; ``failed``: those without success; ``by_site``: those that failed for a
        reason of the site.
    :ivar waited_s: median of the time in the queue; None: of no job is it known.
    :ivar contact: when something last came from there, in seconds since the epoch; None: not in the last 24 h.
    """

    name: str
    type: str
    where: str
    wraps: str
    workdir: str
    dag_ids: tuple[str, ...]
    is_of_users: bool
    is_for_runs: bool
    jobs: int
    failed: int
    by_site: int
    waited_s: float | None
    contact: float | None
    last: LastJob | None
    batches: tuple[BatchNow, ...]
    health: Health

    def to_json(self) -> JsonValue:
        value = dataclasses.asdict(self)
        last = value["last"]
        if last is not None:
            last["state"] = last["state"].value
        value["more_batches"] = max(0, len(self.batches) - _MOST_BATCHES)
        value["batches"] = [_batch_json(batch) for batch in self.batches[:_MOST_BATCHES]]
        return value


def _batch_json(batch: BatchNow) -> JsonValue:
    about = {"dag_id": batch.dag_id, "run_id": batch.run_id, "task": batch.task, "at": batch.at}
    return {**about, **dataclasses.asdict(batch.progress)}


@dataclass(frozen=True)
class SiteNow:
    """Deployments whose files are in the same place."""

    name: str
    deployments: tuple[DeploymentNow, ...]

    def to_json(self) -> JsonValue:
        return {"name": self.name, "deployments": [deployment.to_json() for deployment in self.deployments]}


@dataclass(frozen=True)
class SitesNow:
    """All sites of some DAGs.

    :ivar runs: how many runs were looked at, those of the last 24 h and those that are not over.
    :ivar notes: what is not in it, in sentences.
    """

    at: float
    sites: tuple[SiteNow, ...]
    runs: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> JsonValue:
        sites = [site.to_json() for site in self.sites]
        return {"at": self.at, "runs": self.runs, "notes": list(self.notes), "sites": sites}


def sites_of(session: Session, outlines: Mapping[str, DagOutline], reader: ReportReader, now: float) -> SitesNow:
    """The sites of DAGs.

    :param outlines: of the DAGs, by id.
    :param now: in seconds since the epoch.
    """
    since = datetime.fromtimestamp(now - LATELY_S, tz=timezone.utc)
    digests = reader.read(session, outlines, since)
    uses = _uses(outlines)
    told = _told(digests, uses, now)
    by_site: dict[tuple[str, ...], list[DeploymentNow]] = defaultdict(list)
    for use in uses.values():
        by_site[use.site].append(_deployment(use, told.get(use.key, _Told()), now))
    sites = [SiteNow(site[0], tuple(sorted(found, key=_outermost_last))) for site, found in by_site.items()]
    return SitesNow(now, tuple(sorted(sites, key=_worst_first)), digests.runs, tuple(_notes(digests)))


def _outermost_last(deployment: DeploymentNow) -> tuple[bool, str]:
    return bool(deployment.wraps), deployment.name


def _worst_first(site: SiteNow) -> tuple[int, str]:
    return min(deployment.health.rank for deployment in site.deployments), site.name


def _notes(digests: Digests) -> Iterator[str]:
    if digests.is_cut:
        yield f"only the latest {digests.runs} runs are counted"
    if digests.unread:
        yield f"{digests.unread} reports of tasks are not counted yet; the page counts them when it asks again"
    problems: dict[str, str] = {}
    for task in digests.tasks:
        if task.digest.problem:
            problems.setdefault(task.digest.problem, f"{task.run.dag_id}, run {task.run.run_id}, task {task.task_id}")
    for problem, first in list(problems.items())[:5]:
        yield f"reports that are not counted ({first}): {problem}"


# --- deployments of DAGs ----------------------------------------------------------------------------------------


@dataclass
class _Use:
    """A deployment with the DAGs that use it.

    :ivar key: what tells it from others of the same name; ``site``: the same, of the deployment that has its files.
    """

    key: tuple[str, ...]
    site: tuple[str, ...]
    value: Mapping[str, Any]
    dag_ids: list[str]


def _uses(outlines: Mapping[str, DagOutline]) -> dict[tuple[str, ...], _Use]:
    uses: dict[tuple[str, ...], _Use] = {}
    for dag_id, outline in sorted(outlines.items()):
        storages = storages_of(outline)
        for name, value in outline.deployments.items():
            if isinstance(value, Mapping):
                key, site = key_of(outline, name), key_of(outline, storages[name])
                uses.setdefault(key, _Use(key, site, value, [])).dag_ids.append(dag_id)
    return uses


def key_of(outline: DagOutline, name: str) -> tuple[str, ...]:
    """What tells a deployment from others of the same name: its type and where it is, and those that it wraps.

    On this machine, work directories tell apart what DAGs call `cloud` or `hpc`.
    """
    key: list[str] = []
    current: str | None = name
    seen = set()
    while current is not None and current not in seen:
        seen.add(current)
        value = outline.deployments.get(current)
        if not isinstance(value, Mapping):
            break
        key += [current, str(value.get("type")), where_of(value)]
        if value.get("type") == "local":
            key.append(str(value.get("workdir") or ""))
        wraps = value.get("wraps")
        current = wraps if isinstance(wraps, str) else None
    return tuple(key)


def where_of(deployment: Mapping[str, Any]) -> str:
    """Where a deployment is: its hosts, Connection, namespace or image. Nothing secret is in it."""
    config = deployment.get("config")
    config = config if isinstance(config, Mapping) else {}
    if deployment.get("type") == "local":
        queue = config.get("queue")
        return f"{_THIS_MACHINE} of queue {queue}" if isinstance(queue, str) else _THIS_MACHINE
    parts = [str(config[name]) for name in _PLACES if isinstance(config.get(name), str)]
    nodes = config.get("nodes")
    hosts = [node["hostname"] for node in nodes if _has_hostname(node)] if isinstance(nodes, list | tuple) else []
    parts += hosts[:_MOST_HOSTS]
    if len(hosts) > _MOST_HOSTS:
        parts.append(f"{len(hosts) - _MOST_HOSTS} more")
    for conn_id in dict.fromkeys(connection_ids(config)):
        parts.append(f"Connection {conn_id}")
    return ", ".join(parts)


def _has_hostname(node: Any) -> bool:
    return isinstance(node, Mapping) and isinstance(node.get("hostname"), str)


def _is_of_users(deployment: Mapping[str, Any]) -> bool:
    config = deployment.get("config")
    config = config if isinstance(config, Mapping) else {}
    return "users" in config or any(is_template(conn_id) for conn_id in connection_ids(config))


# --- what runs have told ----------------------------------------------------------------------------------------


@dataclass
class _Told:
    """Sums of what reports say of a deployment."""

    jobs: int = 0
    failed: int = 0
    by_site: int = 0
    contact: float = 0.0
    last: LastJob | None = None

    def __post_init__(self) -> None:
        self.waits: list[float] = []
        self.batches: list[BatchNow] = []

    def add(self, digest: DeploymentDigest, now: float) -> None:
        first = int((now - LATELY_S) // PERIOD_S) + 1
        self.jobs += sum(jobs for period, jobs in digest.jobs.items() if period >= first)
        self.failed += sum(jobs for period, jobs in digest.failed.items() if period >= first)
        self.by_site += sum(jobs for period, jobs in digest.by_site.items() if period >= first)
        self.waits += [wait for period, wait in digest.waits if period >= first]
        if digest.contact >= now - LATELY_S:
            self.contact = max(self.contact, digest.contact)
        last = digest.last
        if last is not None and last.ended >= now - LATELY_S and (self.last is None or last.ended > self.last.ended):
            self.last = last

    def add_batch(self, batch: BatchNow) -> None:
        self.batches.append(batch)
        if not batch.progress.unknown:
            self.contact = max(self.contact, batch.at)


def _told(digests: Digests, uses: Mapping[tuple[str, ...], _Use], now: float) -> dict[tuple[str, ...], _Told]:
    keys = _Keys(uses.values())
    told: dict[tuple[str, ...], _Told] = defaultdict(_Told)
    for task in digests.tasks:
        for name, digest in task.digest.deployments.items():
            key = keys.of(task.run.dag_id, name)
            if key is not None:
                told[key].add(digest, now)
        for batch in _batches_now(task):
            key = keys.of_place(task.run.dag_id, batch.progress.place)
            if key is not None:
                told[key].add_batch(batch)
    return told


def _batches_now(task: TaskDigest) -> Iterator[BatchNow]:
    if not task.is_now:
        return
    label = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
    for progress in task.digest.batches:
        yield BatchNow(task.run.dag_id, task.run.run_id, label, progress, task.digest.at)


class _Keys:
    """Which deployment of the page a name in a report of a DAG means; a name that the DAG does not have, none."""

    def __init__(self, uses: Iterable[_Use]) -> None:
        self._names: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        for use in uses:
            for dag_id in use.dag_ids:
                self._names[dag_id][use.key[0]] = use.key

    def of(self, dag_id: str, name: str) -> tuple[str, ...] | None:
        return self._names[dag_id].get(name)

    def of_place(self, dag_id: str, place: str) -> tuple[str, ...] | None:
        """:param place: ``hpc``, ``hpc/gpu`` or ``hpc (login)``."""
        return self.of(dag_id, place.partition(" ")[0].partition("/")[0])


def _deployment(use: _Use, told: _Told, now: float) -> DeploymentNow:
    contact = min(told.contact, now) or None
    batches = sorted(told.batches, key=lambda batch: (not batch.progress.unknown, -batch.progress.since))
    states = [(batch.progress, batch.at) for batch in batches]
    known = Known(states, told.last, told.jobs, told.by_site, contact)
    wraps, workdir = use.value.get("wraps"), use.value.get("workdir")
    return DeploymentNow(
        name=use.key[0],
        type=str(use.value.get("type") or ""),
        where=where_of(use.value),
        wraps=wraps if isinstance(wraps, str) else "",
        workdir=workdir if isinstance(workdir, str) else "",
        dag_ids=tuple(use.dag_ids),
        is_of_users=_is_of_users(use.value),
        is_for_runs=use.value.get("managed") is True,
        jobs=told.jobs,
        failed=told.failed,
        by_site=told.by_site,
        waited_s=statistics.median(told.waits) if told.waits else None,
        contact=contact,
        last=told.last,
        batches=tuple(batches),
        health=health_of(known, now),
    )
