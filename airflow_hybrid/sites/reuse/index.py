# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""This process's view of the index of finished jobs at a location: many batches read and write it in few commands.

The names of a tool's records are remembered for a while, so that the chunks of a new scatter need only one question.
New records are collected and written together. The only cost is a missed chance: if another process has just written a
record, or this one was killed before it wrote it, the job runs again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.errors import SiteError
from airflow_hybrid.sites.hosts.base import TASK_BYTES, CommandResult, Host, answer_bytes, answers_up_to
from airflow_hybrid.sites.hosts.per_loop import PerLoop
from airflow_hybrid.sites.reuse.commands import (
    RECORD_BYTES,
    Lookup,
    lookup_command,
    lookup_input,
    parse_lookup,
    short,
    store_command,
    store_input,
    tool_of,
)

log = logging.getLogger(__name__)
REMEMBER_S = 30.0
"""how long a location's answer about a tool is used"""
GATHER_S = 5.0
"""how long a record waits for others"""

Ask = Callable[[Callable[[], Awaitable[CommandResult]]], Awaitable[CommandResult]]


@dataclass
class _Tool:
    """What is known about one tool's records.

    :ivar names: see :class:`airflow_hybrid.sites.reuse.commands.Lookup`.
    :ivar asked_at: time of the last question, by the monotonic clock; minus infinity: never.
    """

    names: set[str] | None = field(default_factory=set)
    asked_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ReuseIndex:
    """The index of one work directory. Belongs to one event loop."""

    def __init__(self, host: Host, workdir: str) -> None:
        self.host = host
        self.workdir = workdir
        self._tools: dict[str, _Tool] = {}
        self._unwritten: dict[str, Mapping[str, Any]] = {}
        self._writer: asyncio.Task[None] | None = None
        self._write_lock = asyncio.Lock()
        self._hurry = asyncio.Event()

    async def find(self, keys: Sequence[str], task_directory: str, patiently: Ask) -> Lookup:
        """The records of some jobs of one tool.

        :param task_directory: of the task that asks; the answer also names the jobs that it has begun itself.
        :param patiently: runs a command, and repeats it while the location is temporarily unreachable.
        :raises SiteError: the location cannot be asked.
        :raises ValueError: its answer is invalid.
        """
        name = tool_of(keys[0])
        tool = self._tools.setdefault(name, _Tool())
        async with tool.lock:  # of many concurrent callers, one asks for all
            if any(key in self._unwritten for key in keys):
                await self.write()
            if time.monotonic() - tool.asked_at > REMEMBER_S:
                lookup = await self._ask(name, keys, task_directory, patiently)
                tool.names, tool.asked_at = None if lookup.names is None else set(lookup.names), time.monotonic()
                return lookup
            if tool.names is not None and not any(short(key) in tool.names for key in keys):
                return Lookup()
        return await self._ask(name, keys, task_directory, patiently)

    async def _ask(self, tool: str, keys: Sequence[str], task_directory: str, patiently: Ask) -> Lookup:
        command = lookup_command(self.workdir, tool, task_directory)
        stdin = lookup_input(sorted(set(keys)))
        ask = functools.partial(self.host.run, command, stdin=stdin, label="look for finished jobs")
        with answers_up_to(answer_bytes(len(set(keys)), RECORD_BYTES, TASK_BYTES)):
            answer = await patiently(ask)
        return await asyncio.to_thread(parse_lookup, answer.stdout)

    def record(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Note finished jobs by key; they are written soon, together with others, and before connections are closed."""
        self._unwritten.update(records)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_soon(), name=f"records of finished jobs: {self.host.title}")

    async def _write_soon(self) -> None:
        while self._unwritten:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), GATHER_S)
            await self.write()

    async def write(self) -> None:
        """Write the collected records. If the location refuses them, the log has a warning."""
        async with self._write_lock:
            records = dict(self._unwritten)
            if not records:
                return
            try:
                stdin = await asyncio.to_thread(store_input, records)
                answer = await self.host.run(store_command(self.workdir), stdin=stdin, label="record of finished jobs")
                answer.check("the finished jobs cannot be recorded for reuse")
            except SiteError as error:
                log.warning("%s", error)
            else:
                self._learn(records)
            for key, record in records.items():
                if self._unwritten.get(key) is record:
                    del self._unwritten[key]

    def _learn(self, keys: Iterable[str]) -> None:
        for key in keys:
            tool = self._tools.get(tool_of(key))
            if tool is not None and tool.names is not None:
                tool.names.add(short(key))

    async def close(self) -> None:
        """Write the remaining records now."""
        self._hurry.set()
        if self._writer is not None:
            await self._writer
        self._hurry.clear()


_INDEXES: PerLoop[tuple[str, str, str], ReuseIndex] = PerLoop()
"""key: deployment, key of the host, and work directory"""


def reuse_index(host: Host, workdir: str) -> ReuseIndex:
    """The running event loop's index of a work directory."""
    index = _INDEXES.get((host.deployment, host.key, workdir), lambda: ReuseIndex(host, workdir))
    index.host = host  # the last one may have been closed
    return index


async def write_all() -> None:
    """Write what the indexes of the running event loop have collected; call it before connections are closed."""
    for index in list(_INDEXES.here().values()):
        await index.close()
