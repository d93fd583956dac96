# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Hosts that share a folder but no locks, on this machine: each has its own boot, and locks of its own."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Mapping
from pathlib import Path

from airflow_hybrid.sites.hosts.processes import ChildProcess
from tests.unit.sites.shell_hosts import ShellHost

FLOCK_PER_HOST = Path(__file__).parents[2] / "fakes" / "flock_per_host.py"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
HOST_NAME = "/proc/sys/kernel/hostname"


class OtherHost(ShellHost):
    """A host of its own.

    :param folder: for its programs, and the files that it reads in place of the kernel's.
    :param flock: text of its flock; by default it holds on this host only.
    """

    def __init__(
        self, folder: Path, shell: str = "dash", environment: Mapping[str, str] | None = None, flock: str | None = None
    ) -> None:
        super().__init__(shell, environment)
        folder.mkdir()
        self.own = {BOOT_ID: folder / "boot_id", HOST_NAME: folder / "hostname"}
        self.own[BOOT_ID].write_text(f"{uuid.uuid4()}\n")
        self.own[HOST_NAME].write_text(f"{folder.name}\n")
        (folder / "bin").mkdir()
        program = folder / "bin" / "flock"
        program.write_text(flock or FLOCK_PER_HOST.read_text())
        program.chmod(0o755)
        self.environment["PATH"] = f"{folder}/bin:{self.environment['PATH']}"
        self.environment["LOCK_HOST"] = folder.name

    def text(self, command: str) -> str:
        """A command as this host runs it."""
        for path, own in self.own.items():
            command = command.replace(f"<{path}", f"<{shlex.quote(str(own))}")
        return command

    async def _start(self, command: str) -> ChildProcess:
        return await super()._start(self.text(command))
