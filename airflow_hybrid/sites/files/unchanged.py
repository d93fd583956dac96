# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Checks that files that are used in place still match their records.

Sizes are always compared. Small files are read and compared by checksum. A large file is read only if its times show
that it was written after it was finished: an output after the last job of its batch ended, a copy in the store after it
got its name. The ctime counts, too, because the mtime can be set back (``touch -d``); a new link or mode only
causes a read. A folder of outputs has no checksum: nothing in it may be newer than the end of its job, or of the last
job that updated it in place (InplaceUpdateRequirement), which is noted beside it.
"""

from __future__ import annotations

import hashlib
import posixpath
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid import settings, shell_text
from airflow_hybrid.errors import CommandError
from airflow_hybrid.model import FileFact, Question
from airflow_hybrid.sites.files.store import STORE, sha1_of
from airflow_hybrid.sites.hosts.base import PATH_BYTES, Command, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.hosts.job_folders import job_directory_of, producer_of
from airflow_hybrid.sites.hosts.joining import run_joined
from airflow_hybrid.sites.hosts.probing import probe

GONE = "no longer exists"
A_LINK = "is not used: a symbolic link has replaced it or a folder above it"
UPDATED = "was updated in place by another step (InplaceUpdateRequirement) after it was produced"
SMALL_BYTES = 1 << 20
"""files up to this size are read whenever they are used"""
MOST_READ_BYTES = 256 << 20
"""how much is read of small files for one batch of jobs; the others are treated as large files"""
NAMING_S = 1.0
"""how long after it was finished a file may have been renamed, which changes its ctime but not its mtime"""


@dataclass(frozen=True)
class Recorded:
    """The record of a file or directory that is used in place.

    :ivar path: absolute, at the location.
    :ivar kind: ``f`` or ``d``.
    :ivar size: bytes; None if it was not recorded, as for ``checksum`` (``sha1$<hex>``).
    """

    path: str
    kind: str
    size: int | None = None
    checksum: str | None = None

    @property
    def finished(self) -> str | None:
        """The folder whose mtime says when the file was finished: its last entry was made after that."""
        job = job_directory_of(self.path)
        if job is not None:
            return f"{posixpath.dirname(job)}/ec"
        parts = self.path.split("/")
        in_store = len(parts) > 4 and parts[-4] == STORE
        return posixpath.dirname(self.path) if in_store else None

    @property
    def updated(self) -> str | None:
        """The note that a job updated it in place, if there is one; its mtime says when."""
        job = job_directory_of(self.path)
        digest = hashlib.sha1(self.path.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
        return None if job is None else f"{job}/updated-{digest}"


async def differences(host: Host, recorded: Sequence[Recorded], since: float | None = None) -> dict[str, str]:
    """Path -> what is wrong with it: ``no longer exists``, ``was changed ...``.

    One command, and a second one if something has to be read because of its times or is a folder.

    :param since: when the run began, in seconds since the epoch; a large file that was not made by a job of ours is
        read if it was written after that.
    :raises SiteError: the location cannot be asked.
    """
    by_path = {record.path: record for record in recorded}
    small = _small(list(by_path.values()))
    references = {record.finished for record in by_path.values() if record.finished is not None}
    questions = [Question("stat", path) for path in [*by_path, *references]]
    facts = await probe.facts(
        host, [*questions, *(Question("checksum", path) for path in small)], bases=_bases(by_path)
    )
    problems_by_path: dict[str, str] = {}
    suspects: list[str] = []
    folders: list[Recorded] = []
    for path, record in by_path.items():
        fact = facts.files[path]
        problem = _difference(record, fact)
        if problem:
            problems_by_path[path] = problem
        elif record.kind == "d" and record.finished is not None:
            folders.append(record)
        elif sha1_of(record.checksum) and fact.checksum is None and _is_late(record, facts.files, since):
            suspects.append(path)
    if suspects:
        read = await probe.facts(host, [Question("checksum", path) for path in suspects])
        problems = {path: _difference(by_path[path], read.files[path]) for path in suspects}
        problems_by_path.update({path: problem for path, problem in problems.items() if problem})
    if folders:
        problems_by_path.update(await _late_entries(host, folders))
    return await _named_updates(host, by_path, problems_by_path) if problems_by_path else {}


async def note_updates(host: Host, paths: Sequence[str]) -> None:
    """Note that a job, which has ended, has updated files or folders in place; only of those that a job of ours made.

    :raises SiteError: the location cannot be asked, or the note cannot be written.
    """
    notes = [note for path in paths if (note := Recorded(path, "d").updated) is not None]
    if notes:
        stdin = "".join(f"{note}\0" for note in notes).encode(errors="surrogateescape")
        answer = await host.run("xargs -0 -r touch --", stdin=stdin, label="note of updates in place")
        answer.check("cannot note that a job has updated files in place")


async def _named_updates(host: Host, by_path: Mapping[str, Recorded], problems: Mapping[str, str]) -> dict[str, str]:
    """The problems, in other words for files that nobody changed after a job had updated them in place."""
    changed = _changed_words(produced=True)
    notes = {
        path: note
        for path, problem in problems.items()
        if problem.startswith(changed) and by_path[path].kind == "f" and (note := by_path[path].updated) is not None
    }
    seen = (await probe.facts(host, [Question("stat", path) for path in [*notes, *notes.values()]])).files
    worded = dict(problems)
    for path, note in notes.items():
        written, noted = seen[path].mtime, seen[note].mtime
        if written is not None and noted is not None and written <= noted:
            worded[path] = problems[path].replace(changed, UPDATED, 1)
    return worded


def _bases(paths: Iterable[str]) -> list[str]:
    """The batches that made the files: below them, a real path that differs from the path shows a symbolic link."""
    jobs = {job_directory_of(path) for path in paths}
    return sorted({posixpath.dirname(job) for job in jobs if job is not None})


def _small(recorded: Sequence[Recorded]) -> list[str]:
    """Paths of files that are read whatever their times are."""
    left = MOST_READ_BYTES
    paths = []
    for record in recorded:
        if sha1_of(record.checksum) is None or record.size is None or record.size > min(SMALL_BYTES, left):
            continue
        left -= record.size
        paths.append(record.path)
    return paths


def _difference(record: Recorded, fact: FileFact) -> str:
    if fact.kind == "?":
        return GONE
    if job_directory_of(record.path) is not None and fact.realpath not in (None, record.path):
        return A_LINK
    if fact.kind != record.kind:
        return "is a directory, not a file" if fact.kind == "d" else "is a file, not a directory"
    if record.kind == "f" and record.size is not None and fact.size != record.size:
        return f"{_changed(record)}: it has {fact.size} bytes, not {record.size}"
    if fact.checksum is not None and sha1_of(record.checksum) and fact.checksum != record.checksum:
        return f"{_changed(record)}: its checksum is {fact.checksum}, not {record.checksum}"
    return ""


def _changed(record: Recorded) -> str:
    return _changed_words(produced=producer_of(record.path) is not None)


def _changed_words(*, produced: bool) -> str:
    return f"was changed after it was {'produced' if produced else 'taken as an input of the run'}"


def _is_late(record: Recorded, files: Mapping[str, FileFact], since: float | None) -> bool:
    """Whether a file was written or changed after it was finished, or that is unknown."""
    finished = since if record.finished is None else files[record.finished].mtime
    fact = files[record.path]
    if fact.mtime is None or fact.ctime is None or finished is None:
        return True
    return fact.mtime > finished or fact.ctime > finished + NAMING_S


async def _late_entries(host: Host, folders: Sequence[Recorded]) -> dict[str, str]:
    """Folders with an entry that is newer than the end of the folder's job."""
    calls = "\n".join(
        shlex.join(["ah_look", folder.path, folder.finished or "", folder.updated or ""]) for folder in folders
    )
    text = f"{shell_text.load(__package__, 'late.sh')}{calls}\n"
    with answers_up_to(answer_bytes(len(folders), PATH_BYTES)):
        answer = await run_joined(
            host, "probe", Command(text, None, settings.current().look_timeout, "look at folders of outputs")
        )
    late = answer.out.split("\0")[:-1]
    if answer.exit_code != 0 or len(late) != len(folders):
        problem = f"folders of outputs could not be examined ({len(late)} of {len(folders)} answers)"
        raise CommandError(problem, answer.end)
    return {
        folder.path: f"{_changed_words(produced=True)}: {entry[1:]} is newer than its job"
        for folder, entry in zip(folders, late, strict=True)
        if entry
    }
