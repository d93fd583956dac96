# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where a location's programs are, from the hybrid file: shell text that precedes every command there. Pure.

Commands do not run in a login shell, so what a profile adds (the ``PATH`` of a queue system) may be missing.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_hybrid import shell_text
from airflow_hybrid.model.clean_shell import CHANGES_PROGRAMS

_NAMES = [name for name in CHANGES_PROGRAMS if name not in ("POSIXLY_CORRECT", "SHELLOPTS", "BASHOPTS")]
"""variables that a profile may set again; bash's own two are read-only in bash"""


def expanding(path: str) -> str:
    """A shell word in which ``~`` and ``$NAME`` or ``${NAME}`` are expanded, and nothing else."""
    if path == "~" or path.startswith("~/"):
        path = "$HOME" + path[1:]
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$(", "\\$(") + '"'


def prelude(config: Mapping[str, Any]) -> str:
    """Shell text for ``path`` and ``profile`` of a deployment's options; ``""`` if it has neither."""
    text = ""
    profile: str | None = config.get("profile")
    if profile:
        values = {"PROFILE": expanding(profile), "NAMES": shlex.join(_NAMES)}
        text += shell_text.filled(__package__, "profile.sh", values)
    folders: Sequence[str] = config.get("path") or ()
    if folders:
        text += f'PATH={":".join(map(expanding, folders))}:"$PATH"; export PATH\n'
    return text


def login_shell_command(program: str) -> str:
    """Shell text that prints the path at which a login shell finds a program, after a line ``#login``."""
    look = shlex.quote(f"echo '#login'; command -v {shlex.quote(program)}")
    return f"${{SHELL:-/bin/sh}} -l -c {look} </dev/null 2>/dev/null\n"


def path_hint(answer: str) -> str:
    """A hint to add the folder that :func:`login_shell_command` found to the hybrid file; ``""``: it found nothing."""
    paths = answer.rpartition("#login\n")[2].strip().splitlines()[:1]
    if "#login" not in answer or not paths or not paths[0].startswith("/"):
        return ""
    folder = paths[0].rpartition("/")[0] or "/"
    return f"login shells find it: give the deployment `config: {{path: [{folder}]}}`"
