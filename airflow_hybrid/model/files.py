# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files: the locations of their copies, what a probe saw, and how they were transferred."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_hybrid.model.locations import FILES, Location, scheme_of
from airflow_hybrid.model.values import (
    LOCAL_DEPLOYMENT,
    LOCAL_LOCATION,
    SCHEME,
    JsonValue,
    percent_encoded,
)


@dataclass(frozen=True)
class FileRef:
    """Where one copy (replica) of a file or directory is: deployment, location, absolute path.

    As a URI: ``hybrid://<deployment>/<location><absolute path>``, percent-encoded; the files of this machine
    are plain ``file:///absolute/path``. :class:`Location` parses both.
    """

    deployment: str
    location: str
    path: str

    @property
    def uri(self) -> str:
        if self.deployment == LOCAL_DEPLOYMENT:
            return "file://" + percent_encoded(self.path)
        site = f"{percent_encoded(self.deployment, safe='')}/{percent_encoded(self.location, safe='')}"
        return f"{SCHEME}://{site}{percent_encoded(self.path)}"

    @classmethod
    def parse(cls, uri: str) -> FileRef:
        """Parse a ``hybrid:`` or ``file:`` URI.

        :raises ValueError: another scheme, no location, or a path that is not absolute and normal
            (``..`` and doubled slashes are refused: a URI from an XCom is input to be checked, not truth).
        """
        if scheme_of(uri) not in FILES:
            raise ValueError(f"not a {SCHEME}: or file: URI: {uri!r}")
        location = Location.parse(uri)
        if location.scheme == "file":
            return cls(LOCAL_DEPLOYMENT, LOCAL_LOCATION, location.path)
        return cls(location.host, location.site, location.path)

    @classmethod
    def of(cls, uri: str) -> FileRef | None:
        """The same for any location; None for other schemes (http ...).

        :raises ValueError: as :meth:`parse`.
        """
        return cls.parse(uri) if scheme_of(uri) in FILES else None


@dataclass(frozen=True)
class FileFact:
    """What a probe saw at a path: kind ``f`` (file), ``d`` (directory) or ``?`` (neither, or not there)."""

    kind: str
    size: int = 0
    checksum: str | None = None
    """``sha1$<hex>``; None if not asked for"""
    realpath: str | None = None
    """set when the path, or a part of it below the probed folder, is a symbolic link"""
    special: str = ""
    """for anything else than files and directories, as in find(1): ``p`` FIFO, ``s`` socket, ``b`` and ``c`` devices"""
    mtime: float | None = field(default=None, compare=False)
    """last change of its content, in seconds since the epoch by the clock of its file system"""
    ctime: float | None = field(default=None, compare=False)
    """last change of its content, times, mode, owner or names; nobody can set it back"""
    executable: bool = field(default=False, compare=False)
    """whether its owner may execute it (files only)"""

    def looks_like(self, other: FileFact) -> bool:
        """Whether both may describe the same content: nothing was written in between, as far as one can see."""
        return (self.kind, self.size, self.ctime) == (other.kind, other.size, other.ctime)


SPECIAL = {"p": "a FIFO", "s": "a socket", "b": "a device", "c": "a device"}
"""words for :attr:`FileFact.special`"""


@dataclass(frozen=True)
class Question:
    """One question to a location's file system.

    :ivar ask: ``stat``, ``contents`` (its beginning, as for loadContents), ``document`` (all of it), ``list`` or
        ``checksum``.
    :ivar root: for ``contents`` and ``document`` of a job's own file: a folder above the file. The path is the file's
        real path, which was checked before; below the root no link is followed. ``""``: the path is an input's, and
        links are followed.
    """

    ask: str
    path: str
    root: str = ""


class FactsNeeded(Exception):  # noqa: N818 - not an error: a request for a probe
    """Raised while a job is built or collected if the known facts do not answer a question.

    The caller gathers the questions of a whole batch, asks them in one probe, and tries again.
    """

    def __init__(self, questions: Sequence[Question]) -> None:
        super().__init__(", ".join(f"{q.ask} {q.path}" for q in questions))
        self.questions = tuple(questions)


