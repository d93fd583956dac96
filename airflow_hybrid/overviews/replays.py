# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What tasks have made again because it was lost: what they publish about it, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow_hybrid.amounts import counted

MADE_AGAIN_XCOM = "made_again"
"""key of the XCom"""
RENEWED_XCOM = "airflow_hybrid.renewed"
"""key of a task's table of what has taken the place of lost files"""
MOST_READ = 100
"""replays of one task that are read, and files that have taken the place of others"""
_MOST = 10**18
"""no number of jobs or bytes is larger"""


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
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise ValueError(f"{value!r:.50} is no number of jobs or files")
    return value


def replays_from_json(value: Any) -> tuple[Replay, ...]:
    """What a task has published.

    :raises ValueError: it is something else.
    """
    if not isinstance(value, list):
        raise ValueError("it is no list")
    return tuple(Replay.from_json(entry) for entry in value[:MOST_READ])


@dataclass(frozen=True)
class MadeAgain:
    """A replay, with the task that it was for: ``summarise``, ``align[3]``."""

    missed_by: str
    replay: Replay

    @property
    def reason(self) -> str:
        """``1 job ran again, because summarise missed 2 files``, in the words of all pages and reports."""
        replay = self.replay
        jobs, files = counted(replay.jobs, "job"), counted(replay.files, "file")
        changed = f"; {counted(replay.changed, 'file')} with another content than before" if replay.changed else ""
        return f"{jobs} ran again, because {self.missed_by} missed {files}{changed}"


@dataclass(frozen=True)
class RenewedFile:
    """A file that was made again.

    :ivar task: whose job has made it; empty: not known.
    :ivar missed_by: the task that missed it.
    :ivar before: where it was, a location; ``now``: where it is.
    :ivar size: and ``checksum`` of what is there now, where they are known.
    """

    task: str
    missed_by: str
    before: str
    now: str
    size: int | None = None
    checksum: str = ""


@dataclass(frozen=True)
class RunReplays:
    """What was lost and made again in a run.

    :ivar unread: tasks of which it cannot be read, with the reason.
    """

    made_again: tuple[MadeAgain, ...] = ()
    files: tuple[RenewedFile, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()

    def problems(self) -> Iterator[str]:
        """What cannot be read, in sentences."""
        for task, problem in self.unread:
            yield f"what task {task} has made again is not shown: {problem}"


def replays_of(values: Iterable[tuple[str, Any, Any]], maker: Callable[[str], str]) -> RunReplays:
    """What was lost and made again in a run.

    :param values: of each task that has made something again: its label, and its XComs :data:`MADE_AGAIN_XCOM` and
        :data:`RENEWED_XCOM` (None: it has none).
    :param maker: tells by the location of a file that is lost which task made it; empty: not known.
    """
    made_again: list[MadeAgain] = []
    files: list[RenewedFile] = []
    unread: list[tuple[str, str]] = []
    for label, replays, renewed in values:
        try:
            made_again += [MadeAgain(label, replay) for replay in replays_from_json(replays)]
            files += [_renewed_file(label, maker(str(before)), before, now) for before, now in _entries(renewed)]
        except ValueError as error:
            unread.append((label, str(error)))
    return RunReplays(tuple(made_again), tuple(files), tuple(unread))


def _entries(table: Any) -> list[tuple[Any, Any]]:
    """:raises ValueError: it is no table."""
    if table is None:
        return []
    if not isinstance(table, Mapping):
        raise ValueError("it is no object")
    return list(table.items())[:MOST_READ]


def _renewed_file(label: str, task: str, before: Any, now: Any) -> RenewedFile:
    """:raises ValueError: it does not say where the file is."""
    if not isinstance(now, Mapping) or not isinstance(now.get("location"), str):
        raise ValueError("it does not say where a file is")
    size = now.get("size")
    checksum = now.get("checksum")
    return RenewedFile(
        task=task,
        missed_by=label,
        before=str(before),
        now=now["location"],
        size=None if size is None else _number(size),
        checksum=checksum if isinstance(checksum, str) else "",
    )
