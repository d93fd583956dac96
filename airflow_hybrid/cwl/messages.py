# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Plain messages from cwltool: its log is caught, and its exceptions become one sentence with a position."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator

from airflow_hybrid.model import percent_decoded
from airflow_hybrid.model.locations import local_path
from airflow_hybrid.printable import shortened

MOST_CHARS = 20_000
"""maximum length of a message that is parsed"""
TOO_DEEP = "a value contains itself, or is nested too deeply"
MOST_TOLD = 20
"""maximum messages shown at once"""
IN_COMMENTS = "CWL counts those in JavaScript comments, too"
_LOGGERS = ("cwltool", "salad", "cwl_utils", "rdflib.term")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LEAD = re.compile(r"^(?P<file>(?:[a-z][a-z0-9+.-]*://)?[^\s:][^:\n]*):(?P<line>\d+):(?P<column>\d+):(?P<rest>.*)$")
_BULLET = re.compile(r"^[*-]\s+")
_HEADING = re.compile(
    r"Object '[^']*' is not valid because|item is invalid because|tried '\w+' but|checking (field|object|item)\b.*"
    r"|(Invalid job input record|Expression evaluation error|Workflow checker (error|warning)):"
    r"|Tool definition .* failed (validation|initialization)( with)?:"
)
"""Lines that only lead to the actual problem."""
_FILE_URI = re.compile(r"file://(/[^\s'\",)\]]*)")
"""as in a message: percent-encoded, without white space and quotation marks"""
_A_PROCESS = "not a CWL process, which is an object with `cwlVersion` and `class`"
_TYPES = (
    "null", "boolean", "int", "long", "float", "double", "string", "File", "Directory", "Any", "array", "record",
    "enum", "stdin", "stdout", "stderr",
)  # fmt: skip


def _no_type(match: re.Match[str]) -> str:
    near = difflib.get_close_matches(match[1], _TYPES, 1)
    return f"there is no type '{match[1]}'" + (f" (did you mean '{near[0]}'?)" if near else "")


_PHRASES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\(\d+\) \([^)]*\) Validation error in (field \S+|position \d+): ?", ""),
        (r"Field 'class' contains undefined reference to '(?:[^']*[/#])?([^/'#]*)'", r"unknown class '\1'"),
        (r"Field '(\w+)' contains undefined reference to '(?:file://)?([^']*)'", r"'\1' names \2, which is not there"),
        (r"Field '(?:type|items)' references unknown identifier '([^']*)', tried (?:\S+, )*\S+", _no_type),
        (
            r"Field '(\w+)' references unknown identifier '([^']*)', tried (?:\S+, )*\S+",
            r"'\1' names '\2', which is not there",
        ),
        (r"No cwlVersion found\..*", "there is no cwlVersion"),
        (r"The CWL reference runner no longer supports.*", "cwlVersion must be v1.0, v1.1 or v1.2"),
        (r"Tool file contains graph of multiple objects", "the document contains several processes"),
        (r"(?s)workflowjobj must be a dict, got <class 'str'>.*", f"the document is text, {_A_PROCESS}"),
        (r"(?s)workflowjobj must be a dict, got .*", f"the document is a list, {_A_PROCESS}"),
        (
            r"Substitution error, unfinished block starting at position \d+: '(.*)' stack was \[.*?\]",
            rf"the expression has no end: quotes and brackets must match, and {IN_COMMENTS}: \1",
        ),
        (r"(tried \S+) but", r"\1:"),
        (r"Expression evaluation error: ?", ""),
        (r"Error collecting output for parameter '([^']*)': ?", r"output '\1': "),
        (r"Did not find output file with glob pattern: \['([^']*)'\]\.?", r"no file matches the glob '\1'"),
        (r"Did not find output file with glob pattern: \[([^\]]*)\]\.?", r"no file matches any of the globs \1"),
    )
)


