# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""File and Directory objects in values, as they go in to expressions and out to other tasks."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Mapping
from typing import Any

from airflow_hybrid.model import JsonValue, percent_decoded
from airflow_hybrid.model.locations import Location, local_path

_LISTS = ("secondaryFiles", "listing")


def with_lists(item: dict[str, Any]) -> dict[str, Any]:
    """A File or Directory whose only secondary file or entry is in a list, as the standard has it."""
    return {key: [entry] if key in _LISTS and isinstance(entry, dict) else entry for key, entry in item.items()}


def clean(value: Any, *, contents: bool = False, listing: bool = False) -> JsonValue:
    """A value without what cwltool adds for its own use: what tasks publish.

    :param contents: keep the contents of Files that have a location (a workflow's input with ``loadContents``).
    :param listing: keep the listings of Directories that have one (a workflow's input with ``loadListing``).
    """
    if isinstance(value, list | tuple):
        return [clean(item, contents=contents, listing=listing) for item in value]
    if not isinstance(value, Mapping):
        return value
    kept = {key: clean(item, contents=contents, listing=listing) for key, item in value.items()}
    if kept.get("class") in ("File", "Directory"):
        kept = with_lists(kept)
        for key in ("path", "dirname", "nameroot", "nameext", "writable"):
            kept.pop(key, None)
        if str(kept.get("location", "")).startswith("_:") or _is_changed(kept, {}):
            del kept["location"]
        elif "location" in kept:
            if not listing:
                kept.pop("listing", None)
            if not contents:
                kept.pop("contents", None)
    return kept


def members_of(value: Any) -> dict[str, frozenset[str]]:
    """What is listed of the Directories in a value: their locations -> those of their members."""
    found: dict[str, frozenset[str]] = {}
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, list):
            pending.extend(current)
        elif isinstance(current, Mapping):
            if current.get("class") == "Directory" and current.get("location") and current.get("listing") is not None:
                found[str(current["location"])] = frozenset(str(item.get("location")) for item in current["listing"])
            pending.extend(item for item in current.values() if isinstance(item, list | Mapping))
    return found


def as_changed(value: Any, members: Mapping[str, frozenset[str]]) -> Any:
    """A value of an expression in which a Directory whose listing it changed is a literal with these members.

    A Directory with a location is what is there, whatever its listing says (CWL v1.2 CommandLineTool, Directory).

    :param members: what was listed before, where it is known (:func:`members_of`).
    """
    if isinstance(value, list):
        return [as_changed(item, members) for item in value]
    if not isinstance(value, Mapping):
        return value
    return without_changed_place({key: as_changed(entry, members) for key, entry in value.items()}, members)


def without_changed_place(item: dict[str, Any], members: Mapping[str, frozenset[str]] | None = None) -> dict[str, Any]:
    """The same, or, of a Directory whose listing is not what is at its location, one that has none."""
    if not _is_changed(item, members or {}):
        return item
    return {key: entry for key, entry in item.items() if key not in ("location", "path")}


def _is_changed(item: Mapping[str, Any], members: Mapping[str, frozenset[str]]) -> bool:
    """Whether the listing of a Directory is not what is at its location: other names, other members, or fewer."""
    location, listing = item.get("location"), item.get("listing")
    if item.get("class") != "Directory" or not isinstance(location, str) or location.startswith("_:"):
        return False
    if not isinstance(listing, list):
        return False
    before = members.get(location)
    if before is not None and before != {str(entry.get("location")) for entry in listing}:
        return True
    folder = percent_decoded(location).rstrip("/")
    for entry in listing:
        place = percent_decoded(str(entry.get("location", entry.get("path")))).rstrip("/")
        name = entry.get("basename") or posixpath.basename(place)
        if place != f"{folder}/{name}":
            return True
    return False


def named(value: Any) -> Any:
    """A copy in which every File has what expressions may ask for: basename, nameroot and nameext."""
    if isinstance(value, list):
        return [named(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    item = {key: named(entry) for key, entry in value.items()}
    if item.get("class") in ("File", "Directory"):
        item = with_lists(item)
        if not item.get("basename") and "location" in item:
            item["basename"] = posixpath.basename(Location.parse(item["location"]).path.rstrip("/"))
        if item["class"] == "File" and "basename" in item:
            item["nameroot"], item["nameext"] = posixpath.splitext(item["basename"])
    return item


def with_size(value: JsonValue) -> JsonValue:
    """Add the size of local Files of a default, for expressions that ask for it."""
    if isinstance(value, list):
        for item in value:
            with_size(item)
    elif isinstance(value, dict):
        path = local_path(str(value.get("location", ""))) if value.get("class") == "File" else None
        if path is not None and "size" not in value:
            with contextlib.suppress(OSError):
                value["size"] = os.stat(path).st_size
        for item in value.values():
            with_size(item)
    return value
