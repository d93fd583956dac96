# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files that a crate has a copy of. A file is enclosed only as what it was recorded to be."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.errors import TransferError
from airflow_hybrid.model.locations import local_path
from airflow_hybrid.model.values import JsonValue, percent_encoded
from airflow_hybrid.model.walking import files, is_file, location_of, map_files
from airflow_hybrid.printable import redacted

MOST_BYTES = 4 << 30
"""of all copies together, unless somebody says otherwise"""
_CHUNK = 1 << 20
Opened = Callable[[str], AbstractContextManager[int]]
"""opens a regular file of this machine for reading, by its path"""


@dataclass(frozen=True)
class Copy:
    """A file to be copied.

    :ivar path: on this machine; ``name``: in the crate; ``checksum``: ``sha1$...`` that it must have, ``""``: any.
    """

    path: str
    name: str
    checksum: str = ""


class Enclosed:
    """The files that are copied into a crate, and their names there.

    :ivar elsewhere: locations of what is only referred to: files that are not on this machine, or have no checksum, and
        folders of which it is not known what they hold.
    """

    def __init__(self) -> None:
        self.copies: dict[str, Copy] = {}
        self.elsewhere: dict[str, None] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._groups = 0

    def add(self, folder: str, value: JsonValue) -> None:
        """Enclose the files of a value. Those that belong together (secondary files) are in one folder.

        :param folder: of the crate, for these.
        """
        for file in files(value):
            if file["class"] == "Directory":
                self._add_folder(file)
            elif not self._is_known(file):
                self._groups += 1
                for member in _with_secondaries(file):
                    self._add(f"{folder}/{self._groups}", member)

    def _add_folder(self, folder: Mapping[str, Any]) -> None:
        """The members of a listing are files of the value, too. A folder itself has no checksum."""
        location = str(location_of(folder) or "")
        if location and not location.startswith("_:") and not _is_listed(folder):
            self.elsewhere[redacted(location)] = None

    def _is_known(self, file: Mapping[str, Any]) -> bool:
        return _key(file) in self._names

    def _add(self, folder: str, file: Mapping[str, Any]) -> None:
        location, checksum = str(location_of(file) or ""), str(file.get("checksum") or "")
        path, name = local_path(location), _basename(file)
        if self._is_known(file) or not location or location.startswith("_:"):
            return
        # whoever can edit a value, but does not know a file, cannot have it copied
        if path is None or not checksum.startswith("sha1$") or name is None:
            self.elsewhere[redacted(location)] = None
            return
        inside = f"{folder}/{percent_encoded(name)}"
        self._names[_key(file)] = inside
        self.copies[inside] = Copy(path, f"{folder}/{name}", checksum)

    def add_document_files(self, document_files: Mapping[str, str]) -> None:
        for path, name in document_files.items():
            self.copies[percent_encoded(name)] = Copy(path, name)

    def name_of(self, file: Mapping[str, Any]) -> str | None:
        """The name of a file's copy, as a relative URI; None: there is none."""
        return self._names.get(_key(file))

    def inside(self, value: JsonValue) -> JsonValue:
        """A value with the locations that its files have in the crate, and without secrets in others.

        A folder all of whose files are in the crate has none: it is what its listing says (CWL v1.2, a literal).
        """

        def moved(file: dict[str, Any]) -> dict[str, Any]:
            location, basename = location_of(file), _basename(file)
            name = self.name_of(file) if file["class"] == "File" else None
            for key in ("path", "dirname"):
                file.pop(key, None)
            if location is None:
                return file
            file["location"] = name or redacted(str(location))
            if file["class"] == "Directory" and self._has_all(file):
                del file["location"]
                if basename is not None:
                    file["basename"] = basename
            return file

        return map_files(moved, value)

    def _has_all(self, file: Mapping[str, Any]) -> bool:
        """Whether the crate has all of a File or Directory that :meth:`inside` has changed."""
        location = str(file.get("location") or "_:")
        has_own = _is_listed(file) if file["class"] == "Directory" else location[:2] == "_:" or location in self.copies
        return has_own and all(self._has_all(part) for part in _parts(file))

    def check_size(self, most: int) -> None:
        """:raises TransferError: the files are more than ``most`` bytes, or one of them cannot be read."""
        total = 0
        for copy in self.copies.values():
            try:
                status = os.stat(copy.path)
            except OSError as error:
                raise _unreadable(copy.path, error) from error
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
        if total > most:
            raise TransferError(
                f"the files for the crate have {total:,} bytes, and {most:,} are allowed",
                hint="leave files out (they are then only referred to), or allow more with --most-mib",
                retryable=False,
            )


def write_copy(archive: zipfile.ZipFile, copy: Copy, opened: Opened, most: int) -> int:
    """Write a file into an archive; -> its size.

    :raises TransferError: it is not there, was changed since the run, or is longer than ``most``.
    """
    digest, size = hashlib.sha1(usedforsecurity=False), 0
    try:
        with (
            opened(copy.path) as number,
            open(number, "rb", closefd=False) as source,
            archive.open(_member(copy.name, number), "w", force_zip64=True) as sink,
        ):
            while data := source.read(_CHUNK):
                digest.update(data)
                size += len(data)
                if size > most:
                    raise TransferError(f"{copy.path} grows while it is read", retryable=False)
                sink.write(data)
    except OSError as error:
        raise _unreadable(copy.path, error) from error
    actual = f"sha1${digest.hexdigest()}"
    if copy.checksum and copy.checksum != actual:
        raise TransferError(
            f"{copy.path} was changed since the run: its checksum is {actual}, not {copy.checksum}",
            hint="put back what the run made, or leave copies of files out: the crate then only refers to them",
            retryable=False,
        )
    return size


def _member(name: str, number: int) -> zipfile.ZipInfo:
    """An open file as a member of an archive."""
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_DEFLATED
    is_executable = os.fstat(number).st_mode & stat.S_IXUSR
    member.external_attr = (stat.S_IFREG | (0o755 if is_executable else 0o644)) << 16
    return member


def _with_secondaries(file: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield file
    for secondary in file.get("secondaryFiles") or []:
        if isinstance(secondary, Mapping) and secondary.get("class") == "File":
            yield from _with_secondaries(secondary)


def _is_listed(folder: Mapping[str, Any]) -> bool:
    return isinstance(folder.get("listing"), list | tuple)


def _parts(file: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a file or folder has along with it: the listing and the secondary files."""
    for key in ("listing", "secondaryFiles"):
        yield from (part for part in file.get(key) or [] if is_file(part))


def _key(file: Mapping[str, Any]) -> tuple[str, str]:
    return str(file.get("checksum") or location_of(file)), _basename(file) or ""


def _basename(file: Mapping[str, Any]) -> str | None:
    """A file's name; None if no file can have it."""
    path = local_path(str(location_of(file) or "")) or ""
    name = str(file.get("basename") or path.rpartition("/")[2])
    return None if "/" in name or "\0" in name or name in ("", ".", "..") else name


def _unreadable(path: str, error: OSError) -> TransferError:
    return TransferError(
        f"{path} cannot be read: {error.strerror or error}",
        hint="copies are made of files on this machine; leave them out, and the crate only refers to them",
        retryable=False,
    )
