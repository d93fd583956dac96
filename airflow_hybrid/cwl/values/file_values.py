# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""File and Directory objects in values, as passed to expressions and to other tasks."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, cast

from airflow_hybrid.model import JsonValue, percent_decoded
from airflow_hybrid.model.locations import Location, local_path
from airflow_hybrid.model.walking import files, is_file, location_of, map_files

_LISTS = ("secondaryFiles", "listing")
_OF_CWLTOOL = ("path", "dirname", "nameroot", "nameext", "writable")
"""fields that cwltool adds for its own use"""


def with_lists(item: dict[str, Any]) -> dict[str, Any]:
    """A File or Directory with a single secondary file or entry put into a list, as the standard requires."""
    return {key: [entry] if key in _LISTS and isinstance(entry, dict) else entry for key, entry in item.items()}


def clean(value: Any, *, contents: bool = False, listing: bool = False) -> JsonValue:
    """A value without cwltool's own fields, as tasks publish it.

    :param contents: keep the contents of Files with a location (a workflow's input with ``loadContents``).
    :param listing: keep the listings of Directories with a location (a workflow's input with ``loadListing``).
    """

    def cleaned(file: dict[str, Any]) -> dict[str, Any]:
        fields = {key: entry for key, entry in with_lists(file).items() if key not in _OF_CWLTOOL}
        if str(fields.get("location", "")).startswith("_:") or _is_changed(fields, {}):
            del fields["location"]
        elif "location" in fields:
            if not listing:
                fields.pop("listing", None)
            if not contents:
                fields.pop("contents", None)
        return fields

    return map_files(cleaned, value)


def members_of(value: Any) -> dict[str, frozenset[str]]:
    """The listings in a value: locations of the Directories -> locations of their members."""
    members: dict[str, frozenset[str]] = {}
    for item in files(value):
        if item["class"] == "Directory" and item.get("location") and item.get("listing") is not None:
            locations = frozenset(str(member.get("location")) for member in item["listing"])
            members.setdefault(str(item["location"]), locations)
    return members


def as_changed(value: Any, members: Mapping[str, frozenset[str]]) -> Any:
    """An expression's value in which Directories with a changed listing are literals with these members.

    A Directory with a location means the one there, whatever its listing says (CWL v1.2 CommandLineTool, Directory).

    :param members: the listings before, if known (:func:`members_of`).
    """
    return map_files(lambda item: without_changed_place(item, members), value)


def without_changed_place(file: dict[str, Any], members: Mapping[str, frozenset[str]] | None = None) -> dict[str, Any]:
    """The same file object, without its location if it is a Directory whose listing differs from its location."""
    if not _is_changed(file, members or {}):
        return file
    return {key: entry for key, entry in file.items() if key not in ("location", "path")}


def _is_changed(item: Mapping[str, Any], members: Mapping[str, frozenset[str]]) -> bool:
    """Whether the listing of a Directory differs from its location: other names, other members, or fewer."""
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
        place = percent_decoded(str(location_of(entry))).rstrip("/")
        name = entry.get("basename") or posixpath.basename(place)
        if place != f"{folder}/{name}":
            return True
    return False


def named(value: Any) -> Any:
    """A copy in which every File has the fields for expressions: basename, nameroot and nameext."""
    return map_files(_named, value)


def _named(value: dict[str, Any]) -> dict[str, Any]:
    file = with_lists(value)
    if not file.get("basename") and "location" in file:
        file["basename"] = posixpath.basename(Location.parse(file["location"]).path.rstrip("/"))
    if file["class"] == "File" and "basename" in file:
        file["nameroot"], file["nameext"] = posixpath.splitext(file["basename"])
    return file


def placed_files(value: Any) -> Iterator[Mapping[str, Any]]:
    """The Files and Directories in a value that have a real location; not the listings of such folders."""
    return (item for item in files(value, skip=_is_listed) if _is_somewhere(item))


def _is_listed(item: Mapping[str, Any], key: str) -> bool:
    return key == "listing" and is_file(item) and _is_somewhere(item)


def _is_somewhere(item: Mapping[str, Any]) -> bool:
    return not item.get("location", "_:").startswith("_:")


def with_size(value: JsonValue) -> JsonValue:
    """Add the sizes of local Files in a default, for expressions that read them."""
    for file in files(value):
        path = local_path(str(file.get("location", ""))) if file["class"] == "File" else None
        if path is not None and "size" not in file:
            with contextlib.suppress(OSError):
                cast("dict[str, Any]", file)["size"] = os.stat(path).st_size
    return value
