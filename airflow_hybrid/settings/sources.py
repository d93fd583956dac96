# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where texts of settings come from: environment variables, then ``airflow.cfg``, read as Airflow does, without it.

For a process that only compiles documents; a process with Airflow has Airflow's own configuration for it.
"""

from __future__ import annotations

import configparser
import functools
import os
from collections.abc import Hashable, Iterable
from typing import Protocol

from airflow_hybrid.errors import SettingError
from airflow_hybrid.settings.options import SECTION, variable_of


class Source(Hashable, Protocol):
    """Gives the texts of settings."""

    def text(self, name: str) -> str | None:
        """The text of a setting; None if nobody has set it."""

    def names(self) -> Iterable[str]:
        """The names in the section of ``airflow.cfg``, known or not."""


class FilesAndVariables:
    """The source without Airflow."""

    def text(self, name: str) -> str | None:
        text = os.environ.get(variable_of(name))
        return _expanded(text) if text is not None else _from_file(SECTION, name)

    def names(self) -> Iterable[str]:
        parser = _airflow_cfg()
        return parser.options(SECTION) if parser.has_section(SECTION) else ()


class OnlyVariables:
    """The source of a program that has an Airflow of its own: ``airflow.cfg`` is that of another one."""

    def text(self, name: str) -> str | None:
        text = os.environ.get(variable_of(name))
        return None if text is None else _expanded(text)

    def names(self) -> Iterable[str]:
        return ()


def airflow_home() -> str:
    """Airflow's home folder, as Airflow finds it."""
    return _expanded(os.environ.get("AIRFLOW_HOME") or os.path.join("~", "airflow"))


def airflow_cfg_path() -> str:
    """The path of ``airflow.cfg``, as Airflow finds it."""
    return _expanded(os.environ.get("AIRFLOW_CONFIG") or os.path.join(airflow_home(), "airflow.cfg"))


def core_option(section: str, key: str, default: str) -> str:
    """A setting of Airflow itself.

    :raises SettingError: ``airflow.cfg`` cannot be read.
    """
    text = os.environ.get(f"AIRFLOW__{section}__{key}".upper())
    text = _expanded(text) if text is not None else _from_file(section, key)
    return (text or default).replace("{AIRFLOW_HOME}", airflow_home())


def _from_file(section: str, key: str) -> str | None:
    parser = _airflow_cfg()
    try:
        text = parser.get(section, key, fallback=None)
    except configparser.InterpolationError:
        text = parser.get(section, key, raw=True, fallback=None)  # Airflow refuses it, or never needs it
    return None if text is None else _expanded(text)


def _airflow_cfg() -> configparser.ConfigParser:
    path = airflow_cfg_path()
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return configparser.ConfigParser()
    except OSError as error:
        raise _unreadable(path, error) from None
    return _parsed(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1)
def _parsed(path: str, changed_ns: int, size: int) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False)
    try:
        with open(path, encoding="utf-8") as stream:
            parser.read_file(stream)
    except (OSError, configparser.Error, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None
    return parser


def _unreadable(path: str, error: Exception) -> SettingError:
    return SettingError(
        f"Airflow's configuration cannot be read: {error}",
        where=path,
        hint="correct the file, or let the user of this process read it",
    )


def _expanded(text: str) -> str:
    """Environment variables and ``~``, until nothing changes, as Airflow does."""
    while True:
        expanded = os.path.expanduser(os.path.expandvars(text))
        if expanded == text:
            return text
        text = expanded
