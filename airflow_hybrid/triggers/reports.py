# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Publishes what is known of a task's jobs and files, as XComs of the task: while it runs, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar

from airflow_hybrid.engine.common import Logger
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.files import ROUTES
from airflow_hybrid.model.records import JOBS_XCOM, LINEAGE_XCOM
from airflow_hybrid.printable import few_lines, shortened

if TYPE_CHECKING:
    from airflow_hybrid.engine import FragmentExecution
    from airflow_hybrid.engine.reporting.recording import Recorder
    from airflow_hybrid.engine.spec import FragmentSpec

_MOST_LINES = 10
_MOST_CHARS = 2000
LIVE_S = 4.0
"""between two reports while jobs run; a task that is quicker makes one report"""
UNCHANGED_S = 60.0
"""between two reports that differ only in when they were made: their time says until when the jobs were looked at"""


def problem(error: HybridError) -> JsonValue:
    """An error for people who look at a task later: its beginning, as JSON."""
    value = error.to_json()
    for key in ("message", "where", "hint"):
        text = value[key]
        value[key] = None if text is None else shortened(few_lines(text, _MOST_LINES), _MOST_CHARS)
    return value


class JobReports:
    """Publishes the reports of one task, and its lineage unless it succeeds: then that is published with its value.

    :param execution: its fragment, as it is now: a fragment that waited for a login begins anew.
    :param publish: sets an XCom, by its key.
    """

    follower: ClassVar[Callable[[JobReports], None] | None] = None
    """is called when the jobs of a task begin; a runner with tasks and triggers in its own process shows them"""

    def __init__(
        self,
        execution: Callable[[], FragmentExecution],
        publish: Callable[[str, JsonValue], Awaitable[None]],
        log: Logger,
    ) -> None:
        self._execution = execution
        self._publish = publish
        self._log = log
        self._told: dict[str, tuple[int, ...]] = {}
        self._warned = False
        self.is_over = False

    @property
    def recorder(self) -> Recorder:
        """What is known of the jobs."""
        return self._execution().batches.recorder

    @property
    def spec(self) -> FragmentSpec:
        return self._execution().context.spec

    @contextlib.asynccontextmanager
    async def kept_up_to_date(self) -> AsyncIterator[None]:
        """Publish while jobs run, and once more at the end, also if that is an error."""
        if JobReports.follower is not None:
            JobReports.follower(self)
        task = asyncio.ensure_future(self._repeat())
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._tell_jobs()
            if not succeeded:
                await self._tell_lineage()
            self.is_over = True

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(LIVE_S)
            await self._tell_jobs()
            await self._tell_lineage()

    async def _tell_jobs(self) -> None:
        recorder = self.recorder
        if not recorder.is_empty:
            period = int(time.monotonic() / UNCHANGED_S) if recorder.waits else 0
            now = (id(recorder), recorder.changes, period)
            await self._tell(JOBS_XCOM, now, lambda: recorder.report().to_json())

    async def _tell_lineage(self) -> None:
        """Publish at most a hundred entries for each route between two sites, however many files there are."""
        execution = self._execution()
        if execution.lineage_entries:
            now = (id(execution), execution.lineage_entries)
            await self._tell(LINEAGE_XCOM, now, lambda: [entry.to_json() for entry in execution.lineage(ROUTES)])

    async def _tell(self, key: str, now: tuple[int, ...], report: Callable[[], JsonValue]) -> None:
        """Publish what is new. The work goes on without it: the report is for people.

        :param now: tells this report from the last one.
        """
        if self._told.get(key) == now:
            return
        try:
            await self._publish(key, report())
        except Exception as error:
            if not self._warned:
                self._log.warning("the report about the jobs cannot be published, and is tried again: %s", error)
            self._warned = True
            return
        self._told[key] = now
