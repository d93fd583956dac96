# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""YAML whose aliases make it grow: a few lines can stand for more values than any memory holds. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from airflow_hybrid.errors import InputError

MOST_VALUES = 1_000_000
"""of a document or job file, its aliases replaced by what they stand for"""
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def refuse_growth(text: str, name: str) -> None:
    """Count the values of a YAML (or JSON) text with its aliases replaced; nothing is built.

    What is no YAML is left to the parser to say.

    :param name: the file's, for the message.
    :raises InputError: there are more than :data:`MOST_VALUES`, or one holds itself.
    """
    if "*" not in text or "&" not in text:
        return
    sizes: dict[str, int | None] = {}
    above: list[tuple[str | None, int]] = []
    count = 0
    try:
        for event in yaml.parse(text, Loader=_Base):
            if isinstance(event, yaml.AliasEvent):
                size = sizes.get(event.anchor, 1)
                if size is None:
                    raise InputError("a value is in itself, or nested too deeply", where=name)
                count += size
            elif isinstance(event, yaml.ScalarEvent):
                count += 1
                if event.anchor:
                    sizes[event.anchor] = 1
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                above.append((event.anchor, count))
                if event.anchor:
                    sizes[event.anchor] = None
                count += 1
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                anchor, before = above.pop()
                if anchor:
                    sizes[anchor] = count - before
            if count > MOST_VALUES:
                raise InputError(f"by its aliases it has more than {MOST_VALUES} values", where=name)
    except yaml.YAMLError:
        return
