# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where a location's programs are, as the hybrid file says: shell text that comes before every command there. Pure.

Commands run in no login shell, so what a profile adds for people (the ``PATH`` of a queue system) may be missing.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_hybrid import shell_text
from airflow_hybrid.model.clean_shell import CHANGES_PROGRAMS

_NAMES = [name for name in CHANGES_PROGRAMS if name not in ("POSIXLY_CORRECT", "SHELLOPTS", "BASHOPTS")]
"""what a profile may set again; bash's two are read-only for itself"""


def expanding(path: str) -> str:
    """A shell word in which ``~`` and ``$NAME`` or ``${NAME}`` are expanded, and nothing else."""
    if path == "~" or path.startswith("~/"):
        path = "$HOME" + path[1:]
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$(", "\\$(") + '"'


def prelude(config: Mapping[str, Any]) -> str:
    """Shell text for ``path`` and ``profile`` of a deployment's options; ``""`` where it has neither."""
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
    """Shell text that prints where a login shell finds a program, after a line ``#login``; nothing if it does not."""
    look = shlex.quote(f"echo '#login'; command -v {shlex.quote(program)}")
    return f"${{SHELL:-/bin/sh}} -l -c {look} </dev/null 2>/dev/null\n"


def path_hint(answer: str) -> str:
    """What :func:`login_shell_command` found, as what to write into the hybrid file; ``""``: nothing."""
    found = answer.rpartition("#login\n")[2].strip().splitlines()[:1]
    if "#login" not in answer or not found or not found[0].startswith("/"):
        return ""
    folder = found[0].rpartition("/")[0] or "/"
    return f"login shells find it: give the deployment `config: {{path: [{folder}]}}`"
