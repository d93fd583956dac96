# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Workers on what looks like other machines: each has a host name, a ``/tmp`` and an ``AIRFLOW_HOME`` of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.system.executors import Worker

SCRIPT = Path(__file__).with_name("machine.sh")


@dataclass(frozen=True)
class Machine:
    """A machine of one worker, which serves the queue of the same name.

    :ivar home: ``AIRFLOW_HOME``, of this machine and of the others.
    :ivar shared: the folder that all machines see, at the same path; in ``/tmp``. ``home`` is in it.
    """

    name: str
    home: Path
    shared: Path

    @property
    def folder(self) -> Path:
        return self.shared / "machines" / self.name

    @property
    def within(self) -> list[str]:
        """Words that begin a command on this machine."""
        folders = map(str, (self.folder, self.home, self.shared))
        return ["unshare", "--mount", "--uts", str(SCRIPT), self.name, *folders]

    def worker(self, *queues: str) -> Worker:
        """A worker of Celery."""
        return Worker(self.name, queues, self.within)

    def file(self, path: str | Path) -> Path:
        """Where this machine has what the other one calls ``path``: something in ``/tmp`` or in ``home``."""
        path = Path(path)
        if path.is_relative_to(self.home):
            return self.folder / "home" / path.relative_to(self.home)
        return self.folder / "tmp" / path.relative_to("/tmp")
