# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A job's inputs in normal form, before it is placed: every File and Directory has a location and a basename."""

from __future__ import annotations

import hashlib
import posixpath
from typing import Any

from airflow_hybrid.cwl.documents.default_files import NULL_DEVICE, is_null_device
from airflow_hybrid.cwl.values.file_values import with_lists, with_size, without_changed_place
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model.locations import Location, normal
from airflow_hybrid.model.walking import map_files

_RUNTIME_FIELDS = ("path", "dirname")


class SettledInputs:
    """Brings the inputs of one job into this form.

    :param step_path: of the job's step, for messages.
    :ivar literals: contents of the File literals so far, by their new locations (``_:literal-0``).
    """

    def __init__(self, step_path: str) -> None:
        self._step_path = step_path
        self.literals: dict[str, str] = {}

    def settle(self, value: Any) -> Any:
        """A copy with every File and Directory in normal form: no path of another site, and the size of local files.

        :raises CwlError: a file cannot have such a location or name.
        """
        return with_size(map_files(self._file, value))

    def _file(self, value: dict[str, Any]) -> dict[str, Any]:
        file = with_lists(without_changed_place(value))
        if is_null_device(file):
            file = {"class": "File", "basename": posixpath.basename(NULL_DEVICE), "contents": ""}
        if file.get("location") is None and file.get("path") is not None:
            file["location"] = file["path"]
        for field in _RUNTIME_FIELDS:
            file.pop(field, None)
        self._locate(file)
        if not file.get("basename"):
            file["basename"] = posixpath.basename(Location.parse(file["location"]).path)
        if "/" in file["basename"] or file["basename"] in (".", ".."):
            raise CwlError(f"{file['basename']!r} is not the name of a {file['class']}", where=self._step_path)
        if file["class"] == "File":
            file["nameroot"], file["nameext"] = posixpath.splitext(file["basename"])
        return file

    def _locate(self, file: dict[str, Any]) -> None:
        """Give a literal a location for cwltool and us; normalise any other location."""
        location = file.get("location")
        if location is None or location.startswith("_:"):
            contents = file.get("contents", "")
            file["location"] = f"_:literal-{len(self.literals)}"
            file.setdefault("basename", hashlib.sha1(contents.encode()).hexdigest())
            self.literals[file["location"]] = contents
            return
        try:
            file["location"] = normal(location)
        except ValueError as error:
            raise CwlError(f"a file cannot be used: {error}", where=self._step_path) from None
