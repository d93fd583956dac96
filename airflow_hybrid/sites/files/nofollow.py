# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reads outputs of jobs on this machine without following symbolic links that lead out of them.

A job's folder belongs to the job, and processes that it left running may replace a file by a symbolic link at any time.
So a path is opened one component after the other, each below the open one (openat(2), O_NOFOLLOW).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_hybrid.errors import TransferError
from airflow_hybrid.sites.hosts.job_folders import work_directory_of

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""does not wait for the other end of a FIFO"""


@contextmanager
def opened(path: str, *, folder: bool = False) -> Iterator[int]:
    """A descriptor of a regular file, or of a folder, for reading; closed at the end.

    In a job's output no symbolic link below its work directory is followed: the path came through XCom, and whoever may
    write there could have added one. Elsewhere (a file that a user named) symbolic links are followed.

    :raises TransferError: there is a symbolic link, or it is not a file (or not a folder).
    :raises OSError: it does not exist or may not be read.
    """
    number = _open(path, folder)
    try:
        yield number
    finally:
        os.close(number)


def opened_at(parent: int, name: str, shown: str) -> int:
    """A descriptor of the regular file ``name`` in an open folder, for walks (:func:`os.fwalk`); the caller closes it.

    :param shown: its path, for messages.
    :raises TransferError: it is a symbolic link, or not a regular file.
    """
    try:
        number = os.open(name, _FILE | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        raise _refused(error, shown) from None
    return _checked(number, shown, folder=False)


def folder_at(parent: int, name: str, shown: str) -> int:
    """The same for a folder.

    :raises TransferError: it is a symbolic link, or not a folder.
    """
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        raise _refused(error, shown) from None


def _open(path: str, folder: bool) -> int:
    root = work_directory_of(path)
    if root is None:
        return _checked(os.open(path, _FOLDER if folder else _FILE), path, folder)
    current = os.open(root, _FOLDER)
    *above, last = [*path[len(root) :].strip("/").split("/")]
    try:
        for name in above:
            member = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = member
        number = os.open(last, (_FOLDER if folder else _FILE) | os.O_NOFOLLOW, dir_fd=current)
    except OSError as error:
        raise _refused(error, path) from None
    finally:
        os.close(current)
    return _checked(number, path, folder)


def _checked(number: int, path: str, folder: bool) -> int:
    mode = os.fstat(number).st_mode
    if folder or stat.S_ISREG(mode):
        return number
    os.close(number)
    raise _final(f"{path} is not a regular file: it is not read")


def _refused(error: OSError, path: str) -> Exception:
    # for a symbolic link open(2) fails with ELOOP, or with ENOTDIR if a folder was asked for
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return _final(f"a symbolic link has replaced {path} or a folder above it: it is not followed")
    if error.errno == errno.ENXIO:
        return _final(f"{path} is not a regular file: it is not read")
    return OSError(error.errno, error.strerror, path)


def _final(text: str) -> TransferError:
    hint = "a job changed its outputs after it had ended; clear the task that made them"
    return TransferError(text, hint=hint, retryable=False)
