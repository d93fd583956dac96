# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Shell text that makes and removes folders at sites. Pure text, POSIX ``sh``: dash, bash, busybox, ksh, zsh."""

from __future__ import annotations

import posixpath
import shlex

from airflow_hybrid import shell_text
from airflow_hybrid.removal import MARKER, MARKER_LINE


def functions() -> str:
    """``ah_make``, ``ah_new``, ``ah_rm`` and what they need; begins and ends with whole lines.

    ``functions.sh`` says what they do.
    """
    return shell_text.fill(shell_text.load(__package__, "functions.sh"), {"MARKER": MARKER, "LINE": MARKER_LINE})


def make(folder: str) -> str:
    """The call that makes an absolute path a folder of ours. The script begins with :func:`functions`."""
    return f"ah_make {shlex.quote(folder)}"


def remove(path: str, below: int = 1) -> str:
    """The call that removes an absolute path. The script begins with :func:`functions`.

    :param below: how many of the last names are below the root; from there on no symbolic link is followed.
    """
    root = path
    for _ in range(below):
        root = posixpath.dirname(root)
    return f"ah_rm {shlex.quote(root)} {shlex.quote(path[len(root.rstrip('/')) + 1 :])}"
