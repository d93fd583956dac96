# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The entities of a crate while it is made: JSON-LD objects that refer to each other by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

Properties = dict[str, Any]
WORKFLOW_FILE = "packed.cwl"
_LAST_S = 253402300799  # of the year 9999


def reference(identifier: str) -> dict[str, str]:
    return {"@id": identifier}


def references(identifiers: Any) -> list[dict[str, str]]:
    return [reference(identifier) for identifier in identifiers]


def timestamp(seconds: float) -> str:
    """A point in time as ISO 8601 has it."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LAST_S), timezone.utc).isoformat(timespec="milliseconds")


def times(began: float | None, ended: float | None) -> Properties:
    """``startTime`` and ``endTime``, as far as they are known."""
    known = {"startTime": began, "endTime": ended}
    return {name: timestamp(seconds) for name, seconds in known.items() if seconds is not None}


class Entities:
    """Entities by their ids, in the order in which they were added.

    :ivar data: ids of files and folders, which the crate as a whole has as its parts.
    """

    def __init__(self) -> None:
        self.all: dict[str, Properties] = {}
        self.data: dict[str, None] = {}
        self._numbers: dict[str, int] = {}

    def add(self, identifier: str, kind: str | list[str], properties: Mapping[str, Any]) -> str:
        """Add an entity; the first one of an id stays. -> its id"""
        if identifier not in self.all:
            known = {name: value for name, value in properties.items() if value not in (None, "", [])}
            self.all[identifier] = {"@type": kind, **known}
        return identifier

    def number(self, word: str) -> str:
        """A new id ``#word-n``."""
        self._numbers[word] = self._numbers.get(word, 0) + 1
        return f"#{word}-{self._numbers[word]}"

    def distinct(self, identifier: str) -> str:
        """An id that no entity has: the given one, or else ``...-2`` and so on."""
        candidate = identifier
        while candidate in self.all:
            self._numbers[identifier] = self._numbers.get(identifier, 1) + 1
            candidate = f"{identifier}-{self._numbers[identifier]}"
        return candidate

    def link(self, identifier: str, name: str, target: str) -> None:
        """Let an entity refer to another one, too."""
        values: list[dict[str, str]] = self.all[identifier].setdefault(name, [])
        values.append(reference(target))
