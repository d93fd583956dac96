# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether files that are where they are needed are still what was recorded of them.

Sizes are always compared. Small files are read, and compared by their checksums. A large file is read only where its
time says that it was written after it was finished: an output after the last job of its batch had ended, a copy in the
store after it had got its name. The time of its last change of any kind (ctime) counts, too, as that of its content can
be set back (``touch -d``); another link to it, or another mode, makes it be read and is no fault. A folder of outputs
has no checksum: nothing in it may be newer than that.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid import shell_text
from airflow_hybrid.errors import CommandError
from airflow_hybrid.model import FileFact, Question
from airflow_hybrid.sites.files.store import STORE, sha1_of
from airflow_hybrid.sites.hosts.base import PATH_BYTES, Command, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.hosts.job_folders import job_directory_of, producer_of
from airflow_hybrid.sites.hosts.joining import run_joined
from airflow_hybrid.sites.hosts.probing import probe

GONE = "is not there any more"
A_LINK = "is not used: a link is in its place, or in that of a folder above it"
SMALL_BYTES = 1 << 20
"""files up to this size are read whenever they are used"""
MOST_READ_BYTES = 256 << 20
"""of small files, for one batch of jobs; the others are judged as large ones"""
LOOK_TIMEOUT_S = 600.0
NAMING_S = 1.0
"""how much later than it was finished a file may still have got its name, which changes its ctime and not its mtime"""


@dataclass(frozen=True)
class Recorded:
    """What is known of a file or directory that is used where it is.

    :ivar path: absolute, at the location.
    :ivar kind: ``f`` or ``d``.
    :ivar size: bytes; None if nobody has recorded it, as for ``checksum`` (``sha1$<hex>``).
    """

    path: str
    kind: str
    size: int | None = None
    checksum: str | None = None

    @property
    def finished(self) -> str | None:
        """The folder whose time says when it was finished: its last entry was made after that."""
        job = job_directory_of(self.path)
        if job is not None:
            return f"{posixpath.dirname(job)}/ec"
        parts = self.path.split("/")
        in_store = len(parts) > 4 and parts[-4] == STORE
        return posixpath.dirname(self.path) if in_store else None


async def differences(host: Host, recorded: Sequence[Recorded], since: float | None = None) -> dict[str, str]:
    """What is wrong at a location, by path, in words: ``is not there any more``, ``was changed ...``.

    One command, and a second one where something has to be read because of its time or is a folder.

    :param since: when the run began, in seconds since the epoch: a large file that no job of ours made is read if it
        was written after that.
    :raises SiteError: the location cannot be asked.
    """
    by_path = {item.path: item for item in recorded}
    small = _small(list(by_path.values()))
    references = {item.finished for item in by_path.values() if item.finished is not None}
    questions = [Question("stat", path) for path in [*by_path, *references]]
    seen = await probe.facts(host, [*questions, *(Question("checksum", path) for path in small)], bases=_bases(by_path))
    found: dict[str, str] = {}
    suspects: list[str] = []
    folders: list[Recorded] = []
    for path, item in by_path.items():
        fact = seen.files[path]
        problem = _difference(item, fact)
        if problem:
            found[path] = problem
        elif item.kind == "d" and item.finished is not None:
            folders.append(item)
        elif sha1_of(item.checksum) and fact.checksum is None and _is_late(item, seen.files, since):
            suspects.append(path)
    if suspects:
        read = await probe.facts(host, [Question("checksum", path) for path in suspects])
        problems = {path: _difference(by_path[path], read.files[path]) for path in suspects}
        found.update({path: problem for path, problem in problems.items() if problem})
    if folders:
        found.update(await _late_entries(host, folders))
    return found


def _bases(paths: Iterable[str]) -> list[str]:
    """The batches that made files: a path below them that is written otherwise in its real path is behind a link."""
    jobs = {job_directory_of(path) for path in paths}
    return sorted({posixpath.dirname(job) for job in jobs if job is not None})


def _small(recorded: Sequence[Recorded]) -> list[str]:
    """Paths of files that are read whatever their time says."""
    left = MOST_READ_BYTES
    found = []
    for item in recorded:
        if sha1_of(item.checksum) is None or item.size is None or item.size > min(SMALL_BYTES, left):
            continue
        left -= item.size
        found.append(item.path)
    return found


def _difference(item: Recorded, fact: FileFact) -> str:
    if fact.kind == "?":
        return GONE
    if job_directory_of(item.path) is not None and fact.realpath not in (None, item.path):
        return A_LINK
    if fact.kind != item.kind:
        return "is a directory, not a file" if fact.kind == "d" else "is a file, not a directory"
    if item.kind == "f" and item.size is not None and fact.size != item.size:
        return f"{_changed(item)}: it has {fact.size} bytes, not {item.size}"
    if fact.checksum is not None and sha1_of(item.checksum) and fact.checksum != item.checksum:
        return f"{_changed(item)}: its checksum is {fact.checksum}, not {item.checksum}"
    return ""


def _changed(item: Recorded) -> str:
    return f"was changed after it was {'produced' if producer_of(item.path) else 'taken as an input of the run'}"


def _is_late(item: Recorded, files: Mapping[str, FileFact], since: float | None) -> bool:
    """Whether a file was written, or touched in any way, later than it should be, or nobody knows."""
    finished = since if item.finished is None else files[item.finished].mtime
    fact = files[item.path]
    if fact.mtime is None or fact.ctime is None or finished is None:
        return True
    return fact.mtime > finished or fact.ctime > finished + NAMING_S


async def _late_entries(host: Host, folders: Sequence[Recorded]) -> dict[str, str]:
    """Folders with an entry that is newer than the folder is finished."""
    calls = "\n".join(f"ah_look {shlex.quote(item.path)} {shlex.quote(item.finished or '')}" for item in folders)
    text = f"{shell_text.load(__package__, 'late.sh')}{calls}\n"
    with answers_up_to(answer_bytes(len(folders), PATH_BYTES)):
        answer = await run_joined(host, "probe", Command(text, None, LOOK_TIMEOUT_S, "look at folders of outputs"))
    late = answer.out.split("\0")[:-1]
    if answer.exit_code != 0 or len(late) != len(folders):
        problem = f"the look at folders of outputs was not answered ({len(late)} of {len(folders)})"
        raise CommandError(problem, answer.end)
    return {
        item.path: f"was changed after it was produced: {entry[1:]} is newer than its job"
        for item, entry in zip(folders, late, strict=True)
        if entry
    }
