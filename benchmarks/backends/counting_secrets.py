# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Airflow's own secrets backend of local files, which notes who looks what up; for :mod:`benchmarks.footprint`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.secrets.local_filesystem import LocalFilesystemBackend


class CountingBackend(LocalFilesystemBackend):
    """Appends a line to a file for each look-up: what (``connection``, ``variable``), its name, and the process.

    :param log: path of the file.
    """

    def __init__(self, log: str, **paths: Any) -> None:
        super().__init__(**paths)
        self._notes = Path(log)

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
        self._note("connection", conn_id)
        return super().get_connection(conn_id, team_name)

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        self._note("variable", key)
        return super().get_variable(key, team_name)

    def _note(self, what: str, name: str) -> None:
        with self._notes.open("a") as file:  # one write of a short line: processes do not mix theirs
            file.write(f"{what} {name} {_process()}\n")


def _process() -> str:
    """``worker`` (a task), or the command of Airflow that this process or its parent is."""
    for pid in (os.getpid(), os.getppid()):
        words = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").split()
        for name in ("triggerer", "dag-processor", "api_server", "api-server", "scheduler", "worker"):
            if name in words:
                return "worker" if name == "scheduler" else name
    return "other"
