# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Results of a conformance run: a summary to read, a table in Markdown, and badges for shields.io."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

STATUSES = ("passed", "failed", "unsupported")


@dataclass(frozen=True)
class Result:
    """One test. ``status`` is one of :data:`STATUSES`; ``reason`` says why it is not the first."""

    name: str
    status: str
    reason: str
    tags: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "tags": list(self.tags)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Result:
        return cls(**{**value, "tags": tuple(value["tags"])})


class Results:
    """All results of a run of one version's suite at one site."""

    def __init__(self, version: str, site: str) -> None:
        self.version = version
        self.site = site
        self.all: list[Result] = []

    def add(self, result: Result) -> None:
        self.all.append(result)

    def count(self, status: str, tag: str | None = None) -> int:
        return sum(result.status == status and (tag is None or tag in result.tags) for result in self.all)

    @property
    def title(self) -> str:
        return f"CWL {self.version} at {self.site}".replace("  ", " ")

    def summary(self) -> Iterator[str]:
        total = len(self.all)
        seconds = sum(result.seconds for result in self.all)
        yield f"{self.title}: {self.count('passed')} of {total} tests passed ({seconds:.0f} s in tests)"
        for result in sorted(self.all, key=lambda found: found.name):
            if result.status != "passed":
                yield f"  {result.status}: {result.name}: {_one_line(result.reason, 300)}"

    def write(self, folder: Path) -> Path:
        """Write ``<version>-<site>.md``, ``.json``, and the badges ``<version>-<site>.badge.json`` and per tag."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{self.version or 'suite'}-{self.site}"
        (folder / f"{stem}.json").write_text(json.dumps([result.to_json() for result in self.all], indent=1) + "\n")
        (folder / f"{stem}.badge.json").write_text(json.dumps(self.badge(None)) + "\n")
        badges = folder / f"{stem}-tags"
        badges.mkdir(exist_ok=True)
        for tag in self.tags():
            (badges / f"{tag}.json").write_text(json.dumps(self.badge(tag)) + "\n")
        table = folder / f"{stem}.md"
        table.write_text("\n".join(self._table()) + "\n")
        return table

    def tags(self) -> list[str]:
        return sorted({tag for result in self.all for tag in result.tags})

    def badge(self, tag: str | None) -> dict[str, Any]:
        """The JSON of shields.io's endpoint badge (https://shields.io/badges/endpoint-badge)."""
        total = sum(tag is None or tag in result.tags for result in self.all)
        passed = self.count("passed", tag)
        color = "brightgreen" if passed == total else "red" if tag == "required" or passed < total * 0.9 else "yellow"
        label = f"{self.title}{f': {tag}' if tag else ''}"
        return {"schemaVersion": 1, "label": label, "message": f"{passed}/{total}", "color": color}

    def _table(self) -> Iterator[str]:
        yield f"# {self.title}: {self.count('passed')} of {len(self.all)} tests passed"
        yield ""
        yield "| tag | passed | failed | unsupported |"
        yield "|---|---|---|---|"
        for tag in self.tags():
            yield f"| {tag} | " + " | ".join(str(self.count(status, tag)) for status in STATUSES) + " |"
        yield f"| all | {' | '.join(str(self.count(status)) for status in STATUSES)} |"
        yield ""
        yield "| test | result | seconds | tags | reason |"
        yield "|---|---|---|---|---|"
        for result in self.all:
            reason = _one_line(result.reason, 200).replace("|", "\\|") if result.status != "passed" else ""
            yield f"| {result.name} | {result.status} | {result.seconds:.1f} | {', '.join(result.tags)} | {reason} |"


def _one_line(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."
