# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The compile cache: graphs by the content of their source files, step documents by their own content.

Reading it imports neither cwltool nor its dependencies: a DAG file is parsed again at every task start.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import re
import tempfile
import time
from pathlib import Path

from airflow_hybrid import settings
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.version import __version__

FORMAT = 6
"""Increased when the stored format changes, and when a document is refused that used to be accepted."""
_GRACE_S = 24 * 3600
_ENTRY = re.compile(
    r"(graphs/[0-9a-f]{64}\.json|steps/[0-9a-f]{2}/[0-9a-f]{64}\.json|hybrid_files/[0-9a-f]{32}\.json"
    r"|(graphs|steps/[0-9a-f]{2})/\.[^/]+\.tmp)"
)
"""entries, and incomplete ones of killed processes"""
"""Entries younger than this are never cleaned up: a running task may be about to read them."""
_KEY = re.compile(r"[0-9a-f]{64}")


def default_directory() -> Path:
    """The setting ``cache_dir``."""
    return Path(settings.current().cache_dir)


@functools.cache
def versions() -> str:
    """What a compiled graph depends on besides its files."""
    try:
        cwltool = importlib.metadata.version("cwltool")
    except importlib.metadata.PackageNotFoundError:
        cwltool = "source"
    return f"{FORMAT} {cwltool} {__version__}"


def write_document(document: JsonValue, cache_dir: Path | None = None) -> str:
    """Store a step's document; its key is the SHA-256 of its canonical JSON."""
    directory = cache_dir or default_directory()
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    key = hashlib.sha256(text.encode()).hexdigest()
    path = document_path(directory, key)
    if path.exists():
        touch(path)
    else:
        _write_text(path, text)
    return key


def read_document(key: str, cache_dir: Path | None = None) -> JsonValue:
    """A step's document.

    :raises CwlError: it is not (or no longer) in the cache, or its content does not match the key.
    """
    path = document_path(cache_dir or default_directory(), key)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CwlError(
            f"the compiled step {key[:12]}... is not in the cache {path.parent.parent}",
            hint="parse the DAG again (its documents changed, or the cache was cleaned); if it was parsed on another"
            " machine only, its documents are not the same here",
        ) from error
    if hashlib.sha256(text).hexdigest() != key:
        with contextlib.suppress(OSError):
            path.unlink()
        raise CwlError(f"the compiled step {key[:12]}... in the cache {path} is damaged; parse the DAG again")
    return json.loads(text)


def document_path(directory: Path, key: str) -> Path:
    if not _KEY.fullmatch(key):
        raise CwlError(f"{key!r} is not the key of a compiled step")
    return directory / "steps" / key[:2] / f"{key}.json"


def write_entry(path: Path, value: JsonValue) -> None:
    """Store JSON under its final name in one step."""
    _write_text(path, json.dumps(value, separators=(",", ":")))


def _write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: readers see everything or nothing.

    A cache that cannot be written (read-only, full) is an error only for later readers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def touch(path: Path) -> None:
    """Mark as used, at most once an hour."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > 3600:
            os.utime(path)


def clean_up(cache_dir: Path | None = None, max_bytes: int | None = None) -> None:
    """Delete the entries unused for the longest time until the cache is within ``max_bytes``.

    Only files with the names of entries are deleted: the folder may contain other files, too.

    :param max_bytes: None: the setting ``cache_size``.
    """
    if max_bytes is None:
        max_bytes = settings.current().cache_size << 20
    directory = cache_dir or default_directory()
    entries: list[tuple[float, int, Path]] = []
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            if _ENTRY.fullmatch(path.relative_to(directory).as_posix()) and path.is_file() and not path.is_symlink():
                stat = path.stat()
                entries.append((stat.st_mtime, stat.st_size, path))
    total = sum(size for _, size, _ in entries)
    now = time.time()
    for used, size, path in sorted(entries, key=lambda row: row[0]):
        if total <= max_bytes or now - used < _GRACE_S:
            return
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
