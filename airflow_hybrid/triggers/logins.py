# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The trigger of a task whose worker was refused a login: it looks at files, and never at the host."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_hybrid.sites.logins import state_of
from airflow_hybrid.triggers.hybrid import RESUME_AFTER_S

LOOK_S = 1.0
QUIET_S = 3.0
"""how long files that have changed must stay as they are"""
WRITTEN_S = 60.0
"""how long that is waited for"""


class LoginTrigger(BaseTrigger):
    """Sends a task back to its worker when somebody has logged in or renewed a credential, or when a pause is over.

    :param files: see :func:`airflow_hybrid.sites.logins.state_of`, as the worker saw them.
    :param machine: of the worker. On another machine, only what changes there from now on is noticed: a kept login, if
        the machines share its folder.
    :param pause_s: after which the worker looks again by itself.
    """

    def __init__(self, files: Mapping[str, Any], machine: str, pause_s: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.files = dict(files)
        self.machine = machine
        self.pause_s = pause_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {"files": self.files, "machine": self.machine, "pause_s": self.pause_s}
        return ("airflow_hybrid.triggers.logins.LoginTrigger", arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        began = time.monotonic()
        before = self.files if self.machine == socket.gethostname() else state_of(self.files)
        while time.monotonic() < began + self.pause_s and state_of(self.files) == before:
            await asyncio.sleep(LOOK_S)
        await self._until_written()
        await asyncio.sleep(max(0.0, began + RESUME_AFTER_S - time.monotonic()))
        yield TriggerEvent(None)  # type: ignore[no-untyped-call]

    async def _until_written(self) -> None:
        """Until nothing changes any more: the worker would fail with half a key."""
        ends = time.monotonic() + WRITTEN_S
        before, since = state_of(self.files), time.monotonic()
        while time.monotonic() < min(ends, since + QUIET_S):
            await asyncio.sleep(LOOK_S)
            now = state_of(self.files)
            if now != before:
                before, since = now, time.monotonic()
