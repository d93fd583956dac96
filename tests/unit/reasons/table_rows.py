# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reads the tables of reasons: a text of a site, what it means, and what to do.

A row begins with the text, at the start of a line. Facts follow (``  reason: ...``), then ``  = the sentence``, which
ends with ``(unknown)`` or ``(passes)`` where it is that, and ``  -> the remedy``, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from airflow_hybrid.reasons.explanation import Explanation

FOLDER = Path(__file__).parent / "tables"


@dataclass
class Row:
    text: str
    facts: dict[str, str] = field(default_factory=dict)
    expected: Explanation = field(default_factory=lambda: Explanation(""))

    def __str__(self) -> str:
        return self.text[:60]


def rows(name: str) -> list[Row]:
    """The rows of a table."""
    return list(_rows((FOLDER / f"{name}.txt").read_text()))


def _rows(text: str) -> Iterator[Row]:
    for block in text.split("\n\n")[1:]:
        first, *lines = block.rstrip("\n").split("\n")
        row = Row(first)
        sentence = remedy = ""
        for line in lines:
            if line.startswith("  = "):
                sentence = line.removeprefix("  = ")
            elif line.startswith("  -> "):
                remedy = line.removeprefix("  -> ")
            else:
                key, _, value = line.strip().partition(": ")
                row.facts[key] = value
        unknown, passes = sentence.endswith(" (unknown)"), sentence.endswith(" (passes)")
        sentence = sentence.removesuffix(" (unknown)").removesuffix(" (passes)")
        row.expected = Explanation(sentence, remedy, known=not unknown, passes=passes)
        yield row
