# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""cwltool's messages made plain: what it logs is caught, what it raises becomes one sentence with a position."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator
from urllib.parse import unquote

_LOGGERS = ("cwltool", "salad", "cwl_utils", "rdflib.term")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LEAD = re.compile(r"^(?P<file>(?:[a-z][a-z0-9+.-]*://)?[^\s:][^:\n]*):(?P<line>\d+):(?P<column>\d+):(?P<rest>.*)$")
_BULLET = re.compile(r"^[*-]\s+")
_HEADINGS = (
    "Tool definition failed validation:",
    "Tool definition failed initialization:",
    "Workflow checker warning:",
    "Workflow checker error:",
    "Invalid job input record:",
    "checking field",
    "checking object",
    "Field `",
    "the `",
    "item is invalid because",
    "Expression evaluation error:",
)


def quiet() -> None:
    """Stop cwltool and its libraries from writing to stderr on their own (they do so from their import on)."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        logger.setLevel(logging.WARNING)
    logging.getLogger("cwltool.validation_warnings").setLevel(logging.ERROR)


class _Catcher(logging.Handler):
    """Keeps the records of one thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if threading.get_ident() != self.thread:
            return
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None and record.levelno >= logging.ERROR:
            text = f"{text}: {record.exc_info[1]}"
        (self.errors if record.levelno >= logging.ERROR else self.warnings).append(text)

    def take(self) -> str:
        """The errors since the last call as one text, the first (the cause) first; warnings when there are none."""
        found = self.errors or self.warnings
        seen: dict[str, None] = {}
        for text in found:
            message = plain(text)[1]
            if not any(message in other or other in message for other in seen):
                seen[message] = None
        self.errors, self.warnings = [], []
        return "; ".join(seen)


@contextlib.contextmanager
def caught() -> Iterator[_Catcher]:
    """Catch what cwltool and its libraries log in this thread, instead of showing it."""
    catcher = _Catcher()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(catcher)
        logger.propagate = False
    try:
        yield catcher
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(catcher)
            logger.propagate = propagate


def position(lead: str, line: str | int, column: str | int) -> str:
    """``file:line:column`` with a plain path for ``file:`` URIs."""
    path = unquote(lead[len("file://") :]) if lead.startswith("file://") else lead
    return f"{path if '://' in path else os.path.abspath(path)}:{line}:{column}"


def plain(text: str) -> tuple[str | None, str]:
    """Reduce cwltool's and schema-salad's nested, indented texts to (position, message).

    Their lines are ``file:line:column:`` leads followed by indentation; deeper lines say more. The most deeply
    nested line, the cause, gives the position; lines of the same depth beside it are joined to it.
    """
    rows: list[tuple[int, str | None, str]] = []
    lead: str | None = None
    for raw in _ANSI.sub("", text).splitlines():
        match = _LEAD.match(raw.strip())
        if match:
            lead = position(match["file"], match["line"], match["column"])
            body = match["rest"]
            nested = _LEAD.match(body.strip())
            while nested:
                lead, body = position(nested["file"], nested["line"], nested["column"]), nested["rest"]
                nested = _LEAD.match(body.strip())
        else:
            body = raw
        depth = len(body) - len(body.lstrip())
        body = _BULLET.sub("", body.strip())
        if body:
            rows.append((depth, lead, body))
    if not rows:
        return None, text.strip()
    leaves = [
        row
        for number, row in enumerate(rows)
        if not (number + 1 < len(rows) and rows[number + 1][0] > row[0] and row[2].startswith(_HEADINGS))
    ]
    leaves = leaves or rows[-1:]
    where = next((row[1] for row in leaves if row[1]), None)
    return where, " ".join(dict.fromkeys(row[2] for row in leaves))