class Caught:
    """The caught log messages."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def take(self, *, warns: bool = True) -> str:
        """The errors since the last call as one text, the first (the cause) first.

        :param warns: return the warnings if there are no errors.
        """
        texts = self.errors
        if not texts and warns:
            texts = self.warnings
        messages: dict[str, None] = {}
        for text in texts[:MOST_TOLD]:
            message = plain(text)[1]
            if message.startswith("/"):  # the same once more, with the step's name
                for other in [other for other in messages if message.endswith(f": {other}")]:
                    del messages[other]
            if not any(message in other or other in message for other in messages):
                messages[message] = None
        self.errors, self.warnings = [], []
        return "; ".join(messages)


class _Router(logging.Handler):
    """Passes a record to the catcher in its thread, else to the root logger as if cwltool had no logger of its own."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.threads = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        stack: list[Caught] = getattr(self.threads, "stack", [])
        if not stack:
            logging.getLogger().handle(record)
            return
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None and record.levelno >= logging.ERROR:
            cause = str(record.exc_info[1])
            text = text if cause in text else f"{text}: {cause}"
        (stack[-1].errors if record.levelno >= logging.ERROR else stack[-1].warnings).append(text)


_router = _Router()


def quiet() -> None:
    """Stop cwltool and its libraries from writing to stderr (they do so as soon as they are imported)."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [_router]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    logging.getLogger("cwltool.validation_warnings").setLevel(logging.ERROR)


@contextlib.contextmanager
def caught() -> Iterator[Caught]:
    """Catch what cwltool and its libraries log in this thread, instead of showing it."""
    stack: list[Caught] = _router.threads.__dict__.setdefault("stack", [])
    log = Caught()
    stack.append(log)
    try:
        yield log
    finally:
        stack.remove(log)


def position(lead: str, line: str | int, column: str | int) -> str:
    """``file:line:column`` with a plain path for ``file:`` URIs."""
    path = local_path(lead) or lead
    return f"{path if '://' in path else os.path.abspath(path)}:{line}:{column}"


def _joined(parts: list[str]) -> str:
    """Related lines as one text; a list of problems of the same kind, each once."""
    if len(parts) > 1 and all(part.startswith("Field '") for part in parts):
        return "; ".join(dict.fromkeys(_phrased(part) for part in parts))
    return _phrased(" ".join(parts))


def _phrased(message: str) -> str:
    """Rephrase a message for people who do not know cwltool's code."""
    message = _FILE_URI.sub(lambda match: percent_decoded(match[1]), message)
    for pattern, replacement in _PHRASES:
        message = pattern.sub(replacement, message)
    return message.strip()


def plain(text: str) -> tuple[str | None, str]:
    """Reduce cwltool's and schema-salad's nested, indented texts to (position, message).

    Their lines start with ``file:line:column:``, padded to one width; the column of the remaining text is the depth.
    Lines that only lead to a deeper line ("checking field ...") are dropped; the deepest line gives the position.
    """
    text = shortened(text, MOST_CHARS)
    items: list[tuple[int, str | None, str]] = []
    lead: str | None = None
    for raw in _ANSI.sub("", text).splitlines():
        body, led = raw, False
        while match := _LEAD.match(body.strip()):
            lead = position(match["file"], match["line"], match["column"])
            body, led = match["rest"], True
        stripped = body.strip()
        column = len(raw.rstrip()) - len(stripped)
        bullet = _BULLET.match(stripped)
        stripped = _BULLET.sub("", stripped)
        if not stripped:
            continue
        goes_on = bool(items) and not bullet and items[-1][0] == column and not _HEADING.fullmatch(stripped)
        if goes_on and not (led and _HEADING.match(items[-1][2])):
            items[-1] = (column, items[-1][1], f"{items[-1][2]} {stripped}")
        else:
            items.append((column + (2 if bullet else 0), lead, stripped))
    if not items:
        return None, text.strip()
    lines = [line for line in items if not _HEADING.fullmatch(line[2])] or items[-1:]
    first = lines[0]
    for line, following in itertools.pairwise(lines):  # a field, then its problem
        if line is first and following[0] > first[0] and following[1]:
            first = following
    return first[1], _joined([line[2] for line in lines])
