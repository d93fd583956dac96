# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Texts of settings to values. All wrong values are told in one message."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from airflow_hybrid.errors import SettingError
from airflow_hybrid.printable import printable, shortened
from airflow_hybrid.settings.options import OPTIONS, SECTION, Option, Settings, title_of, variable_of
from airflow_hybrid.settings.sources import FilesAndVariables, Source, airflow_cfg_path, airflow_home

_MOST_CHARS = 200
_TRUE, _FALSE = ("t", "true", "1"), ("f", "false", "0")
_KNOWN = {option.name for option in OPTIONS}
_VARIABLES = tuple(variable_of(option.name) for option in OPTIONS)
_PREFIX = variable_of("")

N = TypeVar("N", int, float)

_source: Source = FilesAndVariables()


def read_from(source: Source) -> None:
    """Read the settings of this process from ``source`` from now on."""
    global _source
    _source = source


def current() -> Settings:
    """The settings of this process. ``airflow.cfg`` is read once, as Airflow does.

    :raises SettingError: a value is not allowed, or a name is unknown.
    """
    # the variables are only what the values are remembered by: a changed environment is seen
    variables = tuple(map(os.environ.get, _VARIABLES))
    return _settings(_source, variables, os.environ.get("AIRFLOW_HOME"), os.environ.get("AIRFLOW_CONFIG"))


@functools.lru_cache(maxsize=1)
def _settings(source: Source, variables: tuple[str | None, ...], home: str | None, config: str | None) -> Settings:
    values: dict[str, Any] = {}
    problems = list(_unknown(source))
    for option in OPTIONS:
        text = (source.text(option.name) or "").strip() or option.default_in(airflow_home())
        try:
            values[option.name] = _READERS[option.kind](text, option)
        except ValueError:
            shown = printable(shortened(text, _MOST_CHARS))
            problems.append(f"{title_of(option.name)} is {shown!r}, but must be {option.allowed}")
    if problems:
        raise SettingError(
            "\n".join(problems),
            where="Airflow's configuration",
            hint=f"correct it in {airflow_cfg_path()}, or in the environment ({_PREFIX}...), of all of Airflow's"
            " processes, and restart them; `airflow config list --section airflow_hybrid` shows what they read",
        )
    return Settings(**values)


def value_of(name: str, text: str) -> Any:
    """The value of a setting that is given as a text elsewhere, on a command line.

    :raises ValueError: it is not allowed; the message says what is.
    """
    (option,) = (option for option in OPTIONS if option.name == name)
    try:
        return _READERS[option.kind](text, option)
    except ValueError:
        shown = printable(shortened(text, _MOST_CHARS))
        raise ValueError(f"{shown!r} must be {option.allowed}") from None


def _unknown(source: Source) -> Iterator[str]:
    """Problems of names that nobody reads: what was meant would not be in force."""
    written = {name: f"[{SECTION}] {name}" for name in source.names()}
    written |= {name[len(_PREFIX) :].lower(): name for name in os.environ if name.startswith(_PREFIX)}
    unknown = sorted(written.keys() - _KNOWN)
    if not unknown:
        return
    import difflib  # late: DAG files are parsed for every task

    for name in unknown:
        shown = written[name]
        plain = name.removesuffix("_cmd").removesuffix("_secret")
        if plain in _KNOWN:
            yield f"{printable(shown)} is not read: only Airflow's secrets have _CMD and _SECRET; set {title_of(plain)}"
            continue
        near = difflib.get_close_matches(name, _KNOWN, 1)
        suggestion = f"; did you mean {near[0]}?" if near else ""
        yield f"there is no setting {printable(shortened(shown, _MOST_CHARS))}{suggestion}"


def _text(text: str, option: Option) -> str:
    return text


def _folder(text: str, option: Option) -> str:
    if not os.path.isabs(text) or "\0" in text:
        raise ValueError(text)
    return text


def _roots(text: str, option: Option) -> tuple[str, ...]:
    roots = tuple(text.split())
    for root in roots:
        if not root.startswith(("http://", "https://")):
            _folder(root, option)
    return roots


def _boolean(text: str, option: Option) -> bool:
    word = text.partition("#")[0].strip().lower()  # as Airflow
    if word not in (*_TRUE, *_FALSE):
        raise ValueError(text)
    return word in _TRUE


def _integer(text: str, option: Option) -> int:
    return _within(int(text), option)


def _number(text: str, option: Option) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return _within(number, option)


def _within(number: N, option: Option) -> N:
    if not option.least <= number <= option.most:
        raise ValueError(number)
    return number


_READERS: dict[str, Callable[[str, Option], Any]] = {
    "text": _text,
    "folder": _folder,
    "roots": _roots,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "seconds": _number,
}
