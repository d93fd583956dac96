# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Names and types shared by all values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

JsonValue = Any  # None | bool | int | float | str | list | dict, as json.loads gives it
CwlObject = dict[str, Any]  # input or output object: port name -> CWL value

SCHEME = "hybrid"
LOCAL_DEPLOYMENT = "local"
"""Name of the deployment that always exists: the machine that Airflow's process runs on."""
LOCAL_LOCATION = "localhost"


def percent_encoded(path: str, safe: str = "/") -> str:
    """A path as part of a URI, even if the name is not UTF-8 (Python represents such bytes as lone surrogates)."""
    return quote(path, safe=safe, errors="surrogateescape")


def percent_decoded(text: str) -> str:
    """The path from a part of a URI; see :func:`percent_encoded`."""
    return unquote(text, errors="surrogateescape")


_HALF = re.compile("[\ud800-\udfff]")


MOST_NESTED = 64
"""nested lists and objects: functions on values are recursive, and Python limits recursion (1,000 calls)"""
TOO_DEEP = f"lists and objects nested more than {MOST_NESTED} deep"


def is_too_deep(value: JsonValue) -> bool:
    """Whether lists and objects are nested more than :data:`MOST_NESTED` deep."""
    level = [value]
    for _ in range(MOST_NESTED + 1):
        level = [inner for item in level for inner in _members(item) if isinstance(inner, (dict, list, tuple))]
        if not level:
            return False
    return True


def _members(value: JsonValue) -> Iterable[JsonValue]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def not_json(value: JsonValue) -> str | None:
    """What in a value cannot be stored as JSON or in a database, in words; None if it can be stored."""
    return TOO_DEEP if is_too_deep(value) else _not_json(value)


def _not_json(value: JsonValue) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN, which is not a number" if math.isnan(value) else f"the number {'-' if value < 0 else ''}infinity"
    if isinstance(value, str):
        return _not_text(value)
    if not isinstance(value, bool | int | float | dict | list | tuple | None):
        return f"a value of type `{type(value).__name__}`, which JSON does not have"
    items = value.items() if isinstance(value, dict) else ()
    for key, item in items:
        problem = _not_json(key) or _not_json(item)
        if problem:
            return problem
    for item in value if isinstance(value, (list, tuple)) else ():
        problem = _not_json(item)
        if problem:
            return problem
    return None


def _not_text(text: str) -> str | None:
    if "\0" in text:
        return f"the character with the number 0, in {text[:60]!r}"
    if _HALF.search(text):
        return f"a name or text that is not UTF-8: {text[:60]!r}"
    return None
