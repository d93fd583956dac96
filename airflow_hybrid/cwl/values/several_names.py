# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One file with several names, or several sets of secondary files, in a job: each gets its own location. Pure.

cwltool keeps one path per location. If several objects have the same location, all but the first get another spelling
of the same URL (RFC 3986, section 5.2.4: ``a/b`` and ``a/x/../b`` are the same), which is a key of its own.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_hybrid.cwl.values.file_values import placed_files
from airflow_hybrid.model import CwlObject, percent_decoded
from airflow_hybrid.model.walking import map_outermost_files

_OTHER = "as-"
_SPELLED = re.compile(rf"/{_OTHER}\d+/\.\.(?=/)")


def told_apart(inputs: CwlObject) -> CwlObject:
    """A job order in which no two objects have the same location; the order itself if that is true already."""
    items = list(placed_files(inputs))
    folders = {item["location"] for item in items if item["class"] == "Directory"}
    if len({item["location"] for item in items}) == len(items) and not folders:
        return inputs
    names = _Spellings(folders)
    return {key: names.apart(value, "") for key, value in inputs.items()}


def canonical(location: str) -> str:
    """The location as before :func:`told_apart`, even of a file inside a folder."""
    return _SPELLED.sub("", location) if f"/{_OTHER}" in location else location


class _Spellings:
    """:ivar spellings: of each location, by the appearance of its objects."""

    def __init__(self, folders: set[str]) -> None:
        self._folders = folders
        self._spellings: dict[str, dict[Any, str]] = {}

    def apart(self, value: Any, holder: str) -> Any:
        """:param holder: key of the literal folder, or of the respelled file, that the value belongs to."""
        return map_outermost_files(lambda item: self._file_apart(item, holder), value)

    def _file_apart(self, value: Mapping[str, Any], holder: str) -> CwlObject:
        file = dict(value)
        literal = file["location"].startswith("_:")
        if not literal:
            file["location"] = self._spelling(file, holder)
        folder_location = file["location"] if literal or file["location"] != value["location"] else ""
        if file.get("secondaryFiles"):
            file["secondaryFiles"] = [self.apart(entry, folder_location) for entry in file["secondaryFiles"]]
        if literal and file.get("listing"):
            file["listing"] = [self.apart(entry, folder_location) for entry in file["listing"]]
        elif folder_location:
            file.pop("listing", None)  # its members are listed later, with the new spelling
        return file

    def _spelling(self, file: Mapping[str, Any], holder: str) -> str:
        location = str(file["location"])
        known = self._spellings.setdefault(location, {})
        looks = (holder, _looks(file))
        if looks not in known:
            parent, slash, name = location.rpartition("/")
            plain = not known and not self._differs_in_folder(file)
            known[looks] = location if plain else f"{parent}/{_OTHER}{len(known) + 1}/..{slash}{name}"
        return known[looks]

    def _differs_in_folder(self, file: Mapping[str, Any]) -> bool:
        """Whether a folder among the inputs has this file, with another name or without its secondary files."""
        location = str(file["location"])
        natural = posixpath.basename(percent_decoded(urlsplit(location).path))
        if file["basename"] == natural and not file.get("secondaryFiles"):
            return False
        parent = location
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in self._folders:
                return True
        return False


def _looks(item: Mapping[str, Any]) -> Any:
    secondary = tuple((entry["location"], _looks(entry)) for entry in item.get("secondaryFiles") or ())
    return item["basename"], secondary
