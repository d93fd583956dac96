# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One look at a site, for all of its watches: one command, whatever their number."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid import settings, shell_text
from airflow_hybrid.errors import SiteError, StatusUnknownError
from airflow_hybrid.sites.hosts.base import PATH_BYTES, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.hosts.probing import gnu_programs
from airflow_hybrid.sites.watching.patterns import PathPattern

MOST_FILES = 5_000
"""files that a pattern may match; with more there, it cannot be known which of them are new"""
MOST_PATTERNS = 200
"""patterns in one command, whose text is one argument of a process"""
_FILE = re.compile(rb"F(\d{1,20}) (\d{1,20}) (-?\d{1,20}(?:\.\d{1,20})?) (-?\d{1,20}(?:\.\d{1,20})?) (.+)", re.DOTALL)


@dataclass(frozen=True)
class SeenFile:
    """A file as a look saw it.

    :ivar path: absolute; bytes that are not UTF-8 as :func:`os.fsdecode` has them.
    :ivar mtime: last change of its content, ``ctime`` of anything of it: seconds since the epoch, in the site's words.
    """

    path: str
    inode: int
    size: int
    mtime: str
    ctime: str


@dataclass(frozen=True)
class Found:
    """What a look saw of one pattern.

    :ivar too_many: more files match than are told, and so none is.
    """

    files: tuple[SeenFile, ...] = ()
    too_many: bool = False


async def look(host: Host, patterns: Sequence[PathPattern], workdir: str) -> list[Found]:
    """Look for the files of patterns.

    :param workdir: where relative patterns start.
    :raises SiteError: the site does not answer, or has no GNU programs.
    """
    found: list[Found] = []
    for start in range(0, len(patterns), MOST_PATTERNS):
        some = patterns[start : start + MOST_PATTERNS]
        command = command_for(some, workdir)
        limit = answer_bytes(len(some) * (MOST_FILES + 2), PATH_BYTES)
        with answers_up_to(limit):
            answer = await host.run(
                command, timeout_s=settings.current().look_timeout, label="look for files that are watched for"
            )
        if lack := gnu_programs.lacking(answer.stdout):
            raise SiteError(
                f"files cannot be watched for: there is no `{lack}`",
                where=host.title,
                hint=f"have {gnu_programs.PACKAGES} installed there, or name their folder as `config.path`",
            )
        try:
            found += parsed(answer.stdout, len(some))
        except ValueError as error:
            complaints = answer.err.strip()[-500:]
            raise StatusUnknownError(f"the look failed: {error} {complaints}".rstrip(), where=host.title) from None
    return found


def command_for(patterns: Sequence[PathPattern], workdir: str) -> str:
    """The shell text of a look."""
    looks = "\n".join(
        shlex.join(["ah_look", posixpath.join(workdir, p.folder), str(p.depth), f"./{p.rest}"]) for p in patterns
    )
    values = {"CHECKS": gnu_programs.checks(), "MOST": str(MOST_FILES + 1), "LOOKS": looks}
    return shell_text.filled(__package__, "look.sh", values)


def parsed(answer: bytes, count: int) -> list[Found]:
    """The answer of a look.

    :raises ValueError: it is cut off, or no answer of it.
    """
    *records, rest = answer.split(b"\0")
    if rest or not records or records.pop() != b"Z":
        raise ValueError("its answer is not complete")
    found: list[list[SeenFile]] = []
    folder = ""
    for record in records:
        if record[:1] in (b"D", b"N"):
            found.append([])
            folder = os.fsdecode(record[1:])
            continue
        match = _FILE.fullmatch(record)
        if match is None or not found or not folder.startswith("/"):
            raise ValueError("its answer has a record of another kind")
        inode, size, mtime, ctime, below = match.groups()
        path = posixpath.join(folder, os.fsdecode(below))
        found[-1].append(SeenFile(path, int(inode), int(size), mtime.decode(), ctime.decode()))
    if len(found) != count:
        raise ValueError("its answer is about another number of patterns")
    return [Found(too_many=True) if len(files) > MOST_FILES else Found(tuple(files)) for files in found]
