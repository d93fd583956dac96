# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""This machine's own folders: tests leave in them what is there, and add nothing to the root folder.

What comes into the others is not told: people and programs of the machine use them meanwhile.

Looked at by names and kinds, not by content: a look takes milliseconds. The root folder, which holds the links
``/bin``, ``/sbin``, ``/lib`` and ``/lib64`` of most systems, is looked at after each test, the others at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

ROOT = "/"
FOLDERS = ("/", "/etc", "/etc/sudoers.d", "/usr", "/usr/bin", "/usr/sbin", "/usr/lib", "/home", "/var", "/opt", "/srv")
"""and the user's home"""
DECLARED = (
    # copies and locks of the tools that make the users of tests/security/at_sites/test_run_as.py, and what those have
    "/etc/passwd*", "/etc/group*", "/etc/shadow*", "/etc/gshadow*", "/etc/subuid*", "/etc/subgid*", "/etc/.pwd.lock",
    "/etc/sudoers.d/ah-*", "/home/ah-*",
    # tests/conftest.py, of other sessions, too
    "~/airflow_hybrid canaries *",
    # what programs that tests run make where they are used for the first time: Airflow, kubectl, podman
    "~/airflow", "~/.cache", "~/.config", "~/.kube", "~/.local", "~/.npm", "~/.lesshst", "~/.*_history",
    # what package managers of this machine replace meanwhile
    "/etc/ld.so.cache*", "/etc/.java", "/etc/mtab",
)  # fmt: skip
"""patterns of what may come and go: tests say that they make it, or the system does"""

Names = Mapping[str, str]
"""a path; what it is: ``file``, ``folder``, or ``link to ...``"""


def names(folders: Iterable[str]) -> dict[str, str]:
    """What is in folders now; a folder that is not there has nothing in it."""
    there: dict[str, str] = {}
    for folder in folders:
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            continue
        for entry in entries:
            there[entry.path] = _kind(entry)
    return there


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        try:
            return f"link to {os.readlink(entry.path)}"
        except FileNotFoundError:
            return "link"  # it went meanwhile
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file"


def harm(before: Names, after: Names, declared: Sequence[str] = DECLARED, bare: str = ROOT) -> list[str]:
    """A line for each name that went or is something else now, or that came into the folder ``bare``."""
    home = str(Path.home())
    patterns = [pattern.replace("~", home, 1) for pattern in declared]
    lines = []
    for path in sorted({*before, *after}):
        was, now = before.get(path), after.get(path)
        if was == now or any(fnmatch(path, pattern) for pattern in patterns):
            continue
        if now is None:
            lines.append(f"{path!r} was a {was} and is gone")
        elif was is not None:
            lines.append(f"{path!r} was a {was} and is a {now}")
        elif os.path.dirname(path) == bare:
            lines.append(f"{path!r} is a {now} and was not there")
    return lines


class Machine:
    """What was there when the session began."""

    def __init__(self, folders: Sequence[str] = (), bare: str = ROOT) -> None:
        self._folders = folders or (*FOLDERS, str(Path.home()))
        self._bare = bare
        self._root = names([ROOT])
        self._all = names(self._folders)

    def check_root(self) -> None:
        """:raises AssertionError: names what is not as it was in the root folder at the last look."""
        before, self._root = self._root, names([ROOT])
        _complain(harm(before, self._root))

    def check(self) -> None:
        """:raises AssertionError: names what is not as it was in any of the folders."""
        _complain(harm(self._all, names(self._folders), bare=self._bare))


def _complain(lines: Sequence[str]) -> None:
    if lines:
        raise AssertionError("\n".join(["folders of this machine are not as they were before the tests:", *lines]))
