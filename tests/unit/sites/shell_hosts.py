# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Batches and hosts for tests of the queue."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow_hybrid.model import JobScript
from airflow_hybrid.sites.batches.directory import Batch, scheduler_name
from airflow_hybrid.sites.hosts.local import LocalHost, clean_environment
from airflow_hybrid.sites.hosts.processes import ChildProcess, start_process
from tests import needs

SHELLS = ("dash", "bash")
EVERY_SHELL = (*SHELLS, "busybox", "ksh93", "zsh")
"""as ``/bin/sh``, under whose name they do as POSIX says"""


def sh(shell: str) -> str:
    """A program ``sh`` that is this shell."""
    if shell in ("sh", "/bin/sh"):
        return "/bin/sh"
    path = needs.program(shell)
    link = Path(_links()) / shell / "sh"
    if not link.exists():
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(path)
    return str(link)


@functools.cache
def _links() -> str:
    folder = tempfile.mkdtemp(prefix="airflow_hybrid-shells-")
    atexit.register(shutil.rmtree, folder)
    return folder


class ShellHost(LocalHost):
    """This machine, with a shell and an environment of the test's choice, and a fake ``bin`` before the real ones."""

    def __init__(self, shell: str = "sh", environment: Mapping[str, str] | None = None, cores: int = 4) -> None:
        super().__init__("test", shell, cores)
        self.shell = [sh(shell)]
        self.environment = {**clean_environment(), **(environment or {})}
        self.commands: list[str] = []

    async def _start(self, command: str) -> ChildProcess:
        self.commands.append(command)
        return await start_process([*self.shell, "-c", command], env=self.environment)


def label(made: Batch) -> str:
    """What messages call the command that submits a batch."""
    return f"submit {scheduler_name(made)}"


def always(*command: str) -> Callable[[int], tuple[str, ...]]:
    """The command of each job of a batch where all have the same."""
    return lambda _: command


def batch(
    directory: str,
    count: int = 1,
    command: Callable[[int], tuple[str, ...]] = lambda i: ("echo", str(i)),
    *,
    job: Mapping[str, Any] | None = None,
    **more: Any,
) -> Batch:
    keys = tuple(f"{i:05d}" for i in range(count))
    jobs = tuple(
        JobScript(command(i), f"{directory}/{key}/out", f"{directory}/{key}/tmp", **(job or {}))
        for i, key in enumerate(keys)
    )
    return Batch(directory, "step", keys, jobs, **more)
