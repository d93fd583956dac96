# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The files among a run's inputs: users' references become locations, sizes and checksums."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import urljoin

from airflow_hybrid.cwl.documents.default_files import NULL_DEVICE, is_null_device
from airflow_hybrid.cwl.values.file_values import with_lists
from airflow_hybrid.errors import InputError
from airflow_hybrid.model import CwlObject, JsonValue, percent_decoded, percent_encoded
from airflow_hybrid.model.locations import FILES, STORES, WEB, Location, local_path, normal, scheme_of
from airflow_hybrid.model.walking import files

_SHA1 = re.compile(r"sha1\$[0-9a-f]{40}")
_SCHEMES = (*FILES, *WEB, *STORES)
_TEXTS = ("path", "location", "basename", "contents", "checksum")
_LISTS = ("secondaryFiles", "listing")


@dataclass(frozen=True)
class InputFiles:
    """Resolves the Files and Directories of one input.

    :ivar name: of the input, for messages.
    :ivar base: base URI of relative paths and locations.
    :ivar namespaces: prefixes of file formats.
    :ivar look: whether files of this machine must exist.
    """

    name: str
    base: str
    namespaces: Mapping[str, str]
    look: bool = True

    def located(self, value: JsonValue) -> JsonValue:
        """Files with a ``file:`` (or remote) location; nothing relative.

        :raises InputError: a File or Directory is malformed, or does not exist.
        """
        if isinstance(value, list):
            return [self.located(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("class"), list | dict):
            raise self._wrong(f"`class` must be a string, not {value['class']!r}")
        if value.get("class") not in ("File", "Directory"):
            return {key: self.located(entry) for key, entry in value.items()}
        if is_null_device(value):  # an empty file, wherever it is used
            name = value.get("basename") or os.path.basename(NULL_DEVICE)
            return {"class": "File", "basename": name, "contents": ""}
        return self._file(value)

    def _file(self, value: CwlObject) -> CwlObject:
        file = with_lists({key: entry for key, entry in value.items() if entry is not None})
        self._check_shape(file)
        location = self._location(file)
        file.pop("path", None)
        if location is not None:
            file["location"] = location
            file.setdefault("basename", os.path.basename(Location.parse(location).path))
            if self.look:
                self._check_exists(file)
        elif "contents" not in file and "listing" not in file:
            raise self._wrong(f"a {file['class']} needs a location, a path, or its contents")
        prefix, colon, rest = str(file.get("format", "")).partition(":")
        if colon and prefix in self.namespaces:
            file["format"] = self.namespaces[prefix] + rest
        return {key: self.located(entry) if isinstance(entry, list | dict) else entry for key, entry in file.items()}

    def _check_shape(self, file: CwlObject) -> None:
        """Check fields that would otherwise fail later, without a good message."""
        for key in _TEXTS:
            if not isinstance(file.get(key, ""), str):
                raise self._wrong(f"`{key}` of a {file['class']} must be a string, not {file[key]!r}")
        name = file.get("basename")
        if name is not None and ("/" in name or name in ("", ".", "..")):
            raise self._wrong(f"`basename` {name!r} is not the name of a {file['class']}")
        for key in _LISTS:
            entries = file.get(key, [])
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise self._wrong(f"`{key}` must be a list of Files and Directories, not {entries!r}")

    def _location(self, file: CwlObject) -> str | None:
        """The absolute location; None for a literal."""
        location, path = file.get("location"), file.get("path")
        if location is None and path is not None:
            # a path is not percent-encoded, a location is
            location = path if scheme_of(path) in _SCHEMES else percent_encoded(path)
        if location is None or location.startswith("_:"):
            return None
        if scheme_of(location) not in _SCHEMES:
            location = urljoin(self.base, percent_encoded(percent_decoded(location), safe="/@!$&'()*+,;=~"))
        try:
            return normal(str(location))
        except ValueError as error:
            raise self._wrong(str(error)) from error

    def _check_exists(self, file: CwlObject) -> None:
        path = local_path(file["location"])
        if path is None:
            return
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:  # ValueError: a null character
            raise self._wrong(f"{path}: {_reason(error)}") from error
        right = stat.S_ISDIR(mode) if file["class"] == "Directory" else stat.S_ISREG(mode)
        if not right:
            raise self._wrong(f"{path} is not a {file['class']}")

    def _wrong(self, problem: str) -> InputError:
        return InputError(f"input {self.name!r}: {problem}")


def located_files(
    values: Mapping[str, JsonValue], base: str, namespaces: Mapping[str, str]
) -> tuple[CwlObject, list[InputError]]:
    """The values of inputs with located files, and the problems with the others."""
    located: CwlObject = {}
    problems: list[InputError] = []
    for name, value in values.items():
        try:
            located[name] = InputFiles(name, base, namespaces).located(value)
        except InputError as error:
            problems.append(error)
    return located, problems


def in_one_message(problems: Sequence[InputError], where: str | None = None) -> InputError:
    """One error for all problems with a run's inputs.

    :param problems: at least one.
    :param where: the inputs file, if there is one.
    """
    if len(problems) == 1:
        only = problems[0]
        return InputError(only.message, where=where or only.where, hint=only.hint)
    lines = [f"{len(problems)} problems in the inputs"]
    for problem in problems:
        lines.append(f"  {problem.message}")
        if problem.hint:
            lines.append(f"    -> {problem.hint}")
    together = InputError("\n".join(lines), where=where)
    together.problems = tuple(InputError(p.message, where=where or p.where, hint=p.hint) for p in problems)
    return together


def measure(value: JsonValue, name: str, checksum: bool) -> None:
    """Add size and checksum of local files; a given checksum must be right.

    :param name: of the input, for messages.
    :raises InputError: a checksum is wrong, or a file cannot be read.
    """
    for file in files(value, skip=lambda _, key: key == "listing"):
        path = local_path(file.get("location", "")) if file["class"] == "File" else None
        if path is not None:
            _measure(cast(CwlObject, file), path, name, checksum)


def _measure(file: CwlObject, path: str, name: str, checksum: bool) -> None:
    try:
        file["size"] = os.stat(path).st_size
        digest = f"sha1${_sha1(path)}" if checksum else None
    except OSError as error:
        raise InputError(f"input {name!r}: {path}: {_reason(error)}") from error
    if digest is None:
        return
    if _SHA1.fullmatch(str(file.get("checksum", ""))) and file["checksum"] != digest:
        raise InputError(f"input {name!r}: the checksum of {path} is {digest}, not {file['checksum']}")
    file["checksum"] = digest


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _sha1(path: str) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1024 * 1024):
            digest.update(block)
    return digest.hexdigest()
