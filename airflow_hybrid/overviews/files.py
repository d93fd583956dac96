# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The files of a run: what its steps have made, and the copies of inputs at sites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_hybrid.model.files import ROUTES_OF_JOBS, ROUTES_OF_OUTPUTS, Transfer
from airflow_hybrid.model.walking import files, location_of
from airflow_hybrid.overviews.lineage import RunLineage, site_of

INPUTS_TASK = "inputs"
OUTPUTS_TASK = "outputs"
_MOST_BYTES = 10**18
"""no file is larger"""


@dataclass(frozen=True)
class RunFile:
    """A file of a run at a place.

    :ivar role: ``input`` (as the run was given it), ``output`` (a task has made or published it), ``replica`` (a
        copy of an input at a site).
    :ivar task_id: of the task that made or brought it.
    :ivar site: name of the deployment that has it; ``local``: this machine.
    :ivar size: in bytes; None: unknown, or a directory.
    :ivar route: how it came there; empty: it was made there.
    :ivar source: where a replica, or a file of the output folder, was copied from.
    """

    role: str
    task_id: str
    site: str
    path: str
    size: int | None
    checksum: str
    route: str = ""
    source: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class SiteSum:
    """The files of a run at a site.

    :ivar moved: bytes that were copied there for the jobs of steps; ``gathered``: as outputs of the workflow, to its
        output folder. Both count every copy that was made, also those of tasks that failed.
    """

    site: str
    files: int
    bytes: int
    moved: int
    gathered: int = 0


@dataclass(frozen=True)
class RunData:
    """The files of a run.

    :ivar transfers: what was moved to sites for steps; ``gathered``: as outputs, to the output folder.
    :ivar unread: tasks whose values cannot be read, with the reason.
    """

    files: tuple[RunFile, ...]
    transfers: tuple[Transfer, ...] = ()
    gathered: tuple[Transfer, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()


def published(task_id: str, value: Any) -> Iterator[RunFile]:
    """The Files and Directories in what a task has returned."""
    for item in files(value):
        location = location_of(item)
        if not isinstance(location, str):
            continue
        size, checksum = item.get("size"), item.get("checksum")
        yield RunFile(
            role="input" if task_id == INPUTS_TASK else "output",
            task_id=task_id,
            site=site_of(location),
            path=path_of(location),
            size=size if type(size) is int and 0 <= size <= _MOST_BYTES else None,
            checksum=checksum if isinstance(checksum, str) else "",
        )


def replicas(lineage: RunLineage) -> Iterator[RunFile]:
    """The files that were brought to a place, or are used in place."""
    for task_id, entry in lineage.entries():
        if entry.route in ROUTES_OF_OUTPUTS | ROUTES_OF_JOBS or not entry.destination:
            continue
        if task_id == OUTPUTS_TASK and entry.note:  # a sum of many, which are listed from the task's value
            continue
        yield RunFile(
            role="replica",
            task_id=task_id,
            site=site_of(entry.destination),
            path=path_of(entry.destination),
            size=entry.bytes,
            checksum=entry.checksum or "",
            route=entry.route,
            source=entry.source,
            seconds=entry.seconds,
        )


def path_of(uri: str) -> str:
    """The path in the location of a file; of a web address, all that comes after the host."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri
    if parts.scheme == "hybrid":
        return unquote("/" + parts.path.lstrip("/").partition("/")[2])
    return unquote(parts.path) if parts.scheme in ("", "file") else parts.path


def sums(data: RunData) -> list[SiteSum]:
    """The sums of each site, those with most bytes first."""
    by_site: dict[str, list[RunFile]] = {transfer.target: [] for transfer in (*data.transfers, *data.gathered)}
    for file in data.files:
        by_site.setdefault(file.site, []).append(file)
    result = []
    for site, members in by_site.items():
        size = sum(file.size or 0 for file in members)
        moved, gathered = _bytes_to(site, data.transfers), _bytes_to(site, data.gathered)
        result.append(SiteSum(site, len(members), size, moved, gathered))
    return sorted(result, key=lambda total: (-total.bytes, total.site))


def _bytes_to(site: str, moved: Sequence[Transfer]) -> int:
    return sum(transfer.bytes for transfer in moved if transfer.target == site)


def as_json(file: RunFile) -> Mapping[str, Any]:
    """As plain values."""
    return dict(vars(file))
