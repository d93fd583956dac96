# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which files of a job's outputs have checkpoints, and what is known of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.model import FileRef, JsonValue, SiteFacts
from airflow_hybrid.model.walking import files
from airflow_hybrid.sites.files.store import executables_word, sha1_of, store_path
from airflow_hybrid.sites.hosts.job_folders import job_directory_of

_BOTH = ("x", "")
_NAME = "content"
"""the name of every copy: files of the same content are one, whatever their names are"""


@dataclass(frozen=True)
class Original:
    """A File or Directory that a job has made.

    :ivar file: its object; ``ref``: where it is.
    :ivar words: what its name in a store may end in: whether it is executable is part of what is the same content.
        Several: it is not known, as the file is gone.
    """

    file: Mapping[str, Any]
    ref: FileRef
    words: tuple[str, ...] = _BOTH

    @classmethod
    def of(cls, file: Mapping[str, Any], words: tuple[str, ...] = _BOTH) -> Original | None:
        """None: it is no output of a job, or nothing is known that its copy could be compared with.

        What a task has published is not trusted: whatever it says, nothing outside of jobs' outputs is put back.
        """
        try:
            ref = FileRef.of(str(file.get("location", "")))
        except ValueError:
            return None
        if ref is None or job_directory_of(ref.path) is None:
            return None
        is_folder = file.get("class") == "Directory"
        if not is_folder and sha1_of(file.get("checksum")) is None:
            return None
        return cls(file, ref, ("",) if is_folder else words)

    @property
    def kind(self) -> str:
        """``f`` or ``d``."""
        return "d" if self.file.get("class") == "Directory" else "f"

    def paths(self, root: str) -> list[str]:
        """Where its copy may be in a store, which is a function of its content; of a folder, of its location.

        :param root: the folder of the store.
        """
        # the listing of a folder need not be complete
        described = {**{key: value for key, value in self.file.items() if key != "listing"}, "basename": _NAME}
        return [store_path(root, described, word) for word in self.words]


@dataclass(frozen=True)
class Member:
    """A file of a copy, or a folder as a whole.

    :ivar name: its path in the original; empty: it is the original.
    :ivar source: where it is; ``size`` and ``checksum`` (None: not known) are what it must have.
    :ivar executable: whether it has to be made executable: a URL has no such mark.
    """

    name: str
    source: str
    size: int | None = None
    checksum: str | None = None
    executable: bool = False


@dataclass(frozen=True)
class Copy:
    """A copy of an original.

    :ivar folders: paths of folders in it, of which some may be empty.
    """

    members: tuple[Member, ...]
    folders: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where it is, for people."""
        return self.members[0].source if self.members else ""


def originals_of(value: JsonValue, folder: str, facts: SiteFacts) -> list[Original]:
    """The files and folders in a value of a job that the job has made itself, and not passed on.

    :param folder: the job's output folder; ``facts``: what was seen there when the outputs were collected.
    """
    originals: dict[str, Original] = {}
    for file in files(value, skip=_is_in_folder):
        original = Original.of(file)
        if original is None or not original.ref.path.startswith(f"{folder}/"):
            continue
        fact = facts.files.get(original.ref.path)
        if original.kind == "f" and fact is not None:
            original = Original(file, original.ref, (executables_word([""] if fact.executable else None),))
        originals[original.ref.uri] = original
    return list(originals.values())


def lost_originals(value: JsonValue, uris: Collection[str]) -> dict[str, Original]:
    """The originals that have to be put back so that some lost files are there again, by the files' URIs.

    :param value: which the task that made them has published. A file in a folder comes with the whole folder.
    """
    there = {original.ref.uri: original for original in _originals(value)}
    folders = [original for original in there.values() if original.kind == "d"]
    found: dict[str, Original] = {}
    for uri in uris:
        around = (folder for folder in folders if uri.startswith(f"{folder.ref.uri}/"))
        original = there.get(uri) or next(around, None)
        if original is not None:
            found[uri] = original
    return found


def _originals(value: JsonValue) -> Iterator[Original]:
    for file in files(value, skip=_is_in_folder):
        original = Original.of(file)
        if original is not None:
            yield original


def _is_in_folder(item: Mapping[str, Any], key: str) -> bool:
    """Whether an object is a member of a folder that is copied as a whole."""
    return key == "listing" and item.get("class") == "Directory" and "location" in item
