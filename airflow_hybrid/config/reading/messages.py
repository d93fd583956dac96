# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Problems of a hybrid file -> one :class:`ConfigError` with file, line, YAML path and a hint for each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from airflow_hybrid.config.base import NAME_PATTERN, TOLD
from airflow_hybrid.config.reading.document import Document, Path, Problem
from airflow_hybrid.errors import ConfigError, HybridError

_PHRASES = {
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
_ELSEWHERE = {
    "start_date": "it belongs to `dag` itself",
    "end_date": "it belongs to `dag` itself",
    "max_concurrent_jobs": "write `maxConcurrentJobs`",
    "failure_manager": "write `failureManager`, or `retries` in `workflows.<name>.dag`",
    "checkpoint_manager": "write `checkpointManager`, or leave it out",
    "scheduler": "write `scheduling: {scheduler: ...}`, or leave it out: Airflow schedules",
    "host": "write `nodes: [host]`, or `hostname` inside a node",
    "user": "write `username`",
    "port": "write `hostname: host:port`",
}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` most likely means, or None."""
    names = list(known)
    folded = {n.replace("_", "").replace("-", "").lower(): n for n in reversed(names)}
    key = name.replace("_", "").replace("-", "").lower()
    closest = difflib.get_close_matches(key, folded, n=1, cutoff=0.6)
    return folded[closest[0]] if closest else None


def choices(name: str, known: Iterable[str], *, what: str = "known") -> str:
    """``did you mean `deployment`?``, or the list of known names."""
    names = list(known)
    if close := nearest(name, names):
        return f"did you mean `{close}`?"
    if not names:
        return f"{what}: none"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"{what}: {shown}"


def raise_problems(document: Document, problems: Sequence[Problem]) -> None:
    """Raise one :class:`ConfigError` for all problems, in the order of the file; do nothing if there are none.

    :raises ConfigError: if there is a problem.
    """
    unique = list(dict.fromkeys(problems))
    unique.sort(key=lambda p: p.line or document.line(p.path) or 0)
    if not unique:
        return
    raise in_one_message(
        [ConfigError(p.message, where=document.where(p.path, p.line), hint=p.hint) for p in unique], document.name
    )


def in_one_message(errors: Sequence[HybridError], where: str) -> HybridError:
    """The only error, or one that lists all of them, each with its place.

    :param errors: at least one; of those that are lists themselves, the items are listed.
    :param where: the file.
    """
    problems = [problem for error in errors for problem in error.problems or (error,)]
    if len(problems) == 1:
        return problems[0]
    lines = [f"{len(problems)} problems"]
    lines += [f"  {line}" for problem in problems for line in str(problem).splitlines()]
    together = ConfigError("\n".join(lines), where=where)
    together.problems = tuple(problems)
    return together


def from_pydantic(error: ValidationError, data: Any, known_keys: Mapping[int, tuple[str, ...]]) -> list[Problem]:
    """Translate pydantic's errors into problems.

    :param data: the raw values, to distinguish the file's keys from tags of unions in pydantic's locations.
    :param known_keys: ``id`` of a raw mapping -> the keys that its model knows.
    """
    return [_translate(e, data, known_keys) for e in error.errors(include_url=False)]


def _translate(error: Any, data: Any, known_keys: Mapping[int, tuple[str, ...]]) -> Problem:
    kind, value = error["type"], error["input"]
    path, parent = _real_path(error["loc"], data)
    last = error["loc"][-1] if error["loc"] else ""
    if kind == "extra_forbidden":
        known = known_keys.get(id(parent), ())
        return Problem(path, f"unknown key `{last}`", _ELSEWHERE.get(str(last)) or choices(str(last), known))
    if kind == TOLD:
        return Problem(path, error["ctx"]["message"], error["ctx"]["hint"])
    if kind == "missing":
        return Problem(path, f"the key `{last}` is missing")
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"] == NAME_PATTERN:
        return Problem(
            path, f"the name {value!r} is not allowed", "a name starts with a small letter, then letters, digits, . _ -"
        )
    if kind == "literal_error":
        expected = error["ctx"]["expected"]
        hint = "this is the format's version, StreamFlow's v1.0" if path == ("version",) else None
        return Problem(path, f"must be {expected}, not {_show(value)}", hint)
    if kind in _PHRASES:
        hint = f"write {value}" if kind == "bool_type" and str(value).lower() in ("yes", "no", "on", "off") else None
        if hint:
            hint = f"in YAML 1.2 {value!r} is a string: write true or false"
        elif kind == "string_type" and isinstance(value, int | float):
            hint = f'put it in quotes: "{value}"'
        shown = "" if kind.endswith("short") else f", not {_show(value)}"
        return Problem(path, _PHRASES[kind] + shown, hint)
    message = error["msg"].removeprefix("Value error, ")
    if kind != "value_error":
        message = f"{message[0].lower()}{message[1:]}, got {_show(value)}"
    return Problem(path, message)


def _real_path(loc: Sequence[str | int], data: Any) -> tuple[Path, Any]:
    """Remove the parts of a location that are not in the file: tags of unions, and indexes of single items.

    Also returns the innermost mapping or list on the way, which contains an unknown key.
    """
    path: list[str | int] = []
    at: Any = data
    parent: Any = data
    for part in loc:
        if isinstance(at, list):
            is_in_file = isinstance(part, int) and part < len(at)
        else:
            is_in_file = isinstance(at, dict) and part in at
        if is_in_file:
            parent, at = at, at[part]
            path.append(part)
    return tuple(path), parent


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
