# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Checkpoints in an object store, through Airflow's object storage.

``<url>/store/<xx>/<digest>/content`` is a file, by its content; of a folder it lists the members, each of which is such
a file itself. ``<url>/until/<xx>/<digest>`` says how long that is kept, and that it is ours. Only this machine has the
Connections of stores, so files go through a temporary folder of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import posixpath
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

from airflow_hybrid import settings
from airflow_hybrid.engine.checkpoints.originals import Copy, Member, Original
from airflow_hybrid.errors import TransferError
from airflow_hybrid.model import LineageEntry
from airflow_hybrid.printable import redacted
from airflow_hybrid.removal.here import make_folder, remove_folder
from airflow_hybrid.sites.files.mover import DataMover, StageRequest
from airflow_hybrid.sites.files.objects import object_at
from airflow_hybrid.sites.files.store import sha1_of
from airflow_hybrid.sites.hosts.local import LocalHost

T = TypeVar("T")
R = TypeVar("R")
MOST_AT_ONCE, MOST_BYTES_AT_ONCE = 500, 1 << 30
"""files that are in the temporary folder at a time, and their bytes; a larger file is there alone"""
MOST_LISTED_BYTES = 64 << 20
"""bytes of the list of a folder"""
_OURS = "airflow_hybrid checkpoint"
_HINT = "see the object store's Connection"


