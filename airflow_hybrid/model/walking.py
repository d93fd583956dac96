# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Find or replace the Files and Directories in CWL values.

A value is what JSON gives: nested lists and objects. cwltool has such functions (``visit_class``, ``adjustFileObjs``),
but it is slow to import, and they change values in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

FILE_CLASSES = ("File", "Directory")
Skip = Callable[[Mapping[str, Any], str], bool]
"""Whether to skip what an object has under one of its keys."""


def is_file(value: Any) -> bool:
    """Whether a value is itself a File or Directory."""
    return isinstance(value, Mapping) and value.get("class") in FILE_CLASSES


def location_of(file: Mapping[str, Any]) -> Any:
    """Where a File or Directory says it is: its ``location``, or else its ``path``; None: neither.

    A location of null is none (CWL v1.2, section "File"): whoever looks at ``location`` only would miss the path.
    """
    location = file.get("location")
    return file.get("path") if location is None else location


def objects(value: Any, skip: Skip | None = None) -> Iterator[Mapping[str, Any]]:
    """Every object in a value, each before its contents, in the value's order.

    The caller may change an object when it is yielded: its contents are visited afterwards.
    """
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, Mapping):
            yield current
            members = [item for key, item in current.items() if skip is None or not skip(current, key)]
        elif isinstance(current, list | tuple):
            members = list(current)
        else:
            continue
        pending.extend(reversed(members))


def files(value: Any, skip: Skip | None = None) -> Iterator[Mapping[str, Any]]:
    """Every File and Directory in a value, including those in secondary files and listings."""
    return (item for item in objects(value, skip) if item.get("class") in FILE_CLASSES)


def outermost_files(value: Any) -> Iterator[Mapping[str, Any]]:
    """The Files and Directories in a value, without those in secondary files and listings of others."""
    return files(value, skip=_is_in_file)


def map_files(change: Callable[[dict[str, Any]], Any], value: Any) -> Any:
    """A copy of a value in which ``change`` has replaced each File and Directory, innermost first.

    :param change: gets a copy, in which the secondary files and the listing are changed already.
    """
    if isinstance(value, list | tuple):
        return [map_files(change, entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    file = {key: map_files(change, entry) for key, entry in value.items()}
    return change(file) if file.get("class") in FILE_CLASSES else file


def map_outermost_files(change: Callable[[Mapping[str, Any]], Any], value: Any) -> Any:
    """The same, but only for outermost Files and Directories: ``change`` gets each unchanged, with its contents."""
    if isinstance(value, list | tuple):
        return [map_outermost_files(change, entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class") in FILE_CLASSES:
        return change(value)
    return {key: map_outermost_files(change, entry) for key, entry in value.items()}


def _is_in_file(item: Mapping[str, Any], key: str) -> bool:
    return item.get("class") in FILE_CLASSES
