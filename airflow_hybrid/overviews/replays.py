# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What tasks have made again because it was lost: what they publish about it, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MADE_AGAIN_XCOM = "made_again"
"""key of the XCom"""
RENEWED_XCOM = "airflow_hybrid.renewed"
"""key of a task's table of what has taken the place of lost files"""
MOST_READ = 100
"""replays of one task that are read"""


@dataclass(frozen=True)
class Replay:
    """Jobs of a task that were run again for another task, which missed their outputs.

    :ivar task: whose jobs they are: ``align[3]``.
    :ivar jobs: how many ran again; ``files``: how many files were missed.
    :ivar changed: how many files have another content than before.
    :ivar first: location of one of the files.
    """

    task: str
    jobs: int
    files: int
    changed: int
    first: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Replay:
        """:raises ValueError: it is none."""
        if not isinstance(value, Mapping):
            raise ValueError("it is no object")
        jobs, files, changed = (_number(value.get(name)) for name in ("jobs", "files", "changed"))
        return cls(str(value.get("task")), jobs, files, changed, str(value.get("first")))


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r:.50} is no number of jobs or files")
    return value


def replays_from_json(value: Any) -> tuple[Replay, ...]:
    """What a task has published.

    :raises ValueError: it is something else.
    """
    if not isinstance(value, list):
        raise ValueError("it is no list")
    return tuple(Replay.from_json(entry) for entry in value[:MOST_READ])
