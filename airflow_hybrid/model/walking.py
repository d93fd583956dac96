# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files and Directories in CWL values: found, or replaced, wherever they are.

A value is what JSON gives: lists and objects in each other. cwltool has such functions, too (``visit_class``,
``adjustFileObjs``), but is slow to import, and they change values in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

FILE_CLASSES = ("File", "Directory")
Skip = Callable[[Mapping[str, Any], str], bool]
"""Of an object and one of its keys: whether what is there is not looked into."""


def is_file(value: Any) -> bool:
    """Whether a value is itself a File or Directory."""
    return isinstance(value, Mapping) and value.get("class") in FILE_CLASSES


def objects(value: Any, skip: Skip | None = None) -> Iterator[Mapping[str, Any]]:
    """Every object in a value, each before what is in it, in the value's order.

    An object may be changed when it comes: what is in it is looked at afterwards.
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
    """Every File and Directory in a value, their secondary files and listings included."""
    return (item for item in objects(value, skip) if item.get("class") in FILE_CLASSES)


def outermost_files(value: Any) -> Iterator[Mapping[str, Any]]:
    """The Files and Directories in a value, without those that are in or beside others."""
    return files(value, skip=_is_in_file)


def map_files(change: Callable[[dict[str, Any]], Any], value: Any) -> Any:
    """A copy of a value in which each File and Directory is what ``change`` makes of it, innermost first.

    :param change: gets a copy of its own, in which the secondary files and the listing are changed already.
    """
    if isinstance(value, list | tuple):
        return [map_files(change, entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    file = {key: map_files(change, entry) for key, entry in value.items()}
    return change(file) if file.get("class") in FILE_CLASSES else file


def map_outermost_files(change: Callable[[Mapping[str, Any]], Any], value: Any) -> Any:
    """The same, for those only that are not in or beside others: ``change`` gets each as it is, with all in it."""
    if isinstance(value, list | tuple):
        return [map_outermost_files(change, entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class") in FILE_CLASSES:
        return change(value)
    return {key: map_outermost_files(change, entry) for key, entry in value.items()}


def _is_in_file(item: Mapping[str, Any], key: str) -> bool:
    return item.get("class") in FILE_CLASSES
