# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A JSON text with a line for each value. Only blanks are changed: names that are there twice and numbers that no
computer has exactly stay as they were written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_LONGEST = 2 << 20
"""characters of a JSON text with indents, which are many if it is deep"""
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')
_CLOSING = {"[": "]", "{": "}"}


def indented_json(text: str) -> str:
    """The text as it is, if it is no JSON, or if it would be long with indents."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    pieces: list[str] = []
    length = 0
    for piece in _pieces(_TOKENS.findall(text)):
        length += len(piece)
        if length > _LONGEST:
            return text
        pieces.append(piece)
    return "".join(pieces)


def _pieces(tokens: list[str]) -> Iterator[str]:
    depth = 0
    for before, token in zip(["", *tokens], tokens, strict=False):
        if token in ("]", "}"):
            depth -= 1
            is_empty = _CLOSING.get(before) == token
            yield token if is_empty else _line(depth) + token
            continue
        if before in _CLOSING or before == ",":
            yield _line(depth)
        yield ": " if token == ":" else token
        if token in _CLOSING:
            depth += 1


def _line(depth: int) -> str:
    return "\n" + "  " * depth
