# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files that a document names as defaults: possible secrets are refused, but only if they are used.

A default names a file on its author's machine, or in the tool's container, and most runs replace it. So the document is
compiled, and defaults that no run may use are marked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.cwl.documents.trust.own_folders import AirflowFolders, is_below
from airflow_hybrid.cwl.documents.trust.roots import HINT, REFUSED, Roots, is_located, located
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model.locations import Location, normal
from airflow_hybrid.model.walking import location_of

NULL_DEVICE = "/dev/null"
_OF_THE_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust",
)
"""Folders of the operating system and its packages; their contents are the same on every machine."""


def why_refused(item: Mapping[str, Any], roots: Roots) -> str | None:
    """The reason why a document may not name a File or Directory as a default; None if it may, or names none."""
    text = location_of(item)
    if text.startswith("_:"):
        return None
    try:
        location = Location.parse(text)
    except ValueError as error:
        return f"a document may not name such a file: {error}"
    problem = roots.problem_of(location)
    return None if problem is None or _is_of_the_system(location) else problem


def in_defaults(value: Any, inside: bool = False) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Every File and Directory in a document, each with whether it is (part of) a default."""
    if isinstance(value, list | tuple):
        for node in value:
            yield from in_defaults(node, inside)
    elif isinstance(value, Mapping):
        if is_located(value):
            yield value, inside
        for key, node in value.items():
            yield from in_defaults(node, inside or key == "default")


@dataclass(frozen=True)
class Refused:
    """The reason why a document may not name a file, and the position where it does."""

    problem: str
    where: str


def marked(node: dict[str, Any], refused: Mapping[str, Refused]) -> dict[str, Any]:
    """A part of a document, marked if it is a File or Directory whose location is ``refused``.

    Other locations are replaced by their normal form, which was checked.
    """
    if not is_located(node):
        return node
    text = location_of(node)
    if text in refused:
        return {**node, REFUSED: dict(vars(refused[text]))}
    if text.startswith("_:"):
        return node
    return {**node, "path" if node.get("location") is None else "location": normal(text)}


def check_used(value: Any) -> None:
    """:raises CwlError: a File or Directory in ``value`` is a default that the document may not name."""
    for item in located(value):
        if item.get(REFUSED):
            raise refusal(item)


def refusal(item: Mapping[str, Any]) -> CwlError:
    """The error for a marked File or Directory."""
    return CwlError(item[REFUSED]["problem"], where=item[REFUSED]["where"], hint=HINT)


def is_null_device(item: Mapping[str, Any]) -> bool:
    """Whether a File is ``/dev/null``, which is empty everywhere and not a regular file."""
    return item.get("class") == "File" and location_of(item) in (NULL_DEVICE, f"file://{NULL_DEVICE}")


def _is_of_the_system(location: Location) -> bool:
    """Whether a file, by its real path, belongs to the operating system and is readable by everybody."""
    if location.scheme != "file":
        return False
    path = os.path.realpath(location.path)
    if path == NULL_DEVICE:
        return True
    if not any(is_below(path, os.path.realpath(folder)) for folder in _OF_THE_SYSTEM):
        return False
    airflow = AirflowFolders.here()
    if airflow.holds(path, "/") or airflow.lies_in(path):
        return False
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except OSError:
        return True  # it does not exist here: nothing can be read, and a run that uses it gets an error
