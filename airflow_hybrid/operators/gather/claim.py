# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The claim of an ``outdir``: one process at a time gives outputs their names, whatever machines the workers run on.

As in ``sites/hosts/shell/claim.sh``: a symbolic link that is made exclusively, with its owner as its content; what is
left of an owner that is gone is followed by a successor, ``NAME.OWNER``. It needs no locks, which some file systems do
not have, or only per machine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

GRACE_S = 600.0
"""the age at which a claim of another machine is taken over: nothing here tells whether its process is alive"""
_PAUSE_S = 0.2
_COLONS = 4
"""in an owner: boot, pid namespace, process, its start, host and thread"""
_START = 19
"""of what follows the name in stat(5): the start time"""


class Claim:
    """A claim in a folder.

    :param folder: descriptor of the folder; ``name``: of the claim, a plain name.
    :param now: the time by the clock of the folder's file system, to which ages are compared.
    """

    def __init__(self, folder: int, name: str, now: Callable[[], float]) -> None:
        self._folder, self._name, self._now = folder, name, now
        self._kernel = f"{_line('/proc/sys/kernel/random/boot_id') or uuid.uuid4()}:{_namespace()}"
        # two threads of a process are two owners
        me = f"{os.getpid()}:{_started(os.getpid())}:{os.uname().nodename}.{uuid.uuid4().hex[:8]}"
        self._owner = f"{self._kernel}:{me}"
        self._links: list[str] = []

    def take(self) -> None:
        """Wait for the claim.

        :raises OSError: the link cannot be made.
        """
        while not self._links:
            self._links = self._attempt()
            if not self._links:
                time.sleep(_PAUSE_S)

    def give_up(self) -> None:
        """From the first link on: who follows them looks at that one again."""
        for link in self._links:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(link, dir_fd=self._folder)
        self._links = []

    def _attempt(self) -> list[str]:
        """The links by which it is held; none: somebody else has it, or had it a moment ago."""
        link, links, first = f"{self._name}.owner", [], ""
        while True:
            links.append(link)
            try:
                os.symlink(self._owner, link, dir_fd=self._folder)
                break
            except FileExistsError:
                owner = self._read(link)
            if not owner or not self._is_gone(owner, link):
                return []
            first = first or owner
            link = f"{self._name}.{owner}"
        if first and self._read(links[0]) != first:
            os.unlink(link, dir_fd=self._folder)
            return []
        return links

    def _read(self, link: str) -> str:
        """:raises OSError: something else has that name, or its content is no owner: anybody may have made it."""
        try:
            owner = os.readlink(link, dir_fd=self._folder)
        except FileNotFoundError:
            return ""
        if "/" in owner or owner.count(":") != _COLONS:
            raise OSError(errno.EINVAL, f"{link} was not made by airflow_hybrid")
        return owner

    def _is_gone(self, owner: str, link: str) -> bool:
        if owner.startswith(f"{self._kernel}:"):
            process, _, others = owner.removeprefix(f"{self._kernel}:").partition(":")
            return not process.isdecimal() or _started(int(process)) != others.partition(":")[0]
        try:
            age_s = self._now() - os.stat(link, dir_fd=self._folder, follow_symlinks=False).st_mtime
        except FileNotFoundError:
            return False
        return age_s >= GRACE_S


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    """The pid namespace, in which process ids mean something."""
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return "-"


def _started(process: int) -> str:
    """When a process was started; ``""``: it is gone."""
    state, *fields = _line(f"/proc/{process}/stat").rpartition(") ")[2].split(" ")
    return "" if state in ("", "Z") else fields[_START - 1]
