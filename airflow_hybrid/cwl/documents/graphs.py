# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Graphs of documents: from the compile cache, or compiled."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from airflow_hybrid import settings
from airflow_hybrid.cwl.documents.cache import (
    clean_up,
    default_directory,
    document_path,
    touch,
    versions,
    write_entry,
)
from airflow_hybrid.model import WorkflowGraph
from airflow_hybrid.model.locations import is_uri, local_path, path_or_uri


def load_graph(
    path: str, *, extra_key: bytes = b"", fragment_id: str | None = None, cache_dir: Path | None = None
) -> WorkflowGraph:
    """The compiled graph of the CWL document at ``path`` (a path or a ``file:``, ``http:`` or ``https:`` URI).

    The stored graph is used if all of its local source files still have the same content; a missing, stale or corrupt
    entry is compiled again. Safe for many processes at once.

    :param extra_key: whatever else the result depends on (the hybrid file).
    :param fragment_id: the process to take from a ``$graph`` document (default ``#main``).
    :raises CwlError: see :func:`airflow_hybrid.cwl.documents.compile.compile_document`.
    """
    directory = cache_dir or default_directory()
    path = path_or_uri(path)
    source = path if is_uri(path) else os.path.abspath(path)
    # the files that a document may name are checked when it is compiled
    limits = settings.current()
    allowed = f"{' '.join(limits.document_roots)}\0{limits.public_addresses_only}"
    key = [versions(), source, fragment_id or "", allowed]
    name = hashlib.sha256(b"\0".join([*(part.encode() for part in key), extra_key])).hexdigest()
    entry = directory / "graphs" / f"{name}.json"
    graph = _read_graph(entry, directory)
    if graph is not None:
        return graph
    # late: it imports cwltool, and a stored graph is read without
    from airflow_hybrid.cwl.documents.compile import compile_document

    graph = compile_document(path, fragment_id=fragment_id, cache_dir=directory)
    hashes = {file: _hash_file(file) for file in graph.files}
    write_entry(entry, {"versions": versions(), "files": hashes, "graph": graph.to_json()})
    clean_up(directory)
    return graph


def _read_graph(entry: Path, directory: Path) -> WorkflowGraph | None:
    try:
        stored = json.loads(entry.read_bytes())
        if stored["versions"] != versions():
            return None
        if any(_hash_file(file) != digest for file, digest in stored["files"].items()):
            return None
        graph = WorkflowGraph.from_json(stored["graph"])
        if not all(document_path(directory, step.document).exists() for step in graph.walk()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    touch(entry)
    return graph


def _hash_file(uri: str) -> str | None:
    """SHA-256 of a local file; None for remote files (remote documents are compiled once per version)."""
    path = local_path(uri)
    if path is None and is_uri(uri):
        return None
    try:
        with open(path or uri, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha(file)
    except OSError:
        return "missing"


def _sha(file: Any) -> str:
    return hashlib.sha256(file.read()).hexdigest()
