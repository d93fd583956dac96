# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The files that a document may name: at compile time those below its roots, at run time those that it was given.

A document is not trusted: it is read with the rights of Airflow's processes, and must not reveal their files to people
who may trigger its DAG.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_hybrid import settings
from airflow_hybrid.cwl.documents.trust.images import dockerfile_problem, image_problem
from airflow_hybrid.cwl.documents.trust.own_folders import AirflowFolders, is_below, why_no_root
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import image_names, percent_decoded, percent_encoded
from airflow_hybrid.model.containers import ImageSource
from airflow_hybrid.model.locations import Location, normal
from airflow_hybrid.model.walking import files, is_file, location_of, objects

HINT = (
    f"if it may: set {settings.title_of('document_roots')} in Airflow's configuration to the folders (or URL prefixes) "
    "that documents may read from, joined by spaces"
)

IMAGE_HINT = "an image is named as in `docker pull` (debian:12, quay.io/org/tool@sha256:...)"

_OF_PROJECTS = ("README*", "LICENSE*")
_SHARED = ("/", "/tmp", "/home", "/var", "/var/tmp", "/opt", "/srv", "/usr", "/mnt", "/data")
"""folders of many projects"""


REFUSED = "airflow_hybrid:refused"
"""Key of a File or Directory that a document may not name: its value is the reason (see
:mod:`airflow_hybrid.cwl.documents.default_files`).
"""


class Roots:
    """The folders where the files of one document may be.

    Set by the setting ``document_roots``; else Airflow's DAGs folder if the document is in it, else its project: the
    nearest folder with ``.git``, or the topmost one with a README or LICENSE, else the folder above the document's (not
    ``/``, a home, or Airflow's home: then the document's own). Hidden files and folders (with a leading dot) are
    excluded. Other CWL documents (``.cwl``), which only contain workflows, may be anywhere.

    Airflow's own files (:class:`AirflowFolders`) are always excluded; a home, ``/tmp`` and ``/`` are never a root.

    :param source: URI of the top-level document.
    :raises CwlError: the setting ``document_roots`` names a folder that cannot be a root.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._folders: list[str] = []
        self._prefixes: list[str] = []
        self._airflow = AirflowFolders.here()
        given = settings.current().document_roots
        for root in given:
            if "://" in root:
                self._prefixes.append(root.rstrip("/") + "/")
            else:
                self._folders.append(self._given(root))
        parts = urlsplit(source)
        if parts.scheme != "file":
            self._prefixes.append(f"{parts.scheme}://{parts.netloc}/")
        elif not self._folders:  # URL prefixes are in addition to the document's own files
            own = _root_of(Path(os.path.realpath(percent_decoded(parts.path))).parent, self._airflow)
            self._folders += [] if own is None else [own]

    def _given(self, root: str) -> str:
        folder = os.path.realpath(root)
        why = why_no_root(folder, self._airflow)
        if why:
            raise CwlError(
                f"{settings.title_of('document_roots')} names {root}, which cannot be a root of documents: {why}",
                hint="name only the folders in it that documents may read",
            )
        return folder

    def problem(self, url: str) -> str | None:
        """The reason why a document may not read ``url``; None if it may."""
        url = url.partition("#")[0]
        if url == self._source:
            return None
        try:
            location = Location.parse(url)
        except ValueError as error:
            return f"a document may not load such a file: {error}"
        return self.problem_of(location)

    def problem_of(self, location: Location) -> str | None:
        """The same for a parsed location."""
        if location.uri.startswith(tuple(self._prefixes) or ("\0",)) and not location.climbs:
            return None
        if location.scheme != "file":
            return f"a document may not load {location.uri}: only files"
        path, url = os.path.realpath(location.path), f"file://{location.path}"
        if path.endswith(".cwl") and "/." not in path:
            return None
        root = next((folder for folder in self._folders if is_below(path, folder)), None)
        if root is None:
            return f"a document may not name {url}: it is outside {' and '.join(self._folders) or 'its own site'}"
        if self._airflow.holds(path, root):
            return f"a document may not name {url}: it is a file of Airflow itself"
        if self._airflow.lies_in(path):
            return f"a document may not name the folder {url}: it contains files of Airflow itself"
        hidden = [part for part in path[len(root) :].split("/") if part.startswith(".")]
        return f"a document may not name the hidden {hidden[0]!r} of {url}" if hidden else None

    def refuse(self, problem: str, where: str = "") -> CwlError:
        return CwlError(problem, where=where or None, hint=HINT)


def _root_of(folder: Path, airflow: AirflowFolders) -> str | None:
    """The root of documents in a folder; None if that folder cannot be a root."""
    root = airflow.dags if is_below(str(folder), airflow.dags) else _project_of(folder, airflow)
    inside = is_below(root, airflow.home) and not is_below(root, airflow.dags)
    return None if inside or why_no_root(root, airflow) else root


def _project_of(folder: Path, airflow: AirflowFolders) -> str:
    project = None
    for place in (folder, *folder.parents):
        if _is_shared(str(place), airflow):
            break
        if (place / ".git").exists():
            return str(place)
        if any(next(place.glob(pattern), None) for pattern in _OF_PROJECTS):
            project = place
    if project is not None:
        return str(project)
    if _is_shared(str(folder), airflow) or _is_shared(str(folder.parent), airflow):
        return str(folder)
    return str(folder.parent)


def _is_shared(folder: str, airflow: AirflowFolders) -> bool:
    return folder in _SHARED or why_no_root(folder, airflow) is not None


def docker_requirements(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every DockerRequirement in a process, or in a list of requirements."""
    return (item for item in objects(value) if item.get("class") == "DockerRequirement")


