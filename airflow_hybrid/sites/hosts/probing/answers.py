# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A probe's answer about files, as values. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_hybrid.model import FileFact, Question, SiteFacts
from airflow_hybrid.model.files import SPECIAL

_OWNER_MAY_EXECUTE = 0o100
SEAL = "/./"
"""in a path: nothing after it is reached through a symbolic link"""
_OPENED = re.compile(rb"([0-9a-f]{40}) [ *](/dev/fd/[0-9]{1,3})\Z")
_OK = b"\0#ok\0"
"""follows the bytes of files, if all could be read"""
_SUM = re.compile(rb"([0-9a-f]{40}) [ *](/.*)\Z", re.DOTALL)


def parse(raw: bytes, questions: Sequence[Question], trees: Sequence[str], bases: Sequence[str]) -> SiteFacts:
    """Read the probe's answer.

    :raises ValueError: it is incomplete or inconsistent.
    """
    records = _Reader(raw).read()
    real = _leading_elsewhere(records, bases)
    for path in records.links:
        if records.stats[path].kind in "fd" and path not in real:
            raise ValueError(f"{path} stopped being a symbolic link while it was examined")
    asked_paths = {*trees, *(question.path for question in questions)}
    facts = SiteFacts()
    for path, stat in records.stats.items():
        only_a_base = path in bases and path not in asked_paths and path not in records.below
        if not only_a_base:
            facts.files[path] = _fact(stat, records.sums.get(path), _real(path, real) if real else None)
    for path in asked_paths:
        facts.files.setdefault(path, FileFact("?"))
    listed = {question.path for question in questions if question.ask == "list"}
    facts.listings = _listings(records, facts.files, listed, set(trees))
    facts.contents, facts.replaced = records.contents, records.replaced
    return facts


def _leading_elsewhere(records: _Records, bases: Sequence[str]) -> dict[str, str]:
    """Paths that lead elsewhere -> where they lead. A target below a base is written with the base's own path."""
    named = [(records.real[base], base) for base in bases if base in records.real]
    named.sort(key=lambda pair: len(pair[0]), reverse=True)
    real = {}
    for path, target in records.real.items():
        target = _named_by_base(target, named)
        if target != path:
            real[path] = target
    return real


def _named_by_base(path: str, bases: Sequence[tuple[str, str]]) -> str:
    """:param bases: real path and own path of each, the longest first."""
    for real, base in bases:
        above = real.rstrip("/")
        if path == real or path.startswith(above + "/"):
            return base.rstrip("/") + path[len(above) :] or "/"
    return path


def _fact(stat: _Stat, checksum: str | None, realpath: str | None) -> FileFact:
    return FileFact(
        kind=stat.kind,
        size=stat.size if stat.kind == "f" else 0,
        checksum=checksum,
        realpath=realpath,
        special=stat.special,
        mtime=stat.mtime,
        ctime=stat.ctime,
        executable=stat.executable,
    )


def _listings(
    records: _Records, files: Mapping[str, FileFact], listed: set[str], trees: set[str]
) -> dict[str, tuple[str, ...]]:
    """Names in the listed folders, and in those of the trees.

    The content of a folder inside a listed folder was not asked for: it is unknown, not empty.
    """
    names: dict[str, list[str]] = {path: [] for path in listed if files[path].kind == "d"}
    for path in records.below:
        if files[path].kind == "d" and path not in records.links and _in_any(path, trees):
            names[path] = []
    for path in records.stats:
        parent, _, name = path.rpartition("/")
        if path not in trees and (parent or "/") in names:
            names[parent or "/"].append(name)
    return {path: tuple(sorted(entries)) for path, entries in names.items()}


def _in_any(path: str, roots: set[str]) -> bool:
    """Whether the path is one of the folders or below one."""
    while path not in roots:
        if path in ("/", ""):
            return False
        path = posixpath.dirname(path)
    return True


def _real(path: str, real: dict[str, str]) -> str | None:
    """The real path of a path, from its nearest parent (or itself) that leads elsewhere."""
    at, below = path, ""
    while at not in real:
        if at in ("/", ""):
            return None
        parent = posixpath.dirname(at)
        below, at = at[len(parent.rstrip("/")) :] + below, parent
    return real[at] + below


@dataclass(frozen=True)
class _Stat:
    kind: str
    size: int
    mtime: float
    ctime: float
    special: str
    executable: bool


@dataclass
class _Records:
    stats: dict[str, _Stat] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    real: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    below: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)


