# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether a run has the outputs that another run had: files by their checksums, other values as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.model.values import JsonValue
from airflow_hybrid.model.walking import is_file, location_of
from airflow_hybrid.printable import printable, shortened

SAME, DIFFERENT, MISSING, NEW, UNKNOWN = "same", "different", "missing", "new", "not known"
_MOST_ROWS = 100


@dataclass(frozen=True)
class ComparedOutput:
    """One output, or one part of it.

    :ivar name: ``report``, ``plots[2]``, ``table/index``.
    :ivar state: one of :data:`SAME`, :data:`DIFFERENT`, :data:`MISSING`, :data:`NEW`, and :data:`UNKNOWN` where no
        checksum was recorded.
    """

    name: str
    state: str
    before: str = ""
    now: str = ""


def compared(before: Mapping[str, JsonValue], now: Mapping[str, JsonValue]) -> list[ComparedOutput]:
    """Compare output objects, part by part."""
    names = dict.fromkeys([*before, *now])
    return [row for name in names for row in _compared(name, before.get(name), now.get(name))]


def _compared(name: str, before: JsonValue, now: JsonValue) -> Iterator[ComparedOutput]:
    if before is None and now is None:
        yield ComparedOutput(name, SAME)
    elif now is None:
        yield ComparedOutput(name, MISSING, before=_shown(before))
    elif before is None:
        yield ComparedOutput(name, NEW, now=_shown(now))
    elif is_file(before) and is_file(now) and before["class"] == now["class"]:
        yield from _files(name, before, now)
    elif isinstance(before, list) and isinstance(now, list):
        for index in range(max(len(before), len(now))):
            pair = (side[index] if index < len(side) else None for side in (before, now))
            yield from _compared(f"{name}[{index}]", *pair)
    elif isinstance(before, Mapping) and isinstance(now, Mapping) and not is_file(before) and not is_file(now):
        for key in dict.fromkeys([*before, *now]):
            yield from _compared(f"{name}/{key}", before.get(key), now.get(key))
    else:
        state = SAME if _equal(before, now) else DIFFERENT
        yield ComparedOutput(name, state, _shown(before), _shown(now))


def _equal(before: JsonValue, now: JsonValue) -> bool:
    """JSON's ``true`` is not 1."""
    return isinstance(before, bool) == isinstance(now, bool) and bool(before == now)


def _files(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[ComparedOutput]:
    if before["class"] == "Directory":
        yield from _members(name, before.get("listing"), now.get("listing"))
        return
    checksums = before.get("checksum"), now.get("checksum")
    if None in checksums:
        state = UNKNOWN if before.get("size") == now.get("size") else DIFFERENT
    else:
        state = SAME if checksums[0] == checksums[1] else DIFFERENT
    yield ComparedOutput(name, state, _shown(before), _shown(now))
    if before.get("secondaryFiles") or now.get("secondaryFiles"):
        yield from _members(name, before.get("secondaryFiles"), now.get("secondaryFiles"))


def _members(name: str, before: JsonValue, now: JsonValue) -> Iterator[ComparedOutput]:
    sides = [{_basename(member): member for member in members or [] if is_file(member)} for members in (before, now)]
    if not any(sides):
        yield ComparedOutput(name, SAME if before == now else UNKNOWN)
    for member in sorted({*sides[0], *sides[1]}):
        yield from _compared(f"{name}/{member}", sides[0].get(member), sides[1].get(member))


def _basename(file: Mapping[str, Any]) -> str:
    return str(file.get("basename") or str(location_of(file)).rstrip("/").rpartition("/")[2])


def _shown(value: JsonValue) -> str:
    if is_file(value):
        parts = [_basename(value), str(value.get("checksum") or value["class"])]
        return shortened(" ".join(parts), 200)
    return shortened(str(value), 60)


def table(rows: Sequence[ComparedOutput]) -> list[str]:
    """The rows for people: all of them, or of many those that are not the same."""
    shown = rows if len(rows) <= _MOST_ROWS else [row for row in rows if row.state != SAME][:_MOST_ROWS]
    width = max((len(printable(row.name)) for row in shown), default=0)
    lines = []
    for row in shown:
        line = f"{printable(row.name):<{width}}  {row.state}"
        if row.state == DIFFERENT:
            line += f": was {printable(row.before)}, is {printable(row.now)}"
        lines.append(line)
    return [*lines, summary(rows)]


def summary(rows: Sequence[ComparedOutput]) -> str:
    """``the outputs are the same``, or ``the outputs differ: 3 same, 1 different``."""
    if all(row.state == SAME for row in rows):
        return f"the outputs are the same: {len(rows)} compared"
    counts = {state: sum(row.state == state for row in rows) for state in (SAME, DIFFERENT, MISSING, NEW, UNKNOWN)}
    numbers = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    if counts[DIFFERENT] or counts[MISSING] or counts[NEW]:
        return f"the outputs differ: {numbers}"
    return f"nothing differs, but not everything could be compared: {numbers}"


def differ(rows: Sequence[ComparedOutput]) -> bool:
    return any(row.state in (DIFFERENT, MISSING, NEW) for row in rows)
