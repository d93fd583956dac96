# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a probe of files answers, as values. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from airflow_hybrid.model import FileFact, Question, SiteFacts
from airflow_hybrid.model.files import SPECIAL

_OWNER_MAY_EXECUTE = 0o100
SEAL = "/./"
"""in a path: nothing behind it is reached by a link"""
_OPENED = re.compile(rb"([0-9a-f]{40}) [ *](/dev/fd/[3-9])\Z")
_SUM = re.compile(rb"([0-9a-f]{40}) [ *](/.*)\Z", re.DOTALL)


def parse(data: bytes, questions: Sequence[Question], trees: Sequence[str], bases: Sequence[str]) -> SiteFacts:
    """Read the probe's answer.

    :raises ValueError: it is incomplete or inconsistent.
    """
    seen = _records(data)
    back = sorted(((seen.real[base], base) for base in bases if base in seen.real), key=lambda b: -len(b[0]))

    def translated(path: str) -> str:
        for real, base in back:
            if path == real or path.startswith(real.rstrip("/") + "/"):
                return base.rstrip("/") + path[len(real.rstrip("/")) :] or "/"
        return path

    real = {path: target for path, target in ((p, translated(r)) for p, r in seen.real.items()) if target != path}
    if changed := [path for path in seen.links if seen.stats[path].kind in "fd" and path not in real]:
        raise ValueError(f"{changed[0]} was a link, and then none, while it was looked at")
    found = SiteFacts()
    asked = {*trees, *(question.path for question in questions)}
    for path, stat in seen.stats.items():
        if path in bases and path not in asked and path not in seen.below:
            continue
        found.files[path] = FileFact(
            kind=stat.kind,
            size=stat.size if stat.kind == "f" else 0,
            checksum=seen.sums.get(path),
            realpath=_real(path, real) if real else None,
            special=stat.special,
            mtime=stat.mtime,
            ctime=stat.ctime,
            executable=stat.executable,
        )
    for path in asked:
        found.files.setdefault(path, FileFact("?"))
    listed = {question.path for question in questions if question.ask == "list"}
    names: dict[str, list[str]] = {path: [] for path in listed if found.files[path].kind == "d"}
    roots = set(trees)
    folders = (path for path in seen.below if found.files[path].kind == "d" and path not in seen.links)
    # what is in a folder of a listed folder was not asked for: it is not known, rather than empty
    names.update({path: [] for path in folders if _in_any(path, roots)})
    for path in seen.stats:
        parent, _, name = path.rpartition("/")
        if path not in roots and (parent or "/") in names:
            names[parent or "/"].append(name)
    found.listings = {path: tuple(sorted(entries)) for path, entries in names.items()}
    found.contents, found.replaced = seen.contents, seen.replaced
    return found


def _in_any(path: str, roots: set[str]) -> bool:
    """Whether the path is one of the folders, or below one."""
    while path not in roots:
        if path in ("/", ""):
            return False
        path = posixpath.dirname(path)
    return True


def _real(path: str, real: dict[str, str]) -> str | None:
    """Where a path leads, by the nearest of its parents (or itself) that leads elsewhere."""
    at, rest = path, ""
    while at not in real:
        if at in ("/", ""):
            return None
        parent = posixpath.dirname(at)
        rest, at = at[len(parent.rstrip("/")) :] + rest, parent
    return real[at] + rest


@dataclass(frozen=True)
class _Stat:
    kind: str
    size: int
    mtime: float
    ctime: float
    special: str
    executable: bool


@dataclass
class _Seen:
    stats: dict[str, _Stat] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    real: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    below: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)


def _records(data: bytes) -> _Seen:
    seen = _Seen()
    position, ended = 0, False
    sizes: list[tuple[str, int]] = []
    waiting: list[str] = []
    opened: dict[bytes, str] = {}
    while position < len(data):
        end = data.find(b"\0", position)
        if end < 0:
            raise ValueError("it was cut off")
        record, position = data[position:end], end + 1
        if record[:1] in b"TU" and record:
            head, size, mtime, ctime, path = record.split(b" ", 4)
            name = _text(path)
            kind = head[2:3].decode()
            special = kind if kind in SPECIAL else ""
            executable = kind == "f" and int(head[3:], 8) & _OWNER_MAY_EXECUTE != 0
            stat = _Stat(kind if kind in "fd" else "?", int(size), float(mtime), float(ctime), special, executable)
            if name in seen.files and stat.size != seen.stats[name].size:
                raise ValueError(f"{name} changed while it was looked at")
            seen.stats[name] = stat
            if record[:1] == b"T":
                if head[1:2] == b"f":
                    seen.files.add(name)
                seen.below.add(name)
                if head[1:2] == b"l":
                    seen.links.add(name)
        elif record[:1] == b"L":
            waiting.append(_text(record[1:]))
        elif record == b"#real":
            for name in waiting:
                end = data.find(b"\0", position)
                if end < 0 or data[position : position + 1] != b"/":
                    raise ValueError("a link changed while it was read")
                seen.real[name] = _text(data[position:end])
                position = end + 1
            waiting = []
        elif record[:1] == b"C":
            most, size, path = record[1:].split(b" ", 2)
            sizes.append((_text(path), min(int(size), int(most))))
        elif record == b"#bytes":
            for name, count in sizes:
                seen.contents[name] = data[position : position + count]
                position += count
            sizes = []
            if data[position : position + 5] != b"\0#ok\0":
                raise ValueError("a file changed while it was read")
            position += 5
        elif record[:1] == b"Z":
            most, size, number = record[1:].split(b" ", 2)
            sizes.append((opened.pop(number), min(int(size), int(most))))
        elif record == b"#end":
            ended = True
        elif record[:1] == b"K":
            number, _, path = record[1:].partition(b" ")
            opened[b"/dev/fd/" + number] = _text(path)
        elif record[:1] == b"X":
            seen.replaced.add(_text(record[1:]))
        elif (match := _OPENED.match(record)) and match[2] in opened:
            seen.sums[opened.pop(match[2])] = f"sha1${match[1].decode()}"
        elif match := _SUM.match(record):
            seen.sums[_text(match[2])] = f"sha1${match[1].decode()}"
        else:
            raise ValueError(f"unexpected record {record[:80]!r}")
    if not ended or waiting or sizes:
        raise ValueError("it was cut off")
    return seen


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape").replace(SEAL, "/", 1)
