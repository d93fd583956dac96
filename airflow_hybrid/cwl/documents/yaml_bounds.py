# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Limits of YAML and JSON texts: with aliases a few lines can expand beyond any memory, they can be nested too deeply
for their readers, or contain types that the CWL loader needs hours for. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from airflow_hybrid.cwl.messages import TOO_DEEP
from airflow_hybrid.errors import InputError
from airflow_hybrid.model import MOST_NESTED

MOST_VALUES = 1_000_000
"""of a document or job file, with aliases expanded"""
MOST_TYPES = 12
"""nested array and record types: each level doubles the time of schema-salad (12: about a second)"""
_TYPE_KEYS = frozenset({"items", "fields"})
_DATA_KEYS = frozenset({"default", "hints"})
"""values below these keys are not types"""
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class _Open:
    """A list or mapping that is still open.

    :ivar before: number of values before it.
    :ivar types: number of enclosing array and record types; None: it is data.
    :ivar key: in a mapping: the key whose value is next; None: a key is next.
    """

    anchor: str | None
    before: int
    types: int | None
    is_mapping: bool
    key: str | None = None


def refuse_unbounded(text: str, name: str, *, is_document: bool = False) -> None:
    """Count the values of a YAML (or JSON) text with aliases expanded, and its levels, without building anything.

    Invalid YAML is left for the parser to report.

    :param name: the file name, for the message.
    :param is_document: whether it is CWL, and its types are counted as well.
    :raises InputError: there are more than :data:`MOST_VALUES`, one contains itself, or they are nested too deeply.
    """
    counted = _Counted(name, is_document)
    try:
        for event in yaml.parse(text, Loader=_Base):
            counted.add(event)
    except yaml.YAMLError:
        return


class _Counted:
    def __init__(self, name: str, is_document: bool) -> None:
        self._name = name
        self._is_document = is_document
        self._sizes: dict[str, int | None] = {}
        """by anchor; None: its value is still open"""
        self._above: list[_Open] = []
        self._count = 0
        self._has_aliases = False

    def add(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            size = self._sizes.get(event.anchor, 1)
            if size is None:
                raise InputError(TOO_DEEP, where=self._name)
            self._count += size
            self._has_aliases = True
            self._pass(None)
        elif isinstance(event, yaml.ScalarEvent):
            self._count += 1
            if event.anchor:
                self._sizes[event.anchor] = 1
            self._pass(event.value)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            ended = self._above.pop()
            if ended.anchor:
                self._sizes[ended.anchor] = self._count - ended.before
            self._pass(None)
        if self._has_aliases and self._count > MOST_VALUES:
            raise InputError(f"with its aliases expanded it has more than {MOST_VALUES} values", where=self._name)

    def _pass(self, text: str | None) -> None:
        """A key or a value has ended."""
        if not self._above or not self._above[-1].is_mapping:
            return
        mapping = self._above[-1]
        mapping.key = (text or "") if mapping.key is None else None

    def _begin(self, event: Any) -> None:
        if len(self._above) >= MOST_NESTED:
            raise InputError(
                f"it has lists and mappings nested more than {MOST_NESTED} deep",
                where=f"{self._name}:{event.start_mark.line + 1}:{event.start_mark.column + 1}",
            )
        types = self._types()
        if self._is_document and types is not None and types > MOST_TYPES:
            raise InputError(
                f"it has array and record types nested more than {MOST_TYPES} deep",
                where=f"{self._name}:{event.start_mark.line + 1}:{event.start_mark.column + 1}",
            )
        self._above.append(_Open(event.anchor, self._count, types, isinstance(event, yaml.MappingStartEvent)))
        if event.anchor:
            self._sizes[event.anchor] = None
        self._count += 1

    def _types(self) -> int | None:
        """Number of types that enclose the value that begins now."""
        if not self._above:
            return 0
        around = self._above[-1]
        if around.types is None or around.key in _DATA_KEYS:
            return None
        return around.types + (around.key in _TYPE_KEYS)