@dataclass
class SiteFacts:
    """What is known about one location's file system: answers to questions, extended by probes."""

    files: dict[str, FileFact] = field(default_factory=dict)
    listings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    """the first 64 KiB + 1 byte (CWL v1.2 section 5.1.1 allows loadContents up to 64 KiB)"""
    replaced: set[str] = field(default_factory=set)
    """files that were not read because they, or a folder above them, had been replaced by a link"""

    def merge(self, other: SiteFacts) -> None:
        """Add the answers of another probe; a known checksum stays if it was not asked for again and nothing shows that
        the file was changed since.
        """
        for path, fact in other.files.items():
            known = self.files.get(path)
            if known is not None and fact.checksum is None and known.looks_like(fact):
                fact = replace(fact, checksum=known.checksum)
            self.files[path] = fact
        self.listings.update(other.listings)
        self.contents.update(other.contents)
        self.replaced |= other.replaced

    def forget(self, paths: Collection[str]) -> None:
        """Forget these files and folders, and everything in the folders: a job may have changed them."""
        if not paths:
            return

        def changed(path: str) -> bool:
            while path not in paths and path != "/":
                path = posixpath.dirname(path)
            return path in paths

        self.files = {path: fact for path, fact in self.files.items() if not changed(path)}
        self.listings = {path: names for path, names in self.listings.items() if not changed(path)}
        self.contents = {path: data for path, data in self.contents.items() if not changed(path)}
        self.replaced = {path for path in self.replaced if not changed(path)}


@dataclass(frozen=True)
class LineageEntry:
    """One file or directory that was staged or produced, for placement, provenance and the UI.

    :ivar route: ``in place``, ``link``, ``copy``, ``direct``, ``relay``, ``fetch`` (from the web, by the
        destination itself), ``produced``, or ``reused`` (produced by another run). And ``placed``, for jobs:
        ``source`` is the job (or how many of which step), ``destination`` its task directory, ``bytes`` the amount to
        be moved there, ``note`` the reason of the choice. And ``run again``, for jobs that failed and were submitted
        again by a rule: ``source`` and ``destination`` as before, ``note`` why, and what was changed.
    """

    source: str
    destination: str
    route: str
    bytes: int
    seconds: float
    checksum: str | None = None
    reused: bool = False
    note: str = ""

    def to_json(self) -> JsonValue:
        return dict(vars(self))  # all of its values are plain, and there may be thousands of entries

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LineageEntry:
        return cls(**value)


@dataclass(frozen=True)
class Transfer:
    """Files that were moved from one site to another by one route.

    :ivar source: and ``target``: names of deployments; ``local`` is the machine of Airflow's workers, and the host of a
        web address is its source.
    :ivar route: ``direct``, ``relay``, ``fetch``, ``copy``, ``link``, ``in place``.
    :ivar seconds: the sum over all files: files that were moved at the same time count several times.
    :ivar task_ids: of the tasks that moved them.
    """

    source: str
    target: str
    route: str
    files: int
    bytes: int
    seconds: float
    task_ids: tuple[str, ...] = ()


MOST_ENTRIES = 100
PLACED = "placed"
RESUBMITTED = "run again"
ROUTES_OF_JOBS = frozenset({PLACED, RESUBMITTED})
"""no routes of files: entries about jobs"""
ROUTES_OF_OUTPUTS = frozenset({"produced", "reused"})
ROUTES = frozenset({"in place", "link", "copy", "direct", "relay", "fetch"}) | ROUTES_OF_OUTPUTS
"""all routes of files"""


def counted(entries: Sequence[LineageEntry], routes: Collection[str]) -> list[LineageEntry]:
    """The lineage with a single entry for each of ``routes``, from one site to another, that has more than
    :data:`MOST_ENTRIES`.

    For files that the task's ``return_value`` already lists with their locations and checksums: thousands of them need
    not be in two XComs. The entry names their common folders, with the sum of their bytes.
    """
    alike: dict[tuple[str, str, str, bool], list[LineageEntry]] = {}
    for entry in entries:
        key = (entry.route, _place_of(entry.source), _place_of(entry.destination), entry.reused)
        alike.setdefault(key, []).append(entry)
    shortened: list[LineageEntry] = []
    for (route, *_, reused), some in alike.items():
        if route not in routes or len(some) <= MOST_ENTRIES:
            shortened.extend(some)
            continue
        source, destination = (
            posixpath.commonprefix(uris).rpartition("/")[0] + "/"
            for uris in ([entry.source for entry in some], [entry.destination for entry in some])
        )
        words = ", which the task's return_value lists" if route in ROUTES_OF_OUTPUTS else ""
        note = f"{len(some)} files and directories{words}"
        size, seconds = sum(entry.bytes for entry in some), sum(entry.seconds for entry in some)
        shortened.append(LineageEntry(source, destination, route, size, seconds, reused=reused, note=note))
    return shortened


def _place_of(uri: str) -> str:
    """A URI's scheme and host; ``""`` for a plain path."""
    return "" if uri.startswith("/") else "/".join(uri.split("/", 3)[:3])
