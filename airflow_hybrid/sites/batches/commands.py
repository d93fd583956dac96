# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands for a location about batch directories: shell text, no I/O. :mod:`.answers` parses what they print.

Every command can be repeated at any time, by anybody, after any loss of connection. Commands that change something hold
the task directory's claim; their stdout ends with ``#ah <verdict>`` and a message.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid import shell_text
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.schedulers.base import Scheduler, Submission
from airflow_hybrid.sites.batches.directory import Batch, attempt_of, check_directory
from airflow_hybrid.sites.hosts import claims

LOCK_WAIT_S = 90


@dataclass(frozen=True)
class Prepared:
    """A batch that is ready to be submitted: in the scheduler's terms, its files (tar), and the command."""

    submission: Submission
    archive: bytes
    command: str


def submit_command(
    batch: Batch, scheduler: Scheduler, sub: Submission, archive: bytes, keep_archive: bool = False
) -> str:
    """Shell text that submits the batch unless that was done before; ``archive`` is its stdin.

    :func:`.answers.parse_answer` reads its stdout.
    """
    names = "\n".join(
        f"    {part}) ah_name={shlex.quote(scheduler.part_name(sub, part))} ;;" for part in range(scheduler.parts(sub))
    )
    unpack = "tar -xzmof -" if archive[:2] == b"\x1f\x8b" else "tar -xmof -"
    if keep_archive:
        unpack = ("gzip -dc" if archive[:2] == b"\x1f\x8b" else "cat") + " >stage.tar && tar -xmof stage.tar"
    if scheduler.asks:
        unpack = f"ah_data | {{ {unpack}; }}"
    values = {
        "B": shlex.quote(batch.directory),
        "ATTEMPT": str(attempt_of(batch.name)),
        "KNOWN": shlex.quote(f" {' '.join((batch.name, *batch.known_batches))} "),
        "PARTS": str(scheduler.parts(sub)),
        "TAR": unpack,
    }
    named = f"ah_named() {{\n    case $1 in\n{names}\n    esac\n}}\n"
    text = _common(batch.task_directory) + scheduler.functions() + scheduler.submit_function(sub) + named
    return text + shell_text.filled(__package__, "submit.sh", values)


def cancel_command(task_directory: str, scheduler: Scheduler, attempt: int | None = None) -> str:
    """Shell text that cancels every batch under a task directory, and prevents further ones.

    :param attempt: only batches of this try and of earlier ones.
    """
    marks = {"MARK": "cancelled", "LAST": ""}
    if attempt is not None:
        marks = {"MARK": f"cancelled.{attempt}", "LAST": str(attempt)}
    cancel = shell_text.filled(__package__, "cancel.sh", marks)
    return _common(check_directory(task_directory)) + scheduler.functions() + cancel


def withdraw_command(scheduler: Scheduler, ids: Sequence[str]) -> str:
    """Shell text that cancels submitted ids and nothing else: the batch may be submitted again."""
    cancel = f'ah_x=$(ah_cancel {shlex.join(ids)} 2>&1) || ah_end failed "$ah_x"\nah_end done\n'
    return _common("/") + scheduler.functions() + cancel


def inspect_command(task_directory: str, scheduler: Scheduler, name: str | None = None) -> str:
    """Shell text that reports every batch under a task directory (or one), after resolving lost submit replies."""
    which = shlex.quote(name) if name else "*"
    look = shell_text.filled(__package__, "inspect.sh", {"WHICH": which})
    return _common(check_directory(task_directory)) + scheduler.functions() + look


def _common(task_directory: str) -> str:
    """The text that all commands begin with, before the functions of a scheduler."""
    values = {"T": shlex.quote(task_directory), "WAIT": str(LOCK_WAIT_S)}
    return removal.functions() + claims.functions() + shell_text.filled(__package__, "common.sh", values)


def evidence_command(directory: str, with_meta: bool) -> str:
    """Shell text that prints what becomes :class:`Evidence`."""
    meta = "cat meta.json 2>/dev/null; echo" if with_meta else ":"
    values = {"B": shlex.quote(check_directory(directory)), "META": meta}
    return shell_text.filled(__package__, "evidence.sh", values)


def evidence_snippet(variable: str) -> str:
    """The same without ``meta.json``, for the directory in a shell variable, for a subshell of another command."""
    return shell_text.filled(__package__, "evidence.sh", {"B": f'"${variable}"', "META": ":"})


def tails_command(directory: str, paths: Sequence[str], size: int = 2048) -> str:
    """Shell text that prints the ends of some files of a batch's jobs, each after its length in bytes.

    Jobs can replace these files. So each is opened first, then identified, and only read if it is the file that was
    meant and was not reached through a symbolic link.

    :param directory: the batch directory, which all of the files are below.
    :raises ValueError: a path is not below it.
    """
    names = [posixpath.relpath(path, directory) for path in paths]
    if any(name.split("/", 1)[0] in ("..", ".") for name in names):
        raise ValueError(f"a file is not below {directory}: {shlex.join(paths)}")
    values = {"B": shlex.quote(check_directory(directory)), "SIZE": str(size), "FILES": shlex.join(names)}
    return shell_text.filled(__package__, "tails.sh", values)


def space_command(directory: str) -> str:
    """Shell text that prints the free blocks (in KiB) and inodes of a batch directory's file system."""
    path = shlex.quote(posixpath.dirname(check_directory(directory)))
    return f"df -Pk -- {path} | tail -n 1\ndf -Pi -- {path} | tail -n 1\n"
