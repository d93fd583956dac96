# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Put outputs into a folder with other files: those stay, and links are never followed.

Below ``outdir`` every access is relative to an open folder (openat(2), O_NOFOLLOW). A file gets its name by link(2),
which never replaces anything; or by rename(2), over a file that the record proves to be an earlier output.
"""

from __future__ import annotations

import errno
import itertools
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from airflow_hybrid.errors import TransferError
from airflow_hybrid.operators.gather.existing import FAIL, REPLACE
from airflow_hybrid.operators.gather.kept import ProtectedInputs
from airflow_hybrid.operators.gather.record import RECORD, OutdirRecord
from airflow_hybrid.operators.gather.renamed import RenamedOutput
from airflow_hybrid.operators.gather.rules import OutputRules

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
"""errors of link(2) on file systems without hard links"""


def numbered(name: str, number: int) -> str:
    """``name``, ``name_2``, ``name_3`` ..., as cwltool does for outputs with the same name."""
    return name if number == 1 else f"{name}_{number}"


@dataclass
class Merged:
    """The final places of a tree's files: path in the tree -> path in ``outdir``; and the folders' members."""

    paths: dict[str, str] = field(default_factory=dict)
    members: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)


class Outdir:
    """A folder of this machine that outputs go to.

    :param path: absolute; links in it are the user's own and are followed.
    """

    def __init__(self, path: str, rules: OutputRules) -> None:
        self.path = path
        self.run = rules.run
        self.existing = rules.existing
        self.log = rules.log
        self._tidies = rules.tidies
        self._inputs = ProtectedInputs(rules.inputs, path)
        self._placed: set[str] = set()
        self.renamed: list[RenamedOutput] = []
        self.number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.record = OutdirRecord(self.number, path)
        except BaseException:
            os.close(self.number)
            raise

    def close(self) -> None:
        self.record.close()
        os.close(self.number)

    @property
    def identity(self) -> tuple[int, int]:
        status = os.fstat(self.number)
        return status.st_dev, status.st_ino

    @contextmanager
    def folder(self, path: str) -> Iterator[int]:
        """A descriptor of a folder below ``outdir`` (``""``: itself).

        :raises OSError: it does not exist, or its path contains a link (ENOTDIR, ELOOP).
        """
        current = os.dup(self.number)
        try:
            for name in path.split("/") if path else ():
                inner = os.open(name, _FOLDER, dir_fd=current)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    def look(self, path: str, *, follow: bool = False) -> os.stat_result | None:
        """The status of a path; None if there is nothing, or it cannot be reached without following a link."""
        above, name = posixpath.split(path)
        try:
            with self.folder(above) as number:
                return os.stat(name, dir_fd=number, follow_symlinks=follow)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise

    def has_room(self, path: str, folder: bool) -> bool:
        """Whether a file (or folder) may be put there: the name is free, or a replaceable output or a folder has it."""
        status = self.look(path)
        if path == RECORD:
            return False
        if status is None:
            return True
        return (folder and self._may_be_filled(path, status)) or self._replaceable(path, status)

    def _may_be_filled(self, path: str, status: os.stat_result) -> bool:
        return stat.S_ISDIR(status.st_mode) and not self._inputs.holds(path, status)

    def _replaceable(self, path: str, status: os.stat_result) -> bool:
        run = None if self.existing == REPLACE else self.run
        if not stat.S_ISREG(status.st_mode) or not self.record.proves(path, status, run):
            return False
        if self._inputs.is_around and not self.record.proves(path, status, self.run):
            return False
        return not self._inputs.holds(path, status)

    # --- moving a tree in -------------------------------------------------------------------------------------------

    def merge(self, tree: str) -> Merged:
        """Move the contents of ``tree``, a temporary folder on the same file system, to their final places.

        :raises TransferError: something is in the way, and ``existing`` is ``fail``.
        """
        self.record.lock()
        merged = Merged(paths={"": ""})
        if self.existing == FAIL:
            self._fail_if_taken(tree)
        for folder, names, files in os.walk(tree):
            inside = os.path.relpath(folder, tree)
            inside = "" if inside == "." else inside
            merged.members[inside] = sorted([*((n, True) for n in names), *((n, False) for n in files)])
            above = merged.paths[inside]
            with self.folder(above) as number:
                for name in names:
                    merged.paths[posixpath.join(inside, name)] = self._put_folder(number, above, name)
                for name in files:
                    target = self._put_file(os.path.join(folder, name), number, above, name)
                    merged.paths[posixpath.join(inside, name)] = target
        if self._tidies:
            self._tidy(set(merged.paths.values()))
        return merged

    def _fail_if_taken(self, tree: str) -> None:
        taken = []
        for folder, names, files in os.walk(tree):
            inside = os.path.relpath(folder, tree)
            for name in (*names, *files):
                path = posixpath.normpath(posixpath.join(inside, name))
                if not self.has_room(path, name in names):
                    taken.append(path)
        self.fail_if(taken)

    def fail_if(self, taken: list[str]) -> None:
        """:raises TransferError: there are such paths."""
        if not taken:
            return
        shown = ", ".join(taken[:5]) + (f" and {len(taken) - 5} more" if len(taken) > 5 else "")
        raise TransferError(
            f"{self.path} has other files under the names of this run's outputs: {shown}",
            hint="move it away, choose another `outdir` (`--outdir`), or let outputs get new names"
            " (`existing_outputs: rename`, `--existing rename`)",
            retryable=False,
        )

    def _put_folder(self, number: int, above: str, name: str) -> str:
        for count in itertools.count(1):
            candidate = numbered(name, count)
            path = posixpath.join(above, candidate)
            status = _lstat(number, candidate)
            if status is not None and self._replaceable(path, status):
                os.unlink(candidate, dir_fd=number)  # a file of an earlier try
                status = None
            if status is None:
                os.mkdir(candidate, dir_fd=number)
                self.record.note(self.run, path, os.lstat(candidate, dir_fd=number))
                return self._has(path, above, name)
            if self._may_be_filled(path, status):
                return self._has(path, above, name)
        raise AssertionError("there is always a next number")

    def _put_file(self, source: str, number: int, above: str, name: str) -> str:
        ours = os.lstat(source)
        for count in itertools.count(1):
            candidate = numbered(name, count)
            path = posixpath.join(above, candidate)
            if path in self._placed or path == RECORD:
                continue
            status = _lstat(number, candidate)
            if status is None:
                self.record.note(self.run, path, ours)
                if not _name(source, number, candidate):
                    continue  # another process was faster
            elif self._replaceable(path, status):
                self.record.note(self.run, path, ours)
                os.rename(source, candidate, dst_dir_fd=number)
            else:
                continue
            self._placed.add(path)
            return self._has(path, above, name)
        raise AssertionError("there is always a next number")

    def _has(self, path: str, above: str, name: str) -> str:
        """Note what is now at ``path``, and whether its own name was taken."""
        wanted = posixpath.join(above, name)
        if path != wanted:
            self.renamed.append(RenamedOutput(f"{self.path}/{wanted}", path, is_twin=wanted in self._placed))
        return path

    def _tidy(self, now: set[str]) -> None:
        """Remove what an earlier try of this run put there and this one did not; folders only if empty."""
        old = [line for line in self.record.lines.values() if line.run == self.run and line.path not in now]
        for line in sorted(old, key=lambda line: line.path, reverse=True):
            status = self.look(line.path)
            if status is None or not line.describes(status) or self._inputs.holds(line.path, status):
                continue
            above, name = posixpath.split(line.path)
            with self.folder(above) as number:
                try:
                    if line.folder:
                        os.rmdir(name, dir_fd=number)
                    else:
                        os.unlink(name, dir_fd=number)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise


def _lstat(number: int, name: str) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=number)
    except FileNotFoundError:
        return None


def _name(source: str, number: int, name: str) -> bool:
    """Give a file its name in an open folder; False if the name is taken."""
    try:
        os.link(source, name, dst_dir_fd=number, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if _lstat(number, name) is not None:
            return False
        os.rename(source, name, dst_dir_fd=number)
    return True
