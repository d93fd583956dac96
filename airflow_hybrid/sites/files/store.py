# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where copies of files go at a location: the path is a function of the content. Pure."""

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

    The digest is that of the content where the object tells it (``checksum``; a Directory: its listing's), else of
    the location; :meth:`airflow_hybrid.sites.files.mover.DataMover.stage` compares contents before it takes such a
    copy for the file.

    :param executables: which of it can be executed, as far as is known (:func:`executables_word`). Files of the same
        content that differ in this are two copies: jobs of other runs may use the one that is there.
    :raises ValueError: the object's basename is not a file name.
    """
    name = str(file.get("basename") or posixpath.basename(str(file["location"]).rstrip("/")))
    if not _BASENAME.fullmatch(name) or name in (".", ".."):
        raise ValueError(f"not a file name: {name!r}")
    digest = content_digest(file) or "u" + _sha1(str(file["location"]))
    return posixpath.join(workdir, STORE, digest[:2], digest + executables, name)


def executables_word(names: Sequence[str] | None) -> str:
    """What :func:`store_path` adds to a digest.

    :param names: of a directory, paths of the files in it that their owner may execute; of a file that is one,
        ``[""]``. None or empty: there is none, or nobody knows.
    """
    if not names:
        return ""
    return "x" if list(names) == [""] else "x" + _sha1(json.dumps(sorted(names)))


def content_digest(file: Mapping[str, Any]) -> str | None:
    """Hex digest of what the object says of its content; None if it says too little.

    That of a File is its own SHA-1; that of a Directory is one of names and digests of all that is in it.
    """
    if file.get("class") != "Directory":
        return sha1_of(file.get("checksum"))
    listing = file.get("listing")
    if not isinstance(listing, list):
        return None
    entries = []
    for item in listing:
        digest = content_digest(item)
        if digest is None or not item.get("basename"):
            return None
        entries.append([item["class"], item["basename"], digest])
    return "d" + _sha1(json.dumps(sorted(entries)))


def sha1_of(checksum: Any) -> str | None:
    """The hex part of ``sha1$<hex>``; None for anything else."""
    if isinstance(checksum, str) and re.fullmatch(r"sha1\$[0-9a-f]{40}", checksum):
        return checksum[5:]
    return None


def incoming_root(path: str) -> str:
    """The folder in which a copy is made before it is renamed to ``path``: on the same file system."""
    if is_stored(path):
        return "/".join(path.split("/")[:-3])
    return posixpath.dirname(path)


def is_stored(path: str) -> bool:
    """Whether a path is one that :func:`store_path` gives."""
    parts = path.split("/")
    return len(parts) > 4 and parts[-4] == STORE


def is_content_addressed(path: str, digest: str | None) -> bool:
    """Whether a file under this name can only have this content."""
    parts = path.split("/")
    return digest is not None and len(parts) > 4 and parts[-4] == STORE and parts[-2] in (digest, f"{digest}x")


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
