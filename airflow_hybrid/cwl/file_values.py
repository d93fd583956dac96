# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""File and Directory objects in values, as they go in to expressions and out to other tasks."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_hybrid.model import JsonValue, percent_decoded

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
        if str(kept.get("location", "")).startswith("_:"):
            del kept["location"]
        elif "location" in kept:
            if not listing:
                kept.pop("listing", None)
            if not contents:
                kept.pop("contents", None)
    return kept


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
            item["basename"] = posixpath.basename(percent_decoded(urlsplit(item["location"]).path.rstrip("/")))
        if item["class"] == "File" and "basename" in item:
            item["nameroot"], item["nameext"] = posixpath.splitext(item["basename"])
    return item
