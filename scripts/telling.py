# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Progress in lines: which step, and every ten seconds for how long. It needs no terminal."""

from __future__ import annotations

import threading
import time

EVERY_S = 10.0


class Telling:
    """Says what is being done while it lasts; use as a context manager.

    :param every_s: seconds between two lines about the same step.
    """

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._step = ""
        self._began = self._step_began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def tell(self, step: str) -> None:
        """Begin a step: the line names it, and the seconds since the first one."""
        self._step, self._step_began = step, time.monotonic()
        print(f"{time.monotonic() - self._began:6.0f} s  {step} ...", flush=True)

    def __enter__(self) -> Telling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(self._every_s):
            if self._step:
                now = time.monotonic()
                print(f"{now - self._began:6.0f} s  {self._step} ... for {now - self._step_began:.0f} s", flush=True)