def check_image(requirement: Mapping[str, Any], roots: Roots, where: str) -> None:
    """Check that a DockerRequirement names a valid image, and archives below the document's roots.

    :raises CwlError: it does not.
    """
    try:
        ImageSource.of(requirement, required=True)
    except CwlError as error:
        error.where = where or None
        raise
    problem = _image_problem(requirement)
    if problem:
        raise CwlError(problem, where=where or None, hint=IMAGE_HINT)
    for field in ("dockerLoad", "dockerImport"):
        location = requirement.get(field)
        if not location:
            continue
        if "://" not in location and not location.startswith("/"):
            raise CwlError(
                f"{field} {location!r} is neither an absolute path of the machine that runs Airflow nor a URL",
                where=where or None,
            )
        problem = roots.problem(location if "://" in location else f"file://{percent_encoded(location)}")
        if problem:
            raise roots.refuse(f"{field}: {problem}", where)


def _image_problem(requirement: Mapping[str, Any]) -> str | None:
    pull, image, file = (requirement.get(f"docker{name}") for name in ("Pull", "ImageId", "File"))
    problem = image_problem(pull) if pull else None
    if problem:
        return f"dockerPull {problem}"
    # anything else is an image file, which is checked where it is used
    problem = image_problem(image) if image and image_names.name_problem(image) is None else None
    if problem:
        return f"dockerImageId {problem}"
    problem = dockerfile_problem(file) if file else None
    return f"dockerFile: {problem}" if problem else None


def located(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every File and Directory object in a value or document that has a location (or a path)."""
    return (item for item in files(value) if is_located(item))


def is_located(value: Mapping[str, Any]) -> bool:
    """Whether it is a File or Directory object that has a location (or a path)."""
    return is_file(value) and isinstance(location_of(value), str)


class KnownFiles:
    """The files that a running fragment was given; a location made up by an expression is not among them."""

    def __init__(self, *values: Any) -> None:
        self._locations: set[str] = set()
        self.add(values)

    def add(self, value: Any) -> None:
        for item in located(value):
            if item.get(REFUSED):
                continue
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
        if "/../" in f"{percent_decoded(location)}/":
            return False
        parent = location
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in self._locations:
                return True
        return False


def _location(item: Mapping[str, Any]) -> str:
    text = str(location_of(item))
    try:
        return text if text.startswith("_:") else normal(text)
    except ValueError:
        return text


def made_up(location: str, where: str) -> CwlError:
    return CwlError(
        f"an expression gave the file {percent_decoded(location)}, which is neither an input nor the output of a step",
        where=where,
        hint="expressions may only pass on files that they were given; other files have to be inputs of the workflow",
    )
