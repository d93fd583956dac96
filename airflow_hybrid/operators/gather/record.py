# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The record of an ``outdir``: which of its files are outputs of which run, and so may be replaced.

A line is written before the file gets its name, so that a process killed in between leaves proof for what is there. A
file counts as the recorded one as long as its inode, size and modification time are those in the record.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
from dataclasses import asdict, dataclass

from airflow_hybrid.errors import TransferError
from airflow_hybrid.operators.gather.claim import Claim

log = logging.getLogger(__name__)

RECORD = ".airflow_hybrid-outputs"
"""name of the record file in ``outdir``"""
_MOST_OLD = 1000
"""superseded lines before the file is rewritten"""
_HEADER = "outputs of airflow_hybrid, a line for each; without this file they count as yours"


@dataclass(frozen=True)
class Line:
    """One file (or folder) that a run put into ``outdir``; ``path`` is relative to it."""

    run: str
    path: str
    inode: int
    size: int
    mtime_ns: int
    folder: bool = False

    def describes(self, status: os.stat_result) -> bool:
        """Whether a file is the recorded one."""
        if self.folder:
            return stat.S_ISDIR(status.st_mode) and status.st_ino == self.inode
        same = (status.st_ino, status.st_size, status.st_mtime_ns) == (self.inode, self.size, self.mtime_ns)
        return stat.S_ISREG(status.st_mode) and same


def _line(text: bytes) -> Line | None:
    """One line of a record; None for any other text, which proves nothing."""
    try:
        line = Line(**json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None
    are_numbers = all(isinstance(number, int) for number in (line.inode, line.size, line.mtime_ns))
    are_texts = isinstance(line.run, str) and isinstance(line.path, str)
    return line if are_numbers and are_texts and isinstance(line.folder, bool) else None


def _is_below(path: str) -> bool:
    """Whether a path stays inside ``outdir``: anybody may have written the record."""
    return bool(path) and all(name not in ("", ".", "..") for name in path.split("/"))


class OutdirRecord:
    """The record of one ``outdir``.

    :param number: descriptor of the folder; ``shown``: its path, for messages.
    :raises TransferError: the file of that name is not a record.
    """

    def __init__(self, number: int, shown: str) -> None:
        self._folder, self._shown = number, f"{shown}/{RECORD}"
        self._file = -1
        self._claim = Claim(number, RECORD, self._now)
        self.lines: dict[str, Line] = {}
        self._read()

    def _read(self) -> int:
        """-> the number of lines, including older ones of the same path."""
        try:
            file = os.open(RECORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise self._foreign() from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise self._foreign()
        with os.fdopen(file, "rb") as stream:
            header, *texts = stream.read().split(b"\n")
        if header and header.decode(errors="replace") != _HEADER:
            raise self._foreign()
        self.lines = {}
        for text in texts[:-1]:  # text after the last line break was cut off by a kill
            line = _line(text)
            if line is not None and _is_below(line.path):
                self.lines[line.path] = line
        return len(texts)

    def _foreign(self) -> TransferError:
        return TransferError(f"{self._shown} is not a record of airflow_hybrid", hint="move it away", retryable=False)

    def lock(self) -> None:
        """Lock the record, and read what others have written; :meth:`close` unlocks it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(RECORD, flags, 0o666, dir_fd=self._folder)
        is_claimed = self._claimed()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as error:
            if not is_claimed:
                raise
            log.info("%s cannot be locked (%s): its claim alone keeps others away", self._shown, error.strerror)
        if os.fstat(self._file).st_size == 0:
            os.write(self._file, f"{_HEADER}\n".encode())
        elif os.pread(self._file, 1, os.fstat(self._file).st_size - 1) != b"\n":
            os.write(self._file, b"\n")
        if self._read() > 2 * len(self.lines) + _MOST_OLD:
            # a kill here loses proofs: then more files count as the user's
            os.ftruncate(self._file, 0)
            os.write(self._file, f"{_HEADER}\n".encode())
            for line in self.lines.values():
                self._write(line)

    def _claimed(self) -> bool:
        """Claim it; False: the file system has no links, or no room for one, and only the lock keeps others away."""
        try:
            self._claim.take()
        except OSError as error:
            log.info("%s cannot be claimed (%s): its lock alone keeps others away", self._shown, error.strerror)
            return False
        return True

    def _now(self) -> float:
        """The time by the clock of the record's file system."""
        os.utime(self._file)
        return os.fstat(self._file).st_mtime

    def close(self) -> None:
        self._claim.give_up()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def note(self, run: str, path: str, status: os.stat_result) -> None:
        """Record what is at ``path``, or is about to be there."""
        folder = stat.S_ISDIR(status.st_mode)
        line = Line(run, path, status.st_ino, status.st_size, status.st_mtime_ns, folder)
        self._write(line)
        self.lines[path] = line

    def _write(self, line: Line) -> None:
        os.write(self._file, f"{json.dumps(asdict(line), separators=(',', ':'))}\n".encode())

    def proves(self, path: str, status: os.stat_result, run: str | None) -> bool:
        """Whether a run put the file at ``path`` there, and it is unchanged since.

        :param run: the run; None: any.
        """
        line = self.lines.get(path)
        return line is not None and run in (None, line.run) and line.describes(status)
