# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The output object's entries for files and folders of this machine."""

from __future__ import annotations

import hashlib
import os
from typing import Any, BinaryIO

from airflow_hybrid.model import LOCAL_DEPLOYMENT, LOCAL_LOCATION, FileRef, JsonValue

CwlFile = dict[str, Any]
"""a CWL File or Directory"""


def entry_of(name: str, uri: str, is_folder: bool) -> CwlFile:
    """A member of a folder as a CWL object."""
    # JSON cannot hold a name that is not UTF-8: the location keeps its bytes, the basename is only for reading
    shown = os.fsencode(name).decode(errors="replace")
    return {"class": "Directory" if is_folder else "File", "location": uri, "basename": shown}


def listing_of(folder: str, around: frozenset[tuple[int, int]]) -> list[JsonValue]:
    """The members of a folder of this machine as CWL objects; links to folders that contain it are left out."""
    own_status = os.stat(folder)
    around = around | {(own_status.st_dev, own_status.st_ino)}
    members: list[JsonValue] = []
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for member in ordered:
        try:
            status = member.stat()
        except FileNotFoundError:
            continue  # a dangling link
        file = entry_of(member.name, FileRef(LOCAL_DEPLOYMENT, LOCAL_LOCATION, member.path).uri, member.is_dir())
        if member.is_dir():
            if (status.st_dev, status.st_ino) in around:
                continue
            file["listing"] = listing_of(member.path, around)
        elif member.is_file():
            measure(file, member.path)
        else:
            continue  # a FIFO or the like is not a File
        members.append(file)
    return members


def measure(file: CwlFile, path: str) -> None:
    """Add a File's size and, if it has none yet, its checksum."""
    if "checksum" not in file:
        with open(path, "rb") as stream:
            file["checksum"] = f"sha1${_sha1(stream)}"
    file["size"] = os.path.getsize(path)


def _sha1(file: BinaryIO) -> str:
    digest = hashlib.sha1(usedforsecurity=False)  # the checksum that CWL v1.2 section 4.1 ("File") defines
    while data := file.read(1 << 20):
        digest.update(data)
    return digest.hexdigest()
