# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Joins commands of the same kind for one location that come at about the same time into one command.

The chunks of a scatter are submitted, and end, in groups: a login node sees one command for each group. Joined commands
run one after the other, each with its own stdin, stdout, stderr and exit code, and do not affect each other.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid import shell_text
from airflow_hybrid.errors import CommandEnd, CommandError
from airflow_hybrid.sites.hosts.base import MOST_ANSWER_BYTES, Command, CommandResult, Host, answer_limit, answers_up_to
from airflow_hybrid.sites.hosts.per_loop import PerLoop

GATHER_S = 0.03
"""how long a command waits for others of its kind"""
HOLD_S = 1.0
"""how long it waits while a command of its kind is running; longer ones do not hold up the others"""
MOST_JOINED = 16
MOST_BYTES = 4 << 20
"""most stdin of joined commands together"""


@dataclass
class _QueuedCommand:
    command: Command
    stdin: bytes
    limit: int = field(default_factory=answer_limit)
    done: asyncio.Future[CommandResult] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Lane:
    """Commands of one kind at one location. Belongs to one event loop."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._waiting: list[_QueuedCommand] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._collector: asyncio.Task[None] | None = None

    async def run(self, command: Command) -> CommandResult:
        """Like :meth:`airflow_hybrid.sites.hosts.base.Host.run`.

        The time limit of joined commands is the sum of theirs, because they run one after the other.
        """
        stdin = command.stdin or b""
        if not isinstance(stdin, bytes) or len(stdin) > MOST_BYTES:
            return await command.run_at(self.host)
        queued = _QueuedCommand(command, stdin)
        self._waiting.append(queued)
        if self._collector is None or self._collector.done():
            self._collector = self._start(self._collect())
        return await queued.done

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _collect(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            group: list[_QueuedCommand] = []
            while self._waiting and len(group) < MOST_JOINED:
                if group and sum(len(queued.stdin) for queued in group) + len(self._waiting[0].stdin) > MOST_BYTES:
                    break
                group.append(self._waiting.pop(0))
            group = [queued for queued in group if not queued.done.done()]  # nobody waits for a cancelled one
            if group:
                await asyncio.wait([self._start(self._go(group))], timeout=HOLD_S)

    async def _go(self, group: list[_QueuedCommand]) -> None:
        try:
            results = await self._run(group)
        except asyncio.CancelledError:  # the event loop ends
            for queued in group:
                queued.done.cancel()
            raise
        except Exception as error:  # each caller gets it
            for queued in group:
                if not queued.done.done():
                    queued.done.set_exception(error)
            return
        for queued, result in zip(group, results, strict=True):
            if not queued.done.done():
                queued.done.set_result(result)

    async def _run(self, group: Sequence[_QueuedCommand]) -> list[CommandResult]:
        if len(group) == 1:
            (queued,) = group
            with answers_up_to(queued.limit):
                return [await queued.command.run_at(self.host)]
        mark = f"airflow-hybrid-{secrets.token_hex(8)}"
        label = f"{group[0].command.label} and {len(group) - 1} more"
        with answers_up_to(min(MOST_ANSWER_BYTES, sum(queued.limit for queued in group))):
            answer = await self.host.run(
                joined([(queued.command.text, len(queued.stdin)) for queued in group], mark),
                stdin=b"".join(queued.stdin for queued in group),
                timeout_s=sum(queued.command.timeout_s for queued in group),
                label=label,
            )
        parts = parted(answer.stdout, answer.stderr, mark)
        if len(parts) != len(group):
            end = CommandEnd(self.host.title, label, exit_code=None, stderr=answer.err)
            raise CommandError("the answer was cut off", end)
        return [
            CommandResult(self.host.title, queued.command.label, code, out, err)
            for queued, (code, out, err) in zip(group, parts, strict=True)
        ]


def joined(commands: Sequence[tuple[str, int]], mark: str) -> str:
    """Shell text that runs commands one after the other; each reads its own part of the common stdin.

    :param commands: shell text, and the number of bytes of its stdin.
    :param mark: a word that occurs in no output; :func:`parted` needs it.
    """
    parts = []
    for text, size in commands:
        parts.append(shell_text.filled(__package__, "joined.sh", {"HEAD": _head(size), "MARK": mark, "TEXT": text}))
    return "\n".join(parts)


def _head(size: int) -> str:
    """Shell text that reads exactly that many bytes of stdin: busybox's ``head`` alone would read too many."""
    if size == 0:
        return ":"
    return f"{{ dd bs={size} count=1 iflag=fullblock 2>/dev/null || head -c {size}; }}"


def parted(stdout: bytes, stderr: bytes, mark: str) -> list[tuple[int, bytes, bytes]]:
    """Exit code, stdout and stderr of each command that ended."""
    output, *others = stdout.split(b"\n%b " % mark.encode())
    errors = stderr.split(b"\n%b end\n" % mark.encode())
    results: list[tuple[int, bytes, bytes]] = []
    for index, other in enumerate(others):
        code, has_ended, next_output = other.partition(b" end\n")
        if not has_ended or not code.isdigit() or index + 1 >= len(errors):
            break
        results.append((int(code), output, errors[index]))
        output = next_output
    return results


_LANES: PerLoop[tuple[str, str], Lane] = PerLoop()
"""key: kind of command and key of the host"""


async def run_joined(host: Host, kind: str, command: Command) -> CommandResult:
    """Run a command, joined with others of its kind unless the location is this machine.

    :param kind: which commands may be joined, such as ``submit``.
    :raises SiteError: as :meth:`airflow_hybrid.sites.hosts.base.Host.run`; all joined commands get it.
    """
    if not host.joins:
        return await command.run_at(host)
    lane = _LANES.get((kind, host.key), lambda: Lane(host))
    lane.host = host  # the last one may have been closed
    return await lane.run(command)
