# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The files of a batch directory that are sent with its submit command: one tar stream. Pure."""

from __future__ import annotations

import gzip
import io
import json
import posixpath
import tarfile
import time
from collections.abc import Iterator, Sequence

from airflow_hybrid.model import JobScript, StageEntry
from airflow_hybrid.schedulers.base import Scheduler, Submission
from airflow_hybrid.sites.batches.directory import Batch, description
from airflow_hybrid.sites.batches.runner import runner
from airflow_hybrid.sites.batches.script import SHARD, job_function

GZIP_FROM_BYTES = 256 << 10


def archive(batch: Batch, scheduler: Scheduler, sub: Submission) -> bytes:
    """One tar stream with everything that is created at the location, relative to the batch directory.

    Copies, and what is put into them, cannot be sent: the job makes them when it starts.

    :raises ValueError: a stage entry is outside of the batch directory.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        members = _Members(tar)
        functions = [_add_job(members, batch, index) for index in range(len(batch.jobs))]
        for shard in range(0, len(functions), SHARD):
            members.file(f"jobs.{shard // SHARD}.sh", _bytes("".join(functions[shard : shard + SHARD])))
        for name, text in scheduler.scripts(sub).items():
            members.file(name, _bytes(text), executable=True)
        text = runner(batch.directory, len(batch.jobs), sub.pack_s, scheduler.runner_tail(sub))
        members.file("runner.sh", _bytes(text), executable=True)
        members.file("disk", b"room\n")  # overwritten in place when the disk is full, which needs no space
        described = json.dumps(description(batch, sub.max_array).to_json(), separators=(",", ":"))
        members.file("meta.json", described.encode())
        # the last member: if it is missing, the stream was cut off
        members.file("manifest", "".join(f"{key}\n" for key in batch.keys).encode())
    stream = buffer.getvalue()
    return gzip.compress(stream, 1) if len(stream) > GZIP_FROM_BYTES else stream


class _Members:
    """Puts members into a tar stream, by their paths relative to the batch directory."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._now = int(time.time())

    def file(self, name: str, content: bytes, *, executable: bool = False) -> None:
        member = self._member(name, tarfile.REGTYPE, 0o755 if executable else 0o644)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content) if content else None)

    def folder(self, name: str) -> None:
        self._tar.addfile(self._member(name, tarfile.DIRTYPE, 0o755))

    def link(self, name: str, source: str) -> None:
        member = self._member(name, tarfile.SYMTYPE, 0o644)
        member.linkname = source
        self._tar.addfile(member)

    def _member(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        member = tarfile.TarInfo(f"./{name}")
        member.type, member.mode, member.mtime = kind, mode, self._now
        return member


def _add_job(members: _Members, batch: Batch, index: int) -> str:
    """Put the files of a job into the archive; -> its shell function, which makes everything else."""
    key, job = batch.keys[index], batch.jobs[index]
    early, late = _split(job.stage)
    for entry in early:
        _add_entry(members, batch, entry)
    literals: list[str] = []
    for entry in late:
        _relative(batch, entry.target)
        if entry.kind == "file":
            name = f"{key}/literal.{len(literals)}"
            literals.append(f"{batch.directory}/{name}")
            members.file(name, entry.text or b"")
    _add_stream_folders(members, batch, job)
    return job_function(index, job, late, literals)


def _add_entry(members: _Members, batch: Batch, entry: StageEntry) -> None:
    name = _relative(batch, entry.target)
    if entry.kind == "mkdir":
        members.folder(name)
    elif entry.kind == "link":
        members.link(name, entry.source or "")
    else:
        members.file(name, entry.text or b"", executable=entry.executable)


def _add_stream_folders(members: _Members, batch: Batch, job: JobScript) -> None:
    """Folders for a job's stdout and stderr, if these are not in the output directory itself."""
    for path in (job.stdout, job.stderr):
        if path and "/" in path.lstrip("/"):
            members.folder(_relative(batch, posixpath.dirname(posixpath.join(job.outdir, path))))


def _split(stage: Sequence[StageEntry]) -> tuple[list[StageEntry], list[StageEntry]]:
    """What is sent, and what the job makes when it starts (copies, and what is put into them)."""
    early: list[StageEntry] = []
    late: list[StageEntry] = []
    made_late: set[str] = set()
    for entry in stage:
        if entry.kind == "copy" or not made_late.isdisjoint(_with_parents(entry.target)):
            late.append(entry)
            made_late.add(entry.target)
        else:
            early.append(entry)
    return early, late


def _with_parents(path: str) -> Iterator[str]:
    """A path and the folders above it, as they are written."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _relative(batch: Batch, path: str) -> str:
    path = posixpath.normpath(path)
    if not path.startswith(f"{batch.directory}/"):
        raise ValueError(f"{path!r} is outside of the batch directory {batch.directory!r}")
    return path[len(batch.directory) + 1 :]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
