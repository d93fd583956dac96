# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reads pieces of files at a location that jobs write to, also while they do."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass

from airflow_hybrid import shell_text
from airflow_hybrid.errors import SiteError
from airflow_hybrid.printable import printable
from airflow_hybrid.sites.hosts.base import ANSWER_BYTES, Host, answer_bytes, answers_up_to

_FIRST_LINE_BYTES = 100
_PROBLEMS = {
    "#other": "a link leads there, or it is no regular file: it is not read",
    "#closed": "it may not be read",
}


@dataclass(frozen=True)
class Piece:
    """A piece of a file.

    :ivar start: where it begins; ``size``: of the whole file, when it was read. A file may grow meanwhile.
    """

    data: bytes
    start: int
    size: int

    @property
    def end(self) -> int:
        """Where the next piece begins."""
        return self.start + len(self.data)

    @property
    def more(self) -> bool:
        """Whether the file had more after this piece."""
        return self.end < self.size


@dataclass(frozen=True)
class FilePlace:
    """Where a file is that is to be read.

    :ivar root: absolute path of a folder at the location. No link below it is followed.
    :ivar file: path of the file below it, and ``above`` of a folder above the file; both normal.
    """

    host: Host
    root: str
    file: str
    above: str

    def __post_init__(self) -> None:
        for path in (self.file, self.above):
            if path.startswith("/") or posixpath.normpath(path) != path or path.split("/")[0] in (".", ".."):
                raise ValueError(f"not a normal path below a folder: {path!r}")


class NoFileError(SiteError):
    """There is no such file.

    :ivar folder_is_there: what should be above it is: then it was not made yet, or removed by a job.
    """

    retryable = False

    def __init__(self, message: str, folder_is_there: bool, *, where: str) -> None:
        super().__init__(message, where=where)
        self.folder_is_there = folder_is_there


async def read_piece(at: FilePlace, start: int, most: int) -> Piece:
    """Read a piece of a regular file.

    :param start: offset of the piece; negative: from the end of the file.
    :param most: the most bytes.
    :raises NoFileError: it is not there.
    :raises SiteError: it is a link, no regular file, or may not be read; or the location does not answer.
    """
    values = {
        "ROOT": shlex.quote(at.root),
        "FILE": shlex.quote(at.file),
        "ABOVE": shlex.quote(at.above),
        "START": str(int(start)),
        "SIZE": str(int(most)),
    }
    with answers_up_to(answer_bytes(1, most + _FIRST_LINE_BYTES, ANSWER_BYTES)):
        answer = await at.host.run(shell_text.filled(__package__, "piece.sh", values), label=f"read {at.file}")
    answer.check("a file could not be read")
    return _piece(answer.stdout, posixpath.join(at.root, at.file), at.host.title)


def _piece(answer: bytes, path: str, where: str) -> Piece:
    line, _, data = answer.partition(b"\n")
    word, *numbers = line.decode("ascii", "replace").split(" ")
    shown = printable(path)
    if word == "#piece" and len(numbers) == 2 and all(number.isdecimal() for number in numbers):
        return Piece(data, start=int(numbers[1]), size=int(numbers[0]))
    if word == "#gone":
        raise NoFileError(f"neither {shown} nor its folder is there", folder_is_there=False, where=where)
    if word == "#none":
        raise NoFileError(f"there is no file {shown}", folder_is_there=True, where=where)
    if word in _PROBLEMS:
        raise SiteError(f"{shown}: {_PROBLEMS[word]}", where=where, retryable=False)
    raise SiteError(f"an answer about {shown} that is none", where=where)
