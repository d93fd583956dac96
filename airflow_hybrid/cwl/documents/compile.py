# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL documents -> WorkflowGraph: cwltool loads, upgrades, checks and resolves them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, MutableMapping
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from cwltool.context import LoadingContext
from cwltool.errors import UnsupportedRequirement
from cwltool.load_tool import load_tool
from cwltool.process import Process, use_custom_schema
from ruamel.yaml.error import MarkedYAMLError
from schema_salad.exceptions import ValidationException
from schema_salad.fetcher import DefaultFetcher

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.adapt import prepare
from airflow_hybrid.cwl.documents.default_files import Refused, in_defaults, location_of, why_refused
from airflow_hybrid.cwl.documents.graph import GraphBuilder
from airflow_hybrid.cwl.documents.resolved import position
from airflow_hybrid.cwl.documents.trust import Roots, check_image, docker_requirements
from airflow_hybrid.cwl.documents.written import check_written
from airflow_hybrid.cwl.documents.yaml_bounds import refuse_unbounded
from airflow_hybrid.errors import CwlError, InputError, UnsupportedError
from airflow_hybrid.internet import RefusedError, open_url, read_all
from airflow_hybrid.model import WorkflowGraph
from airflow_hybrid.model.locations import is_uri, local_path
from airflow_hybrid.printable import redacted

DOCUMENT_BYTES = 64 << 20
"""the most that is read of a document"""
_STANDARD = "https://w3id.org/cwl/"
"""of the standard itself, any document may read"""

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
    :raises CwlError: what is wrong, with ``where`` = ``file:line:column``.
    :raises UnsupportedError: valid CWL that needs what is not to be had here.
    """
    prepare()
    _enable_extensions()
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
        source = Path(path).absolute().as_uri()
    fetched: dict[str, None] = {}
    roots = Roots(source)
    refused: dict[str, str] = {}
    with messages.caught():
        try:
            process = load_tool(
                f"{source}#{fragment}" if fragment else source, _loading_context(fetched, roots, refused)
            )
            unusable = _check_locations(process, roots)
            check_written(process, source)
            graph = GraphBuilder(process, source, list(fetched), cache_dir, unusable).graph()
        except (CwlError, OSError):
            raise
        except Exception as error:
            explained = _explained(error, source)
            told = str(error)
            # what a document only would like to read ($schemas) may be refused without being what is wrong with it
            problem = next((problem for url, problem in refused.items() if url in told), None)
            raise (roots.refuse(problem, explained.where or "") if problem else explained) from error
    return graph


@functools.cache
def _enable_extensions() -> None:
    """The extensions of cwltool (Loop, MPI, CUDA ...) are valid in documents that declare the namespace."""
    for version, name in _EXTENSIONS.items():
        use_custom_schema(version, "http://commonwl.org/cwltool", files("cwltool").joinpath(name).read_text("utf-8"))


def _check_locations(process: Process, roots: Roots) -> dict[str, Refused]:
    """Files that the document itself names must be below its roots, or the operating system's.

    Those at ``http(s)`` are fetched by the site where they are used, which any command of the document could do too.

    :returns: what no run may use of the defaults, which a run may replace: location -> why not.
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


def _loading_context(fetched: dict[str, None], roots: Roots, refused: dict[str, str]) -> LoadingContext:
    class RecordingFetcher(DefaultFetcher):
        """Notes what a document was made of; reads nothing outside of its roots."""

        def check_exists(self, url: str) -> bool:
            if self._refuses(url):
                return False
            if not _is_web(url) or url in self.cache:
                return bool(super().check_exists(url))
            try:
                open_url(url, judge=self._judge, method="HEAD").close()
            except RefusedError as error:
                refused[url] = error.message
                return False
            except OSError:
                return False
            return True

        def _judge(self, url: str) -> None:
            """Of a redirect: it leads nowhere else than a document might itself."""
            if not url.startswith(_STANDARD) and self._refuses(url):
                raise RefusedError(refused[url])

        def _refuses(self, url: str) -> bool:
            problem = None if url.startswith(_STANDARD) else roots.problem(url)
            if problem:
                refused[url] = problem
            return problem is not None

        def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
            if self._refuses(url):
                raise ValidationException(refused[url])
            text = self._from_web(url) if _is_web(url) else str(super().fetch_text(url, content_types))
            try:
                refuse_unbounded(text, redacted(url), is_document=True)
            except InputError as error:
                raise ValidationException(str(error)) from None
            if not url.startswith(_STANDARD):
                fetched[url] = None
            return _whole_characters(text)

        def _from_web(self, url: str) -> str:
            known = self.cache.get(url)
            if isinstance(known, str):
                return known
            try:
                with open_url(url, judge=self._judge) as response:
                    data = read_all(response, DOCUMENT_BYTES, url)
                self.cache[url] = text = data.decode(response.headers.get_content_charset("utf-8"))
            except (OSError, RefusedError, ValueError, LookupError) as error:
                raise ValidationException(f"Error fetching {redacted(url)}: {error}") from None
            return text

    context = LoadingContext()
    context.fetcher_constructor = RecordingFetcher
    context.enable_dev = True
    context.relax_path_checks = True
    context.disable_js_validation = True  # JSHint, which does not know the newest syntax; Node.js itself is asked
    return context


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))


