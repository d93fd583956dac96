# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One probe per batch: what a location's file system says, as values (:class:`airflow_hybrid.model.SiteFacts`).

The script needs ``sh``, coreutils, find and xargs (GNU). Paths travel NUL-terminated both ways, on stdin and stdout,
so that they may hold anything and be any number; no process is started per file.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from airflow_hybrid.errors import StatusUnknownError
from airflow_hybrid.hooks.base import Host
from airflow_hybrid.hooks.joining import run_joined
from airflow_hybrid.model import FileFact, Question, SiteFacts

CONTENTS_BYTES = (64 << 10) + 1
"""CWL v1.2 section 5.1.1: at most 64 KiB are loaded; one byte more tells that there is more"""
PROBE_TIMEOUT_S = 600.0
DOCUMENT_BYTES = 64 << 20
"""the most that is read of a document (``cwl.output.json``), for which CWL has no limit"""
_ASKS = {"stat": "s", "contents": "c", "document": "d", "list": "l", "checksum": "k"}
_SUM = re.compile(rb"([0-9a-f]{40}) [ *](/.*)\Z", re.DOTALL)


async def facts(
    host: Host, questions: Iterable[Question] = (), *, trees: Sequence[str] = (), bases: Sequence[str] = ()
) -> SiteFacts:
    """Ask a location about files, in one command.

    - ``trees``: folders that are listed with all that is below, sizes, and SHA-1 of regular files. Links in them
      are not followed: what they point to is asked by a question, after its ``realpath`` was judged.
    - ``stat``, ``list``, ``checksum``, ``contents``, ``document``: see :class:`airflow_hybrid.model.Question`;
      links are followed.
      Whatever is asked of a path, ``files`` has its :class:`~airflow_hybrid.model.FileFact`; kind ``?`` where there
      is nothing (or neither file nor directory).
    - ``bases``: folders that paths are written with. A realpath below the realpath of one of them is written with
      the base again, so that a home directory which is itself a link does not look like an escape.

    :raises StatusUnknownError: the answer was cut off, or files changed while they were read (retryable).
    """
    asked = list(dict.fromkeys(questions))
    if not asked and not trees:
        return SiteFacts()
    command, stdin = await asyncio.to_thread(build, asked, trees, bases)
    answer = await run_joined(host, "probe", command, stdin=stdin, timeout_s=PROBE_TIMEOUT_S, label="probe of files")
    try:
        return await asyncio.to_thread(parse, answer.stdout, asked, trees, bases)
    except ValueError as error:
        said = answer.err.strip()[-500:]
        raise StatusUnknownError(f"the probe was not answered: {error} {said}".rstrip(), where=host.title) from None


def build(questions: Iterable[Question], trees: Sequence[str], bases: Sequence[str]) -> tuple[str, bytes]:
    """The probe's shell text and stdin.

    :raises ValueError: a path that is not absolute, or holds a NUL.
    """
    items = [("b", base) for base in bases] + [("t", tree) for tree in trees]
    items += [(_ASKS[question.ask], question.path) for question in questions]
    for _, path in items:
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"not an absolute path: {path!r}")
    stdin = "".join(f"{ask}{path}\0" for ask, path in items).encode(errors="surrogateescape")
    return f"export LC_ALL=C\nxargs -0 -r sh -c {shlex.quote(_INNER)} sh\nprintf '#end\\0'\n", stdin


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
            mtime=stat.mtime,
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
    found.contents = seen.contents
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


@dataclass
class _Seen:
    stats: dict[str, _Stat] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    real: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    below: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)


def _records(data: bytes) -> _Seen:
    seen = _Seen()
    position, ended = 0, False
    sizes: list[tuple[str, int]] = []
    waiting: list[str] = []
    while position < len(data):
        end = data.find(b"\0", position)
        if end < 0:
            raise ValueError("it was cut off")
        record, position = data[position:end], end + 1
        if record[:1] in b"TU" and record:
            head, size, mtime, path = record.split(b" ", 3)
            name = _text(path)
            kind = head[2:3].decode()
            seen.stats[name] = _Stat(kind if kind in "fd" else "?", int(size), float(mtime))
            if record[:1] == b"T":
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
        elif record == b"#end":
            ended = True
        elif match := _SUM.match(record):
            seen.sums[_text(match[2])] = f"sha1${match[1].decode()}"
        else:
            raise ValueError(f"unexpected record {record[:80]!r}")
    if not ended or waiting or sizes:
        raise ValueError("it was cut off")
    return seen


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


# T/U: type, type of what a link leads to, size, mtime, path (T: seen in a folder, U: asked for, links followed)
_LOOK = r"""find -L "$@" -maxdepth 0 -printf 'U%y%y %s %T@ %p\0'
printf 'L%s\0' "$@"
printf '#real\0'
realpath -z -- "$@"
"""
_LINKS = f"""-type l '(' -xtype f -o -xtype d ')' -print0 2>/dev/null | xargs -0 -r sh -c {shlex.quote(_LOOK)} sh"""
_TREE = rf"""find "$@" -printf 'T%y%Y %s %T@ %p\0'
find "$@" -type f -exec sha1sum -z -- {{}} +
find "$@" {_LINKS}
"""
_LIST = rf"""find -H "$@" -mindepth 1 -maxdepth 1 -printf 'T%y%Y %s %T@ %p\0'
find -H "$@" -mindepth 1 -maxdepth 1 {_LINKS}
"""
_CONTENTS = r"""find -L "$@" -maxdepth 0 -type f -printf 'C@MOST@ %s %p\0'
printf '#bytes\0'
find -L "$@" -maxdepth 0 -type f -exec head -q -c @MOST@ -- {} +
printf '\0#ok\0'
"""
_SUMS = r"""find -L "$@" -maxdepth 0 -type f -exec sha1sum -z -- {} +
"""
_EXISTING = r"""find -L "$@" -maxdepth 0 '(' -type f -o -type d ')' -print0 2>/dev/null |
    xargs -0 -r sh -c {look} sh
""".replace("{look}", shlex.quote(_LOOK))


def _each(asks: str, script: str) -> str:
    """Run a script over the items that were given with one of these letters."""
    return f"ah_pick '[{asks}]' \"$@\" | xargs -0 -r sh -c {shlex.quote(script)} sh\n"


_INNER = (
    "ah_pick() { ah_w=$1; shift; for ah_a; do case $ah_a in $ah_w*) printf '%s\\0' \"${ah_a#?}\" ;; esac; done; }\n"
    + _each("t", _TREE)
    + _each("l", _LIST)
    + _each("btscdlk", _EXISTING)
    + _each("k", _SUMS)
    + _each("c", _CONTENTS.replace("@MOST@", str(CONTENTS_BYTES)))
    + _each("d", _CONTENTS.replace("@MOST@", str(DOCUMENT_BYTES)))
)
