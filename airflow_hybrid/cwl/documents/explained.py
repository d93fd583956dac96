# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Translate errors of cwltool while it loads a document into an error with the problem and its position."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from types import FrameType

import yaml
from cwltool.errors import UnsupportedRequirement
from ruamel.yaml.error import MarkedYAMLError

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.documents.resolved import position
from airflow_hybrid.errors import CwlError, UnsupportedError


def explained(error: Exception, source: str) -> CwlError:
    """The error of a document for an exception that cwltool raised while loading it.

    :param source: the document's URI, for errors that have no position.
    """
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
        where, message = itself, "the workflow runs itself: a step's `run` names the workflow that contains the step"
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
    """From the outermost frame to the one that raised the error."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _runs_itself(error: RecursionError) -> str:
    """The position of a process that contains itself; "" if there is none."""
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
    """The position of a step with a Loop hint, which makes cwltool crash instead of refusing it."""
    where = ""
    for frame in _frames(error):
        if frame.f_code.co_name == "rewrite_loop_requirements":
            where = position(frame.f_locals.get("s"))
    return where


def _frame_position(error: BaseException) -> str:
    """Where in the document cwltool was when it raised an error without a position."""
    where = ""
    for frame in _frames(error):
        where = position(frame.f_locals.get("toolpath_object")) or where
    return where