_TWO_HALVES = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")


def _whole_characters(text: str) -> str:
    """The text of a document with the characters that JSON escapes as two halves, which YAML takes for two characters.

    Other text, of an ``$include``, is left as it is.
    """
    if not text.lstrip().startswith("{") or not _TWO_HALVES.search(text):
        return text
    try:
        document = json.loads(text)
    except ValueError:
        return text
    if not document.keys() & {"class", "cwlVersion", "$graph"}:
        return text
    return _TWO_HALVES.sub(lambda found: found[1] + json.loads(f'"{found[2]}"'), text)


def _explained(error: Exception, source: str) -> CwlError:
    where, message = messages.plain(str(error))
    kind: type[CwlError] = CwlError
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnsupportedRequirement | UnsupportedError):
            kind = UnsupportedError
        if isinstance(cause, MarkedYAMLError | yaml.MarkedYAMLError) and cause.problem_mark is not None:
            mark = cause.problem_mark
            where = messages.position(str(mark.name), mark.line + 1, mark.column + 1)
            message = f"not valid YAML: {cause.problem}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, UnicodeDecodeError):
        message = f"the document is not text in UTF-8 (byte {error.object[error.start]:#04x} at {error.start})"
    elif isinstance(error, StopIteration):
        message = "the document is empty"
    elif isinstance(error, RecursionError) and (itself := _runs_itself(error)):
        where, message = itself, "the workflow runs itself: a step's `run` names the workflow that the step is in"
    elif isinstance(error, RecursionError):
        message = messages.TOO_DEEP
    elif isinstance(error, TypeError) and (step := _loop_hint(error)):
        where, message = step, "cwltool:Loop must be among the step's requirements, not its hints"
    elif not message:
        message = type(error).__name__
    feature = re.search(r"\b(\w+FeatureRequirement) not in requirements", message)
    hint = f"add `{feature[1]}: {{}}` to the workflow's requirements" if feature else None
    return kind(message, where=where or _frame_position(error) or messages.position(source, 1, 1), hint=hint)


def _frames(error: BaseException) -> Iterator[FrameType]:
    """From the outermost to the one that raised the error."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _runs_itself(error: RecursionError) -> str:
    """The position of a process that cwltool was making while it was already making it; "" if there is none."""
    making: set[str] = set()
    for frame in _frames(error):
        document = frame.f_locals.get("toolpath_object")
        if frame.f_code.co_name != "__init__" or not isinstance(document, MutableMapping):
            continue
        run = document.get("run")
        if (run.get("id") if isinstance(run, MutableMapping) else run) in making:
            return position(document)
        if run is None:
            making.add(str(document.get("id")))
    return ""


def _loop_hint(error: TypeError) -> str:
    """The position of a step with a Loop hint, which cwltool stumbles over when it wants to refuse it."""
    found = ""
    for frame in _frames(error):
        if frame.f_code.co_name == "rewrite_loop_requirements":
            found = position(frame.f_locals.get("s"))
    return found


def _frame_position(error: BaseException) -> str:
    """Where in the document cwltool was when it raised an error without a position."""
    found = ""
    for frame in _frames(error):
        found = position(frame.f_locals.get("toolpath_object")) or found
    return found
