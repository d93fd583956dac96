# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Folders of ours on this machine: made with our marker, and removed only if they carry it.

Everything is done relative to open folders (openat(2), O_NOFOLLOW), so that no symbolic link is ever followed, not even
one that replaces a folder meanwhile. Linux only.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

from airflow_hybrid.errors import HybridError
from airflow_hybrid.removal import MARKER, MARKER_LINE

PASSES = 3
"""how often a folder is emptied at most: somebody may still write into it"""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotRemovedError(HybridError):
    """Something was not removed: nothing proves that airflow_hybrid made it, or the removal failed."""


def make_folder(parent: str | os.PathLike[str], prefix: str) -> Path:
    """Make a folder of ours with a new name in ``parent``; only its owner may enter it."""
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix)).absolute()
    number = os.open(folder, _FOLDER)
    try:
        _mark(number)
    finally:
        os.close(number)
    return folder


def remove_folder(folder: str | os.PathLike[str]) -> None:
    """Remove a folder of ours and everything in it; a missing folder is no error.

    Modes are changed only of folders: a file may have other names (hard links) that are not ours.

    :raises NotRemovedError: it has no marker of ours, is a symbolic link, has a file system mounted in it, or cannot be
        removed.
    """
    parent, name = os.path.split(os.path.abspath(folder))
    try:
        above = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not _there(above, name):
            return
        for left in reversed(range(PASSES)):
            try:
                _remove(above, name, str(folder))
                return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or not left:
                    raise
    except OSError as error:
        raise NotRemovedError(f"not removed: {folder}: {error.strerror}") from error
    finally:
        os.close(above)


def _remove(above: int, name: str, shown: str) -> None:
    """Empty a folder of ours, and remove it.

    :raises NotRemovedError: it has no marker of ours.
    :raises OSError: something in it cannot be removed, or was put into it meanwhile. The folder then has its marker.
    """
    number = os.open(name, _FOLDER, dir_fd=above)
    try:
        _check(number, shown)
        _empty(number)
        os.unlink(MARKER, dir_fd=number)
        try:
            os.rmdir(name, dir_fd=above)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                _mark(number)
            raise
    finally:
        os.close(number)


def _mark(number: int) -> None:
    """Write our marker into an open folder that has none."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(MARKER, flags, 0o600, dir_fd=number), "w", encoding="utf-8") as file:
        file.write(f"{MARKER_LINE}\n")


def _there(above: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=above)
    except FileNotFoundError:
        return False
    return True


def _check(number: int, shown: str) -> None:
    """:raises NotRemovedError: the open folder has no marker of ours."""
    try:
        marker = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=number)
    except OSError:
        marker = -1
    line = b""
    if marker >= 0:
        try:
            if stat.S_ISREG(os.fstat(marker).st_mode):
                line = os.read(marker, 200)
        finally:
            os.close(marker)
    if line != f"{MARKER_LINE}\n".encode():
        raise NotRemovedError(f"not removed: {shown}: it was not made by airflow_hybrid")


def _empty(top: int) -> None:
    """Remove everything but the marker.

    Only two folders are open at a time, however deep the tree is: folders inside of folders are moved up to ``top``.
    """
    mount, count = _mount_of(top), 0
    while True:
        with os.scandir(top) as listing:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing if entry.name != MARKER]
        if not entries:
            return
        for name, is_folder in entries:
            if is_folder:
                count = _flatten(top, name, mount, count)
            else:
                os.unlink(name, dir_fd=top)


def _flatten(top: int, name: str, mount: str, count: int) -> int:
    """Remove the folder ``name`` of ``top``; folders in it are moved to ``top`` under numbers from ``count`` on."""
    number = _entered(top, name, mount)
    try:
        with os.scandir(number) as listing:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
        for child, is_folder in entries:
            if not is_folder:
                os.unlink(child, dir_fd=number)
                continue
            os.close(_entered(number, child, mount))  # moving a folder needs the permission to write in it
            count = _move_up(number, child, top, count)
    finally:
        os.close(number)
    os.rmdir(name, dir_fd=top)
    return count


def _mount_of(number: int) -> str:
    """The mount that an open folder belongs to (proc(5), fdinfo).

    Its device is not enough: a folder of the same file system can be mounted there.
    """
    for line in Path(f"/proc/self/fdinfo/{number}").read_text().splitlines():
        if line.startswith("mnt_id:"):
            return line
    raise OSError(errno.ENOSYS, "the system does not say which mount a folder belongs to")


def _move_up(number: int, child: str, top: int, count: int) -> int:
    while _there(top, f".removed.{count}"):
        count += 1
    os.rename(child, f".removed.{count}", src_dir_fd=number, dst_dir_fd=top)
    return count + 1


def _entered(above: int, name: str, mount: str) -> int:
    """Open a folder, after giving its owner all permissions.

    :raises OSError: it belongs to another mount.
    """
    # O_PATH, because reading may not be allowed; and never through a symbolic link
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        if _mount_of(handle) != mount:
            raise OSError(errno.EXDEV, "a file system is mounted in it")
        if stat.S_IMODE(os.fstat(handle).st_mode) & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(".", _FOLDER, dir_fd=handle)
    finally:
        os.close(handle)