@dataclass(frozen=True)
class ObjectStore:
    """The checkpoints below a URL of an object store."""

    url: str

    @property
    def title(self) -> str:
        """For messages."""
        return redacted(self.url)

    # --- keeping ----------------------------------------------------------------------------------------------------

    async def keep(self, originals: Sequence[Original], mover: DataMover, expire_s: float | None) -> list[LineageEntry]:
        """Send what is not there yet, and note until when it is kept; -> an entry for each original.

        :raises SiteError: something could not be sent.
        """
        until = None if expire_s is None else time.time() + expire_s
        by_path = {original.paths(self.url)[0]: original for original in originals}
        # before it is looked what is there: a cleanup could remove just that meanwhile
        await self._each(lambda path: self._note(path, until), list(by_path))
        there = await self._each(self._is_there, list(by_path.items()))
        missing = [original for original, known in zip(by_path.values(), there, strict=True) if not known]
        sent: dict[str, LineageEntry] = {}
        for some in _portions(missing):
            sent.update(await self._send(some, mover, until))
        entries = []
        for original in originals:
            entry = sent.pop(original.ref.uri, None)  # of several with the same content, one was sent
            size = int(original.file.get("size") or 0)
            path = redacted(original.paths(self.url)[0])
            entries.append(entry or LineageEntry(original.ref.uri, path, "in place", size, 0.0, reused=True))
        return entries

    def _is_there(self, known: tuple[str, Original]) -> bool:
        path, original = known
        content = object_at(path)
        if not content.exists():
            return False
        return original.kind == "d" or content.stat()["size"] == original.file.get("size")

    async def _send(
        self, originals: Sequence[Original], mover: DataMover, until: float | None
    ) -> dict[str, LineageEntry]:
        """Bring files here, and send them; -> entries by the URIs of the originals."""
        folder = await asyncio.to_thread(make_folder, tempfile.gettempdir(), "airflow_hybrid_checkpoints_")
        host = LocalHost()
        try:
            requests = [
                StageRequest.of(original.file, host, str(folder / str(number)))
                for number, original in enumerate(originals)
            ]
            here = await mover.stage(requests)

            def send(number: int) -> LineageEntry:
                return self._send_one(originals[number], here[number], requests[number].path, until)

            entries = await self._each(send, range(len(originals)))
        finally:
            await asyncio.to_thread(remove_folder, folder)
        return {original.ref.uri: entry for original, entry in zip(originals, entries, strict=True)}

    def _send_one(self, original: Original, here: LineageEntry, path: str, until: float | None) -> LineageEntry:
        began = time.monotonic()
        target = original.paths(self.url)[0]
        if original.kind == "f":
            size = _put(path, target, str(original.file["checksum"]))
        else:
            size = self._send_folder(path, target, until)
        seconds = round(here.seconds + time.monotonic() - began, 3)
        return LineageEntry(original.ref.uri, redacted(target), "relay", size, seconds, here.checksum)

    def _send_folder(self, folder: str, target: str, until: float | None) -> int:
        """Send the members of a folder, and then their list."""
        listed: dict[str, Any] = {"folders": [], "files": []}
        total = 0
        for above, folders, names in os.walk(folder):
            for name in sorted(folders):
                listed["folders"].append(os.path.relpath(os.path.join(above, name), folder))
            for name in sorted(names):
                path = os.path.join(above, name)
                digest, size = _digest(path)
                executable = bool(os.stat(path).st_mode & 0o100)
                content = posixpath.join(self.url, "store", digest[:2], digest, "content")
                self._note(content, until)
                known = object_at(content)
                if not known.exists() or known.stat()["size"] != size:
                    _put(path, content, f"sha1${digest}")
                listed["files"].append([os.path.relpath(path, folder), digest, size, executable])
                total += size
        _write(target, json.dumps(listed).encode())
        return total

    def _note(self, path: str, until: float | None) -> None:
        """Note until when a content is kept; never to an earlier time than before."""
        note = _note_of(path)
        known = read_note(note)
        if known is not None and (known.until is None or (until is not None and known.until >= until)):
            return
        _write(note, json.dumps({"what": _OURS, "until": until}).encode())

    # --- putting back -----------------------------------------------------------------------------------------------

    async def copies(self, originals: Sequence[Original]) -> dict[str, Copy]:
        """The copies that are there, by the URIs of their originals; contents are compared when they arrive.

        :raises SiteError: the store does not answer.
        """
        found = await self._each(self._copy_of, originals)
        return {original.ref.uri: copy for original, copy in zip(originals, found, strict=True) if copy is not None}

    def _copy_of(self, original: Original) -> Copy | None:
        for path, word in zip(original.paths(self.url), original.words, strict=True):
            if not self._is_there((path, original)):
                continue
            if original.kind == "d":
                return self._folder(path)
            file = original.file
            return Copy((Member("", _location(path), file.get("size"), file.get("checksum"), executable=word == "x"),))
        return None

    def _folder(self, path: str) -> Copy | None:
        """What is in a folder, as its list says; None: it is no such list."""
        with object_at(path).open("rb") as file:
            text = file.read(MOST_LISTED_BYTES + 1)
        try:
            listed = json.loads(text)
            members = tuple(
                Member(
                    _inner(name), _location(posixpath.join(self.url, "store", digest[:2], digest, "content")),
                    int(size), f"sha1${digest}", executable=bool(executable),
                )
                for name, digest, size, executable in map(_listed, listed["files"])
            )  # fmt: skip
            return Copy(members, tuple(_inner(name) for name in listed["folders"]))
        except (ValueError, TypeError, KeyError):
            return None

    # --- expiry -----------------------------------------------------------------------------------------------------

    async def expired(self) -> list[str]:
        """Names (``ab/abc...``) of the contents whose time is over; those without a note of ours are none.

        :raises SiteError: the store does not answer.
        """
        names = (await self._each(lambda url: list(_names(url)), [f"{self.url}/until"]))[0]
        notes = await self._each(lambda name: read_note(f"{self.url}/until/{name}"), names)
        now = time.time()
        return [
            name
            for name, note in zip(names, notes, strict=True)
            if note is not None and note.until is not None and note.until < now
        ]

    async def remove(self, names: Sequence[str]) -> None:
        """:raises SiteError: something could not be removed; the rest was."""
        await self._each(self._remove, names)

    def _remove(self, name: str) -> None:
        note = read_note(f"{self.url}/until/{name}")
        if note is None or note.until is None or note.until >= time.time():
            return  # a run has found it since it was looked
        # the note is the last, so that a removal can be completed later
        for path in (f"{self.url}/store/{name}/content", f"{self.url}/until/{name}"):
            object_at(path).unlink(missing_ok=True)

    # --- all at once ------------------------------------------------------------------------------------------------

    async def _each(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Do something for each item in threads, some at a time.

        :raises TransferError: the store refuses; the others were tried, too.
        """
        turns = asyncio.Semaphore(settings.current().transfers_at_a_time)

        async def one(item: T) -> R:
            async with turns:
                try:
                    return await asyncio.to_thread(function, item)
                except TransferError:
                    raise
                except Exception as error:  # whatever the store's library raises
                    raise TransferError(f"{self.title}: {type(error).__name__}: {error}", hint=_HINT) from error

        results = await asyncio.gather(*map(one, items), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return cast("list[R]", results)


@dataclass(frozen=True)
class Note:
    """Until when a content is kept, in seconds since the epoch; None: for good."""

    until: float | None


def read_note(path: str) -> Note | None:
    """The note at a path; None: there is none of ours."""
    note = object_at(path)
    if not note.exists():
        return None
    with note.open("rb") as file:
        text = file.read(1 << 10)
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.get("what") != _OURS:
        return None
    until = value.get("until")
    return Note(float(until) if isinstance(until, int | float) else None)


def _names(url: str) -> Iterator[str]:
    """Names of the notes below a URL."""
    above = object_at(url)
    for start in above.iterdir() if above.exists() else ():
        for note in start.iterdir() if start.is_dir() else ():
            yield f"{start.name}/{note.name}"


def _note_of(path: str) -> str:
    """The note about the content at ``<url>/store/<xx>/<digest>/content``."""
    above, digest, _ = path.rsplit("/", 2)
    store, start = above.rsplit("/", 1)
    return posixpath.join(posixpath.dirname(store), "until", start, digest)


def _location(path: str) -> str:
    """Locations are percent-encoded; keys of objects are not."""
    return quote(path, safe="/:@")


def _listed(entry: Any) -> tuple[Any, str, Any, Any]:
    """A file in the list of a folder.

    :raises ValueError: it does not name the content of a file.
    """
    name, digest, size, executable = entry
    if sha1_of(f"sha1${digest}") is None:
        raise ValueError(f"no digest: {digest!r}")
    return name, digest, size, executable


def _inner(name: Any) -> str:
    """:raises ValueError: it is no path below a folder."""
    if not isinstance(name, str) or "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"no path in a folder: {name!r}")
    return name


def _digest(path: str) -> tuple[str, int]:
    """SHA-1 and size of a file."""
    digest, size = hashlib.sha1(usedforsecurity=False), 0
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
            size += len(data)
    return digest.hexdigest(), size


def _put(source: str, target: str, checksum: str) -> int:
    """Send a file that has a checksum; -> its size.

    :raises TransferError: it is another one by now, or has not arrived.
    """
    digest, size = _digest(source)
    if f"sha1${digest}" != checksum:
        raise TransferError(f"a copy on its way to {redacted(target)} was changed: it is sha1${digest}, not {checksum}")
    sink = object_at(target)
    sink.parent.mkdir(parents=True, exist_ok=True)
    with Path(source).open("rb") as data, sink.open("wb") as file:
        shutil.copyfileobj(data, file, 1 << 20)
    arrived = object_at(target).stat()["size"]
    if arrived != size:
        raise TransferError(f"{redacted(target)} has {arrived} bytes, not {size}")
    return size


def _write(target: str, data: bytes) -> None:
    sink = object_at(target)
    sink.parent.mkdir(parents=True, exist_ok=True)
    with sink.open("wb") as file:
        file.write(data)


def _portions(originals: Sequence[Original]) -> Iterator[list[Original]]:
    """As many at a time as the temporary folder may hold."""
    portion: list[Original] = []
    size = 0
    for original in originals:
        own = int(original.file.get("size") or 0)
        if portion and (len(portion) >= MOST_AT_ONCE or size + own > MOST_BYTES_AT_ONCE):
            yield portion
            portion, size = [], 0
        portion.append(original)
        size += own
    if portion:
        yield portion
