# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL documents -> WorkflowGraph: cwltool loads, upgrades, checks and resolves them."""

from __future__ import annotations

import dataclasses
import functools
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from cwltool.context import LoadingContext
from cwltool.load_tool import load_tool
from cwltool.process import Process, use_custom_schema

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.adapt import prepare
from airflow_hybrid.cwl.documents.default_files import Refused, in_defaults, why_refused
from airflow_hybrid.cwl.documents.explained import explained
from airflow_hybrid.cwl.documents.fetching import DocumentFetcher, Reading
from airflow_hybrid.cwl.documents.graph import GraphBuilder
from airflow_hybrid.cwl.documents.resolved import position
from airflow_hybrid.cwl.documents.trust.roots import Roots, check_image, docker_requirements
from airflow_hybrid.cwl.documents.written import check_written
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import WorkflowGraph
from airflow_hybrid.model.locations import is_uri, local_path
from airflow_hybrid.model.walking import location_of

_EXTENSIONS = {
    "v1.0": "extensions.yml",
    "v1.1": "extensions-v1.1.yml",
    "v1.2": "extensions-v1.2.yml",
    "v1.3.0-dev1": "extensions-v1.3.yml",
}


def compile_document(
    path_or_uri: str, *, fragment_id: str | None = None, cache_dir: Path | None = None
) -> WorkflowGraph:
    """Load, upgrade, check and resolve a CWL v1.0 - v1.2 document (and v1.3's loops).

    The steps' documents are written to the cache (:func:`airflow_hybrid.cwl.documents.cache.read_document`).

    :param path_or_uri: a path, or a ``file:``, ``http:`` or ``https:`` URI; ``#id`` names a process of a ``$graph``.
    :param fragment_id: the same, without the ``#``.
    :raises CwlError: the document is invalid; with ``where`` = ``file:line:column``.
    :raises UnsupportedError: valid CWL that needs an unsupported feature.
    """
    prepare()
    enable_extensions()
    base, _, fragment = path_or_uri.partition("#")
    fragment = fragment_id or fragment
    path = local_path(base) if is_uri(base) else base
    if path is None:
        source = base
    elif Path(path).is_dir():
        raise CwlError(f"{path} is a folder, not a CWL document")
    elif not Path(path).is_file():
        raise CwlError(f"no such CWL file: {path}")
    else:
        source = Path(_normal(path)).as_uri()
    roots = Roots(source)
    reading = Reading(roots)
    with messages.caught():
        try:
            process = load_tool(f"{source}#{fragment}" if fragment else source, loading_context(reading))
            unusable = _check_locations(process, roots)
            check_written(process, source)
            graph = GraphBuilder(process, source, list(reading.fetched), cache_dir, unusable).graph()
        except (CwlError, OSError):
            raise
        except Exception as error:
            explanation = explained(error, source)
            text = str(error)
            # a refusal of an optional file ($schemas) may not be the cause of the error
            problem = next((problem for url, problem in reading.refused.items() if url in text), None)
            if problem is not None:
                raise roots.refuse(problem, explanation.where or "") from error
            raise explanation from error
    return dataclasses.replace(graph, fragment=fragment) if fragment else graph


def _normal(path: str) -> str:
    """The absolute path of a file without ``..``; links are resolved only where ``..`` behind one leads elsewhere."""
    normal = os.path.abspath(path)
    is_same = os.path.exists(normal) and os.path.samefile(normal, path)
    return normal if is_same else os.path.realpath(path)


@functools.cache
def enable_extensions() -> None:
    """The extensions of cwltool (Loop, MPI, CUDA ...) are valid in documents that declare the namespace."""
    for version, name in _EXTENSIONS.items():
        use_custom_schema(version, "http://commonwl.org/cwltool", files("cwltool").joinpath(name).read_text("utf-8"))


def _check_locations(process: Process, roots: Roots) -> dict[str, Refused]:
    """Files that the document itself names must be below its roots, or belong to the operating system.

    Those at ``http(s)`` are fetched by the site where they are used, as any command of the document could do.

    :returns: defaults that no run may use (a run may replace them): location -> the reason.
    :raises CwlError: for other files (initial work directories), and for images.
    """
    refused: dict[str, Refused] = {}

    def check(tool: Any) -> None:
        for item, is_default in in_defaults(tool):
            problem = why_refused(item, roots)
            if problem is None:
                continue
            where = position(item) or position(tool)
            if not is_default:
                raise roots.refuse(problem, where)
            refused.setdefault(location_of(item), Refused(problem, where))
        for requirement in docker_requirements(tool):
            check_image(requirement, roots, position(requirement) or position(tool))

    process.visit(check)
    return refused


def loading_context(reading: Reading) -> LoadingContext:
    context = LoadingContext()
    context.fetcher_constructor = functools.partial(DocumentFetcher, reading)
    context.enable_dev = True
    context.relax_path_checks = True
    context.disable_js_validation = True  # JSHint, which does not know the newest syntax; Node.js checks it instead
    return context
