# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A task's log about its jobs: where they run and, if the binding asks for it, the end of their stderr."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow_hybrid.amounts import counted
from airflow_hybrid.cwl.jobs.job import PendingJob
from airflow_hybrid.engine.common import Logger
from airflow_hybrid.engine.placing.places import Place
from airflow_hybrid.model import JobResult, JobScript, JobState
from airflow_hybrid.printable import printable, quoted_lines

FOLLOW_S = 30.0
"""between two looks at the stderr of running jobs"""
MOST_JOBS = 5
"""jobs of a batch whose stderr is shown"""
TAIL_LINES = 15
MOST_NAMES = 10
_QUEUES = {"partition": "partition", "queue": "queue", "q": "queue"}
"""scheduler options that say where jobs go, and the words for them"""


def submitted(ids: Sequence[str], options: Mapping[str, Any]) -> str:
    """``as job 4711 in partition short``; unknown parts are left out."""
    parts = []
    if ids:
        more = f" and {len(ids) - MOST_NAMES:,} more" if len(ids) > MOST_NAMES else ""
        parts.append(f"as job {', '.join(ids[:MOST_NAMES])}{more}")
    parts.extend(f"in {word} {options[key]}" for key, word in _QUEUES.items() if options.get(key))
    return printable(" ".join(parts))


def ended(results: Sequence[JobResult]) -> str:
    """``12 jobs ended on node1, node2``; ``3 jobs were lost``: nobody knows how those ended."""
    lost = [result for result in results if result.state is JobState.LOST]
    over = [result for result in results if result.state is not JobState.LOST]
    parts = [_over(over)] if over or not lost else []
    if lost:
        parts.append(f"{counted(len(lost), 'job')} {'was' if len(lost) == 1 else 'were'} lost")
    return ", ".join(parts)


def attempted_again(states: Sequence[str]) -> str:
    """What happened to jobs of an earlier attempt that are run again: ``1 job that was lost, 2 jobs that failed: ...``.

    :param states: how they ended, as :func:`airflow_hybrid.engine.step_run.end_state` says it.
    """
    lost = sum(state == "lost" for state in states)
    failed = len(states) - lost
    parts = []
    if lost:
        parts.append(f"{counted(lost, 'job')} that {'was' if lost == 1 else 'were'} lost")
    if failed:
        parts.append(f"{counted(failed, 'job')} that failed")
    return f"{', '.join(parts)} in an earlier attempt: run again"


def _over(results: Sequence[JobResult]) -> str:
    nodes = list(dict.fromkeys(result.node for result in results if result.node))
    where = ", ".join(nodes[:MOST_NAMES])
    if len(nodes) > MOST_NAMES:
        where += f" and {len(nodes) - MOST_NAMES} more"
    return printable(f"{counted(len(results), 'job')} ended" + (f" on {where}" if where else ""))


def stderr_path(directory: str, script: JobScript | None) -> str:
    """Path of a job's stderr; ``directory``: of the job."""
    if script is None or not script.stderr:
        return posixpath.join(directory, "stderr")
    return posixpath.normpath(posixpath.join(directory, "out", script.stderr))


class Tails:
    """Shows the ends of the stderr of some jobs of a batch.

    :param directory: of the batch; ``paths``: stderr of each job.
    """

    def __init__(
        self, place: Place, directory: str, jobs: Sequence[PendingJob], paths: Mapping[str, str], log: Logger
    ) -> None:
        self._place = place
        self._directory = directory
        self._jobs = [job for job in jobs if job.key in paths][:MOST_JOBS]
        self._paths = paths
        self._log = log
        self._said: dict[str, str] = {}

    async def show(self) -> None:
        """Show what is new since the last call."""
        tails = await self._place.queue.tails(self._directory, [self._paths[job.key] for job in self._jobs])
        for job, tail in zip(self._jobs, tails, strict=False):
            if tail.strip() and tail != self._said.get(job.key):
                self._said[job.key] = tail
                text = "\n".join(quoted_lines(tail, most=TAIL_LINES, indent="  "))
                self._log.info("%s at %s: the end of its stderr:\n%s", job.label, self._place.title, text)

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Show it while the jobs run, and once when they have ended."""
        task = asyncio.ensure_future(self._follow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.show()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            await self.show()
