# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Copy files of this machine into the temporary folder."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import time

from airflow_hybrid.errors import LostDataError, TransferError, may_pass
from airflow_hybrid.model import FileRef, LineageEntry
from airflow_hybrid.sites.files.nofollow import folder_at, opened, opened_at
from airflow_hybrid.sites.hosts.job_folders import job_directory_of
from airflow_hybrid.sites.hosts.other_machines import on_another_machine

_CLEAR = "clear the task that made it to make it again"
Identity = tuple[int, int]
"""device and inode, which identify a folder"""


def copy_file(ref: FileRef, target: str, uri: str, checksum: str | None) -> LineageEntry:
    """Copy a file and compare its checksum.

    :param uri: its final location.
    :raises TransferError: it cannot be read or written, or was changed after it was produced.
    """
    began = time.monotonic()
    digest, size = hashlib.sha1(usedforsecurity=False), 0
    try:
        with opened(ref.path) as number, open(number, "rb", closefd=False) as source, open(target, "xb") as sink:
            while data := source.read(1 << 20):
                digest.update(data)
                size += sink.write(data)
            os.fchmod(sink.fileno(), os.fstat(number).st_mode & 0o777)
    except OSError as error:
        raise _cannot(ref, uri, error) from error
    actual = f"sha1${digest.hexdigest()}"
    if checksum is not None and checksum != actual:
        problem = f"{ref.path} was changed after it was produced: its checksum is {actual}, not {checksum}"
        raise _lost(ref, problem, TransferError(problem, hint=_CLEAR))
    return LineageEntry(ref.uri, uri, "copy", size, time.monotonic() - began, actual)


def copy_folder(ref: FileRef, target: str, uri: str, without: Identity) -> LineageEntry:
    """Copy a folder. Links in a user's own folder are followed. Collected outputs of a job contain no links: a link in
    them was made after they were collected, and is left out.

    :param without: a folder that is left out wherever it appears: the one that outputs go to.
    :raises TransferError: it cannot be read or written.
    """
    began = time.monotonic()
    try:
        if job_directory_of(ref.path) is not None:
            with opened(ref.path, folder=True) as number:
                size = _copy_made(number, ref.path, target)
            return LineageEntry(ref.uri, uri, "copy", size, time.monotonic() - began)
        status = os.stat(ref.path)
        size = _copy_members(ref.path, target, frozenset({without, (status.st_dev, status.st_ino)}))
    except OSError as error:
        raise _cannot(ref, uri, error) from error
    return LineageEntry(ref.uri, uri, "copy", size, time.monotonic() - began)


def _copy_members(source: str, target: str, around: frozenset[Identity]) -> int:
    """:param around: the folders that contain this one; links to them are not followed."""
    size = 0
    os.mkdir(target)
    with os.scandir(source) as entries:
        members = [(entry.name, entry.path) for entry in entries]
    for name, path in members:
        try:
            status = os.stat(path)
        except OSError:
            if os.path.islink(path):
                continue  # a dangling link, or a circle of links
            raise
        identity, copy = (status.st_dev, status.st_ino), os.path.join(target, name)
        if stat.S_ISDIR(status.st_mode):
            if identity not in around:
                size += _copy_members(path, copy, around | {identity})
        elif stat.S_ISREG(status.st_mode):
            shutil.copy(path, copy)
            size += status.st_size
        # opening a FIFO would wait for its other end; the collection of the outputs has warned about it
    return size


def _copy_made(folder: int, source: str, target: str) -> int:
    """Copy the members of a job's open folder, each opened relative to it, without following links."""
    size = 0
    os.mkdir(target)
    for name in sorted(os.listdir(folder)):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        path, copy = os.path.join(source, name), os.path.join(target, name)
        if stat.S_ISDIR(mode):
            inner = folder_at(folder, name, path)
            try:
                size += _copy_made(inner, path, copy)
            finally:
                os.close(inner)
        elif stat.S_ISREG(mode):
            with os.fdopen(opened_at(folder, name, path), "rb") as data, open(copy, "xb") as sink:
                shutil.copyfileobj(data, sink, 1 << 20)
                size += sink.tell()
                os.fchmod(sink.fileno(), stat.S_IMODE(os.fstat(data.fileno()).st_mode) & 0o777)
    return size


def _cannot(ref: FileRef, uri: str, error: OSError) -> TransferError:
    path = ref.path
    elsewhere = on_another_machine(path, path) if error.errno == errno.ENOENT else None
    if elsewhere is not None:
        return LostDataError.of([ref.uri], elsewhere.message, where=elsewhere.where, hint=elsewhere.hint)
    problem = TransferError(
        f"cannot copy {path} to {uri.removeprefix('file://')}: {error.strerror or error}",
        hint="is the disk full, is `outdir` writable?",
        retryable=may_pass(error),
    )
    is_gone = error.errno == errno.ENOENT and not os.path.lexists(path)
    return _lost(ref, f"{path} no longer exists", problem) if is_gone else problem


def _lost(ref: FileRef, problem: str, otherwise: TransferError) -> TransferError:
    """The error for a source that is gone or changed; ``otherwise``: if no job has made it."""
    if job_directory_of(ref.path) is None:
        return otherwise
    return LostDataError.of([ref.uri], problem, hint=_CLEAR)
