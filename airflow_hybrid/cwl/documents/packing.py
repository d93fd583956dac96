# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A document with everything that it runs, as one document that can be handed on: cwltool's ``--pack``."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwltool.load_tool import fetch_document, resolve_and_validate_document
from cwltool.pack import pack

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.adapt import prepare
from airflow_hybrid.cwl.documents.compile import enable_extensions, loading_context
from airflow_hybrid.cwl.documents.default_files import in_defaults, why_refused
from airflow_hybrid.cwl.documents.explained import explained
from airflow_hybrid.cwl.documents.fetching import Reading
from airflow_hybrid.cwl.documents.resolved import plain_json
from airflow_hybrid.cwl.documents.trust.roots import Roots
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import JsonValue, WorkflowGraph, percent_encoded
from airflow_hybrid.model.locations import is_uri, local_path
from airflow_hybrid.model.walking import is_file, location_of

FILES_FOLDER = "document"
"""beside a packed document: the files that it names"""


@dataclass(frozen=True)
class PackedDocument:
    """A document in one piece.

    :ivar document: with ``$graph``; the process that is run has the id ``#main``.
    :ivar files: the local files that it names, with their names beside it.
    """

    document: Mapping[str, Any]
    files: Mapping[str, str]

    @property
    def text(self) -> str:
        """As it is written: JSON, which is YAML."""
        return json.dumps(self.document, indent=2, ensure_ascii=False) + "\n"


def packed_document(graph: WorkflowGraph) -> PackedDocument:
    """The document of a graph, as it is now, in one piece. Files that it names, and may name, are beside it.

    :raises CwlError: it cannot be read any more, or not be put into one piece.
    """
    prepare()
    enable_extensions()
    path = local_path(graph.source) if is_uri(graph.source) else graph.source
    source = graph.source if path is None else Path(path).absolute().as_uri()
    roots = Roots(source)
    with messages.caught():
        try:
            context = loading_context(Reading(roots))
            named = f"{source}#{graph.fragment}" if graph.fragment else source
            context, document, uri = fetch_document(named, context)
            context.do_update = False
            context, uri = resolve_and_validate_document(context, document, uri)
            packed = plain_json(pack(context, uri))
        except (CwlError, OSError):
            raise
        except Exception as error:
            raise explained(error, source) from error
    files = _files(packed, roots)
    return PackedDocument(_beside(packed, files), files)


def _files(packed: JsonValue, roots: Roots) -> dict[str, str]:
    """The local files that a document names and may name: path -> name beside the packed document."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for item, _ in in_defaults(packed):
        path = local_path(location_of(item))
        if item["class"] != "File" or path is None or path in names or why_refused(item, roots) is not None:
            continue
        if roots.problem(location_of(item)) is not None or not Path(path).is_file():
            continue  # of the operating system, or of the tool's container
        name, number = posixpath.basename(path), 1
        while name in taken:
            number += 1
            name = f"{number}_{posixpath.basename(path)}"
        taken.add(name)
        names[path] = f"{FILES_FOLDER}/{name}"
    return names


def _beside(value: JsonValue, files: Mapping[str, str]) -> JsonValue:
    """The document with relative locations of the files beside it."""
    if isinstance(value, list):
        return [_beside(item, files) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _beside(item, files) for key, item in value.items()}
    if is_file(value) and isinstance(location_of(value), str):
        name = files.get(local_path(location_of(value)) or "")
        if name is not None:
            changed.pop("path", None)
            changed["location"] = percent_encoded(name)
    return changed
