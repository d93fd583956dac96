# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The files of a run: what its steps have made, and the copies of inputs at sites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy.orm import Session

from airflow_hybrid.model.files import ROUTES_OF_OUTPUTS
from airflow_hybrid.model.walking import files, location_of
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.lineage import MOVING_ROUTES, PLACED, RunLineage, lineage_of_run, site_of
from airflow_hybrid.runs.xcoms import published_values

_VALUE_XCOM = "return_value"
INPUTS_TASK = "inputs"


@dataclass(frozen=True)
class RunFile:
    """A file of a run at a place.

    :ivar role: ``input`` (as the run was given it), ``output`` (a task has made or published it), ``replica`` (a
        copy of an input at a site).
    :ivar task_id: of the task that made or brought it.
    :ivar site: name of the deployment that has it; ``local``: this machine.
    :ivar size: in bytes; None: unknown, or a directory.
    :ivar route: how it came there; empty: it was made there.
    :ivar source: where a replica was copied from.
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
    """The files of a run at a site; ``moved``: bytes that were copied there."""

    site: str
    files: int
    bytes: int
    moved: int


@dataclass(frozen=True)
class RunData:
    """The files of a run.

    :ivar unread: tasks whose values cannot be read, with the reason.
    """

    files: tuple[RunFile, ...]
    unread: tuple[tuple[str, str], ...] = ()


def data_of_run(session: Session, run: RunKey) -> RunData:
    """What the tasks of a run have published of files. It is not proof of anything: XComs can be edited."""
    found: dict[tuple[str, str], RunFile] = {}
    for returned in published_values(session, run, _VALUE_XCOM):
        for file in published(returned.task_id, returned.value):
            known = found.get((file.site, file.path))
            if known is None or known.role == "output" == file.role:
                found[file.site, file.path] = file
    lineage = lineage_of_run(session, run)
    for replica in replicas(lineage):
        found.setdefault((replica.site, replica.path), replica)
    ordered = sorted(found.values(), key=lambda file: (file.role, file.task_id, file.site, file.path))
    return RunData(tuple(ordered), lineage.unread)


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
            size=size if type(size) is int and size >= 0 else None,
            checksum=checksum if isinstance(checksum, str) else "",
        )


def replicas(lineage: RunLineage) -> Iterator[RunFile]:
    """The files that were brought to a place, or are used in place."""
    for task_id, entry in lineage.entries():
        if entry.route in ROUTES_OF_OUTPUTS or entry.route == PLACED or not entry.destination:
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


def sums(found: Sequence[RunFile]) -> list[SiteSum]:
    """The sums of each site, those with most bytes first."""
    by_site: dict[str, list[RunFile]] = {}
    for file in found:
        by_site.setdefault(file.site, []).append(file)
    result = [_sum(site, members) for site, members in by_site.items()]
    return sorted(result, key=lambda total: (-total.bytes, total.site))


def _sum(site: str, members: Sequence[RunFile]) -> SiteSum:
    moved = sum(file.size or 0 for file in members if file.route in MOVING_ROUTES)
    return SiteSum(site, len(members), sum(file.size or 0 for file in members), moved)


def as_json(file: RunFile) -> Mapping[str, Any]:
    """As plain values."""
    return dict(vars(file))
