# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The progress of a batch in its task's log."""

from __future__ import annotations

import asyncio
import time

from airflow_hybrid.engine.common import Logger
from airflow_hybrid.hooks.queue import Progress

PAUSE_S = 1.0
"""between two lines about the progress of the same jobs"""


class ProgressLog:
    """Tells a task's log how far the jobs of a batch are: each change, but a line per :data:`PAUSE_S` at most."""

    def __init__(self, name: str, log: Logger) -> None:
        self.name = name
        self.log = log
        self._said = ""
        self._when = 0.0
        self._later: asyncio.TimerHandle | None = None

    def tell(self, progress: Progress) -> None:
        """The jobs have come to where ``progress`` says."""
        self.close()
        left_s = self._when + PAUSE_S - time.monotonic()
        if left_s <= 0 or progress.finished == progress.total:
            self._say(progress)
        else:
            self._later = asyncio.get_running_loop().call_later(left_s, self._say, progress)

    def close(self) -> None:
        """Nothing more is said."""
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _say(self, progress: Progress) -> None:
        self._later = None
        text = str(progress)
        if text != self._said:
            self._said, self._when = text, time.monotonic()
            self.log.info("%s: %s", self.name, text)
