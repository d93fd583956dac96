# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Validated hybrid files on disk: Airflow parses a DAG file at every task start, and validation takes the most time.

One entry per hybrid file, so the cache does not grow. An entry that cannot be read or written is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping

from airflow_hybrid import settings
from airflow_hybrid.config.values import HybridFile
from airflow_hybrid.version import __version__

_FORMAT = 5
"""Increase it when the meaning of a file, or the format of values, changes within one version."""


def default_folder() -> str:
    """The setting ``cache_dir`` (as for compiled documents)."""
    return settings.current().cache_dir


def _key(content: bytes, path: str) -> str:
    # HOME determines ~ in the file's paths
    parts = (__version__, str(_FORMAT), path, os.path.expanduser("~"))
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape") + b"\0" + content).hexdigest()


def _entry(path: str, folder: str) -> str:
    name = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:32]
    return os.path.join(folder, "hybrid_files", name + ".json")


def read(content: bytes, path: str, folder: str) -> HybridFile | None:
    """The stored values of the hybrid file at ``path`` with this ``content`` and unchanged templates, or None."""
    try:
        with open(_entry(path, folder), encoding="utf-8") as stream:
            entry = json.load(stream)
        if entry["key"] != _key(content, path):
            return None
        for file, digest in entry["templates"].items():
            with open(file, "rb") as template:
                if hashlib.sha256(template.read()).hexdigest() != digest:
                    return None
        return HybridFile.from_json(entry["value"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # no entry, or one of another version


def write(hybrid: HybridFile, content: bytes, templates: Mapping[str, str], folder: str) -> None:
    """Store ``hybrid``; readers see the old entry or the new one. An unwritable folder is not an error."""
    target = _entry(hybrid.path, folder)
    entry = {
        "key": _key(content, hybrid.path),
        "templates": {file: hashlib.sha256(text.encode()).hexdigest() for file, text in templates.items()},
        "value": hybrid.to_json(),
    }
    try:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".new-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(entry, stream)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError:
        return
