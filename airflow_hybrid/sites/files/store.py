# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Paths of copies of files at a location: a function of the content. Pure."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

STORE = "store"
_BASENAME = re.compile(r"[^/\0]+")


def store_path(workdir: str, file: Mapping[str, Any], executables: str = "") -> str:
    """``<workdir>/store/<xx>/<digest><executables>/<basename>`` for a CWL File or Directory object with a location.

    The digest is that of the content if the object has it (``checksum``; for a Directory that of its listing), else
    that of the location; :meth:`airflow_hybrid.sites.files.mover.DataMover.stage` compares contents before it uses such
    a copy.

    :param executables: which of its files are executable, as far as known (:func:`executables_word`). Files of the same
        content that differ in this are two copies, because jobs of other runs may use the existing one.
    :raises ValueError: the object's basename is not a file name.
    """
    name = str(file.get("basename") or posixpath.basename(str(file["location"]).rstrip("/")))
    if not _BASENAME.fullmatch(name) or name in (".", ".."):
        raise ValueError(f"not a file name: {name!r}")
    digest = content_digest(file) or "u" + _sha1(str(file["location"]))
    return posixpath.join(workdir, STORE, digest[:2], digest + executables, name)


def executables_word(names: Sequence[str] | None) -> str:
    """What :func:`store_path` adds to a digest.

    :param names: of a directory, paths of the files in it that their owner may execute; of an executable file,
        ``[""]``. None or empty: there is none, or it is unknown.
    """
    if not names:
        return ""
    return "x" if list(names) == [""] else "x" + _sha1(json.dumps(sorted(names)))


def content_digest(file: Mapping[str, Any]) -> str | None:
    """Hex digest of the content that an object describes; None if it says too little.

    For a File it is the file's SHA-1; for a Directory it is a digest of the names and digests of everything in it.
    """
    if file.get("class") != "Directory":
        return sha1_of(file.get("checksum"))
    listing = file.get("listing")
    if not isinstance(listing, list):
        return None
    entries = []
    for member in listing:
        digest = content_digest(member)
        if digest is None or not member.get("basename"):
            return None
        entries.append([member["class"], member["basename"], digest])
    return "d" + _sha1(json.dumps(sorted(entries)))


def sha1_of(checksum: Any) -> str | None:
    """The hex part of ``sha1$<hex>``; None for anything else."""
    if isinstance(checksum, str) and re.fullmatch(r"sha1\$[0-9a-f]{40}", checksum):
        return checksum[5:]
    return None


def incoming_root(path: str) -> str:
    """The folder in which a copy is made before it is renamed to ``path``, on the same file system."""
    if is_stored(path):
        return "/".join(path.split("/")[:-3])
    return posixpath.dirname(path)


def is_stored(path: str) -> bool:
    """Whether a path is in the store, as made by :func:`store_path`."""
    parts = path.split("/")
    return len(parts) > 4 and parts[-4] == STORE


def is_content_addressed(path: str, digest: str | None) -> bool:
    """Whether a file with this path can only have this content."""
    parts = path.split("/")
    return digest is not None and len(parts) > 4 and parts[-4] == STORE and parts[-2] in (digest, f"{digest}x")


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
