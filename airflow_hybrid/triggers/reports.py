# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Publishes what is known of a task's jobs, as an XCom of the task: while they run, and when they have ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from airflow_hybrid.engine.common import Logger
from airflow_hybrid.engine.reporting.recording import Recorder
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.printable import few_lines, shortened

JOBS_XCOM = "jobs"
"""key of the XCom with a :class:`airflow_hybrid.model.records.JobsReport`"""
PROBLEM_XCOM = "problem"
"""key of the XCom with the error that a task has failed with, or that it waits for (:func:`problem`)"""
_MOST_LINES = 10
_MOST_CHARS = 2000
LIVE_S = 4.0
"""between two reports while jobs run; a task that is quicker makes one report"""


def problem(error: HybridError) -> JsonValue:
    """An error for people who look at a task later: its beginning, as JSON."""
    value = error.to_json()
    for key in ("message", "where", "hint"):
        text = value[key]
        value[key] = None if text is None else shortened(few_lines(text, _MOST_LINES), _MOST_CHARS)
    return value


class JobReports:
    """Publishes the reports of one task.

    :param recorder: of its fragment, as it is now: a fragment that waited for a login begins anew.
    :param publish: sets the XCom.
    """

    def __init__(
        self, recorder: Callable[[], Recorder], publish: Callable[[JsonValue], Awaitable[None]], log: Logger
    ) -> None:
        self._recorder = recorder
        self._publish = publish
        self._log = log
        self._told: tuple[int, int] | None = None
        self._warned = False

    @contextlib.asynccontextmanager
    async def kept_up_to_date(self) -> AsyncIterator[None]:
        """Publish while jobs run, and once more at the end, also if that is an error."""
        task = asyncio.ensure_future(self._repeat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._tell()

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(LIVE_S)
            await self._tell()

    async def _tell(self) -> None:
        """Publish what is new. The work goes on without it: the report is for people."""
        recorder = self._recorder()
        now = (id(recorder), recorder.changes)
        if recorder.is_empty or now == self._told:
            return
        try:
            await self._publish(recorder.report().to_json())
        except Exception as error:
            if not self._warned:
                self._log.warning("the report about the jobs cannot be published, and is tried again: %s", error)
            self._warned = True
            return
        self._told = now
