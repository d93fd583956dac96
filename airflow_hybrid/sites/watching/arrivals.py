# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which files of a watch are complete, and have not been told of yet. Pure: time is given."""

from __future__ import annotations

import base64
import hashlib
import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.sites.watching.looking import MOST_FILES, SeenFile
from airflow_hybrid.sites.watching.patterns import NAME

VERSION = 1
MOST_NOTED = MOST_FILES
"""files that are remembered. They are those that are there, and the newest of those that have gone"""
_DIGEST_BYTES = 9
_DIGEST_LETTERS = 12


@dataclass(frozen=True)
class Completeness:
    """When a file is complete.

    :ivar settle_s: how long it must not have changed.
    :ivar marker: the name of a file beside it that says so (with ``{name}`` for its own name), in place of a time.
    """

    settle_s: float
    marker: str | None = None


def digest_of(file: SeenFile) -> str:
    """What tells a file from all others, and from what it was before: path, time, size and inode."""
    text = f"{file.mtime}\0{file.size}\0{file.inode}\0".encode() + os.fsencode(file.path)
    return base64.urlsafe_b64encode(hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest()).decode()


class Arrivals:
    """The files of one watch.

    ``told`` are the files that events were made of; ``noted`` those whose events are known to be in Airflow's database,
    and which survive this process (:meth:`to_json`).

    :param existing: whether files count that were there when the watch began.
    """

    def __init__(self, rule: Completeness, *, existing: bool) -> None:
        self._rule = rule
        self._existing = existing
        self._since: dict[SeenFile, float] = {}
        self._told: set[str] = set()
        self._noted: dict[str, None] = {}
        self._began = False
        self.changed = False
        """whether there is something to be written down"""

    def resume(self, value: Any) -> None:
        """Go on with what an earlier process has written down; another value is none."""
        if not isinstance(value, Mapping) or value.get("version") != VERSION or not isinstance(value.get("files"), str):
            return
        text = value["files"]
        digests = [text[start : start + _DIGEST_LETTERS] for start in range(0, len(text), _DIGEST_LETTERS)]
        self._noted.update(dict.fromkeys(digests))
        self._told.update(digests)
        self._began = True

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, "files": "".join(self._noted)}

    def look(self, files: Sequence[SeenFile], markers: Sequence[SeenFile], now: float) -> list[SeenFile]:
        """Take in what a look saw; the files that are complete, and of which nobody has been told."""
        present = {digest_of(file): file for file in files}
        if not self._began:
            self._began = self.changed = True
            if not self._existing:
                self._told.update(present)
                self._note(present)
        self._since = {file: self._since.get(file, now) for file in files}
        marked = {marker.path for marker in markers}
        new = [file for digest, file in present.items() if digest not in self._told]
        self._forget(present)
        return [file for file in new if self._is_complete(file, marked, now)]

    def _is_complete(self, file: SeenFile, marked: set[str], now: float) -> bool:
        if self._rule.marker is None:
            return now - self._since[file] >= self._rule.settle_s
        if file.path in marked:
            return False  # a pattern for all files matches markers, too
        folder, name = posixpath.split(file.path)
        return posixpath.join(folder, self._rule.marker.replace(NAME, name)) in marked

    def tell(self, file: SeenFile) -> bool:
        """Note that an event is made of a file; False: one was made already."""
        digest = digest_of(file)
        if digest in self._told:
            return False
        self._told.add(digest)
        return True

    def note(self, files: Iterable[SeenFile]) -> None:
        """Note that the events of these files are in Airflow's database."""
        self._note(digest_of(file) for file in files)

    def _note(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._noted[digest] = None
            self.changed = True

    def _forget(self, present: Mapping[str, SeenFile]) -> None:
        """Forget the oldest of those that have gone, if there are too many."""
        gone = [digest for digest in self._noted if digest not in present]
        for digest in gone[: max(0, len(self._noted) - MOST_NOTED)]:
            del self._noted[digest]
            self._told.discard(digest)
            self.changed = True
