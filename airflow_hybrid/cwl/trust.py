# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a document may name: when it is compiled, files below its roots; when it runs, files that somebody gave it.

A document is not trusted: it is read with the rights of Airflow's processes, and must not show their files to whoever
may trigger its DAG.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_hybrid.errors import CwlError

ROOTS_VARIABLE = "AIRFLOW_HYBRID_DOCUMENT_ROOTS"
"""Folders and URL prefixes that documents may read from, joined by spaces."""
_HINT = (
    f"if it may: set {ROOTS_VARIABLE} of Airflow's processes to the folders (or URL prefixes) that documents may read "
    "from, joined by spaces"
)


_OF_PROJECTS = ("README*", "LICENSE*")
_SHARED = ("/", "/tmp", "/home", "/var", "/var/tmp", "/opt", "/srv", "/usr", "/mnt", "/data")
"""folders of many projects"""


class Roots:
    """Where the files of one document may be.

    Given by :data:`ROOTS_VARIABLE`; else Airflow's DAGs folder if the document is in it, else its project: the nearest
    folder with ``.git``, or the topmost one with a README or LICENSE, else the folder above the document's (not ``/``,
    a home, or Airflow's home: then the document's own). Files and folders whose names begin with a dot are never among
    them. Other CWL documents (``.cwl``), which hold nothing but workflows, may be anywhere.

    :param source: URI of the top-level document.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._folders: list[str] = []
        self._prefixes: list[str] = []
        given = os.environ.get(ROOTS_VARIABLE, "").split()
        for root in given:
            if "://" in root:
                self._prefixes.append(root.rstrip("/") + "/")
            else:
                self._folders.append(os.path.realpath(root))
        parts = urlsplit(source)
        if parts.scheme != "file":
            self._prefixes.append(f"{parts.scheme}://{parts.netloc}/")
        elif not given:
            self._folders.append(_root_of(Path(os.path.realpath(unquote(parts.path))).parent))

    def problem(self, url: str) -> str | None:
        """Why a document may not read ``url``; None where it may."""
        url = url.partition("#")[0]
        if url == self._source or url.startswith(tuple(self._prefixes) or ("\0",)):
            return None
        parts = urlsplit(url)
        if parts.scheme != "file":
            return f"a document may not load {url}: only files"
        path = os.path.realpath(unquote(parts.path))
        if path.endswith(".cwl") and "/." not in path:
            return None
        for root in self._folders:
            if path == root or path.startswith(root.rstrip("/") + "/"):
                hidden = [part for part in path[len(root) :].split("/") if part.startswith(".")]
                return f"a document may not name the hidden {hidden[0]!r} of {url}" if hidden else None
        return f"a document may not name {url}: it is outside of {' and '.join(self._folders) or 'its own site'}"

    def refuse(self, problem: str, where: str = "") -> CwlError:
        return CwlError(problem, where=where or None, hint=_HINT)


def _root_of(folder: Path) -> str:
    home = os.environ.get("AIRFLOW_HOME") or os.path.expanduser("~/airflow")
    dags = os.path.realpath(os.environ.get("AIRFLOW__CORE__DAGS_FOLDER") or os.path.join(home, "dags"))
    if str(folder) == dags or str(folder).startswith(dags + "/"):
        return dags
    shared = {os.path.realpath(home), os.path.realpath(os.path.expanduser("~")), *_SHARED}
    project = None
    for place in (folder, *folder.parents):
        if (place / ".git").exists():
            return str(place)
        if str(place) in shared:
            break
        if any(next(place.glob(pattern), None) for pattern in _OF_PROJECTS):
            project = place
    return str(project or (folder if str(folder.parent) in shared else folder.parent))


def located(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every File and Directory object in a value or document that has a location (or a path)."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from located(item)
    elif isinstance(value, Mapping):
        if value.get("class") in ("File", "Directory") and isinstance(value.get("location", value.get("path")), str):
            yield value
        for item in value.values():
            if isinstance(item, list | tuple | Mapping):
                yield from located(item)


class Known:
    """The files that a running fragment has been given: a location that an expression makes up is none of them."""

    def __init__(self, *values: Any) -> None:
        self._locations: set[str] = set()
        self.add(values)

    def add(self, value: Any) -> None:
        for item in located(value):
            self._locations.add(_location(item))

    def strange(self, values: Iterable[Any]) -> str | None:
        """The first location in ``values`` that is neither known nor below a known folder."""
        for item in located(list(values)):
            location = _location(item)
            if not location.startswith("_:") and not self._has(location):
                return location
        return None

    def _has(self, location: str) -> bool:
        if location in self._locations:
            return True
        if "/../" in f"{unquote(location)}/":
            return False
        parent = location
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in self._locations:
                return True
        return False


def _location(item: Mapping[str, Any]) -> str:
    return str(item.get("location", item.get("path"))).rstrip("/")


def made_up(location: str, where: str) -> CwlError:
    return CwlError(
        f"an expression gave the file {location}, which is neither an input nor the output of a step",
        where=where,
        hint="expressions may hand on files that they were given; another file has to be an input of the workflow",
    )