class _Reader:
    """Reads the records of a probe's answer, one after the other; each ends with a NUL.

    Their first byte says what they are: ``T`` and ``U`` the type of a path, ``L`` a symbolic link (targets follow
    ``#real``), ``C`` and ``Z`` a file whose first bytes follow ``#bytes``, ``K`` a file that was opened, ``X`` a file
    that was replaced by a symbolic link. All others are checksums, as ``sha1sum`` prints them.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._ended = False
        self._records = _Records()
        self._links: list[str] = []
        """links whose targets follow"""
        self._lengths: list[tuple[str, int]] = []
        """files whose bytes follow"""
        self._opened: dict[bytes, str] = {}
        """key: path in ``/dev/fd``"""

    def read(self) -> _Records:
        """:raises ValueError: the answer is incomplete or inconsistent."""
        while self._position < len(self._data):
            self._take(self._until_nul("it was cut off"))
        if not self._ended or self._links or self._lengths:
            raise ValueError("it was cut off")
        return self._records

    def _until_nul(self, problem: str) -> bytes:
        end = self._data.find(b"\0", self._position)
        if end < 0:
            raise ValueError(problem)
        record = self._data[self._position : end]
        self._position = end + 1
        return record

    def _take(self, record: bytes) -> None:
        kind, content = record[:1], record[1:]
        match kind:
            case b"T" | b"U":
                self._stat(record)
            case b"L":
                self._links.append(_text(content))
            case b"C" | b"Z":
                self._length(kind, content)
            case b"K":
                number, _, path = content.partition(b" ")
                self._opened[b"/dev/fd/" + number] = _text(path)
            case b"X":
                self._records.replaced.add(_text(content))
            case b"#":
                self._word(record)
            case _:
                self._checksum(record)

    def _word(self, word: bytes) -> None:
        match word:
            case b"#real":
                self._targets()
            case b"#bytes":
                self._contents()
            case b"#end":
                self._ended = True
            case _:
                raise _unexpected(word)

    def _stat(self, record: bytes) -> None:
        """``T`` or ``U``, type of the entry itself, type of its target, mode; size, times, path."""
        head, size, mtime, ctime, path = record.split(b" ", 4)
        name = _text(path)
        kind = head[2:3].decode()
        stat = _Stat(
            kind=kind if kind in "fd" else "?",
            size=int(size),
            mtime=float(mtime),
            ctime=float(ctime),
            special=kind if kind in SPECIAL else "",
            executable=kind == "f" and int(head[3:], 8) & _OWNER_MAY_EXECUTE != 0,
        )
        records = self._records
        if name in records.files and stat.size != records.stats[name].size:
            raise ValueError(f"{name} changed while it was examined")
        records.stats[name] = stat
        if head[:1] != b"T":
            return
        records.below.add(name)
        if head[1:2] == b"f":
            records.files.add(name)
        if head[1:2] == b"l":
            records.links.add(name)

    def _targets(self) -> None:
        problem = "a symbolic link changed while it was read"
        for name in self._links:
            target = self._until_nul(problem)
            if not target.startswith(b"/"):
                raise ValueError(problem)
            self._records.real[name] = _text(target)
        self._links = []

    def _length(self, kind: bytes, fields: bytes) -> None:
        most, size, file = fields.split(b" ", 2)
        if kind == b"Z":
            if file not in self._opened:
                raise _unexpected(kind + fields)
            name = self._opened.pop(file)
        else:
            name = _text(file)
        self._lengths.append((name, min(int(size), int(most))))

    def _contents(self) -> None:
        for name, count in self._lengths:
            self._records.contents[name] = self._data[self._position : self._position + count]
            self._position += count
        self._lengths = []
        if not self._data.startswith(_OK, self._position):
            raise ValueError("a file changed while it was read")
        self._position += len(_OK)

    def _checksum(self, record: bytes) -> None:
        opened = _OPENED.match(record)
        if opened and opened[2] in self._opened:
            self._records.sums[self._opened.pop(opened[2])] = f"sha1${opened[1].decode()}"
            return
        by_path = _SUM.match(record)
        if by_path is None:
            raise _unexpected(record)
        self._records.sums[_text(by_path[2])] = f"sha1${by_path[1].decode()}"


def _unexpected(record: bytes) -> ValueError:
    return ValueError(f"unexpected record {record[:80]!r}")


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape").replace(SEAL, "/", 1)
