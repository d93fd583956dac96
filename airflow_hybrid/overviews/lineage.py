# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The files of a run: what was moved between sites, how, and where jobs were placed, as its tasks have recorded it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from airflow_hybrid.model import LOCAL_DEPLOYMENT, LineageEntry
from airflow_hybrid.model.files import PLACED, Transfer

MOVING_ROUTES = ("direct", "relay", "fetch", "copy")
"""routes by which bytes are copied; ``in place`` and ``link`` move none"""
_MOST_BYTES = 1 << 63
_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str | None": (str, type(None)),
}
_FIELDS = {field.name: _KINDS[str(field.type)] for field in fields(LineageEntry)}


@dataclass(frozen=True)
class TaskLineage:
    """What one task instance has recorded of files."""

    task_id: str
    map_index: int
    entries: tuple[LineageEntry, ...]


@dataclass(frozen=True)
class RunLineage:
    """What the tasks of a run have recorded of files.

    :ivar unread: tasks whose lineage cannot be read, with the reason.
    """

    tasks: tuple[TaskLineage, ...]
    unread: tuple[tuple[str, str], ...] = ()

    def entries(self) -> Iterator[tuple[str, LineageEntry]]:
        """All entries, each with the id of its task."""
        for task in self.tasks:
            for entry in task.entries:
                yield task.task_id, entry


@dataclass(frozen=True)
class Placement:
    """Jobs that were placed at a location.

    :ivar jobs: which one, or how many of which step; ``place``: where; ``reason``: why there.
    :ivar bytes: the amount that had to be moved there.
    """

    task_id: str
    jobs: str
    place: str
    reason: str
    bytes: int


def checked_entries(value: Any) -> tuple[LineageEntry, ...]:
    """:raises ValueError: it is no lineage."""
    if not isinstance(value, list):
        raise ValueError("not the lineage of a task")
    return tuple(_entry(item) for item in value)


def _entry(item: Any) -> LineageEntry:
    if not isinstance(item, Mapping) or not set(item) <= set(_FIELDS):
        raise ValueError("an entry in a lineage that is none")
    for name, kinds in _FIELDS.items():
        if name in item and type(item[name]) not in kinds:
            raise ValueError(f"an entry in a lineage whose {name} is not what it should be")
    try:
        entry = LineageEntry(**item)
    except TypeError:
        raise ValueError("an entry in a lineage that is not complete") from None
    if not 0 <= entry.bytes < _MOST_BYTES or not 0 <= entry.seconds < math.inf:
        raise ValueError("an entry in a lineage with an amount that is not possible")
    return entry


def site_of(uri: str) -> str:
    """The name of the deployment where a file is; of a file on the web or in an object store, the host or bucket."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return LOCAL_DEPLOYMENT
    if parts.scheme in ("", "file"):
        return LOCAL_DEPLOYMENT
    if parts.scheme == "hybrid":
        return parts.netloc
    return f"{parts.scheme}://{parts.netloc}"


def transfers(lineage: RunLineage, routes: Iterable[str] = MOVING_ROUTES) -> list[Transfer]:
    """The sums of what was moved, most bytes first.

    A copy inside of a site has the same source and target. What somebody else had brought is not counted.
    """
    wanted = frozenset(routes)
    counts: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0, 0, 0.0])
    tasks: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
    for task_id, entry in lineage.entries():
        if entry.route not in wanted or entry.reused:
            continue
        key = (site_of(entry.source), site_of(entry.destination), entry.route)
        sums = counts[key]
        sums[0] += 1
        sums[1] += entry.bytes
        sums[2] += entry.seconds
        tasks[key][task_id] = None
    result = [
        Transfer(
            source, target, route, int(sums[0]), int(sums[1]), round(sums[2], 3), tuple(tasks[source, target, route])
        )
        for (source, target, route), sums in counts.items()
    ]
    return sorted(result, key=lambda transfer: (-transfer.bytes, transfer.source, transfer.target, transfer.route))


def placements(lineage: RunLineage) -> list[Placement]:
    """Where jobs were placed, and why, where there was a choice."""
    result = []
    for task_id, entry in lineage.entries():
        if entry.route == PLACED:
            place, _, reason = entry.note.partition(": ")
            result.append(Placement(task_id, entry.source, place, reason, entry.bytes))
    return result
