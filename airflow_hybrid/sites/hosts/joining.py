# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Commands of the same kind that are to be run at one location at about the same time go there as one.

The chunks of a scatter are submitted, and end, in groups: a login node sees one command for each group. Commands that
are joined run one after the other, each with its own stdin, stdout, stderr and exit code, and none sees another.
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
"""how long a command waits for its like"""
HOLD_S = 1.0
"""how long it waits for one of its like that is running; the longer ones do not hold up the others"""
MOST_JOINED = 16
MOST_BYTES = 4 << 20
"""of stdin that is joined"""


@dataclass
class _Wanted:
    command: Command
    stdin: bytes
    limit: int = field(default_factory=answer_limit)
    done: asyncio.Future[CommandResult] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Lane:
    """Commands of one kind at one location. Belongs to one event loop."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._waiting: list[_Wanted] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._collector: asyncio.Task[None] | None = None

    async def run(self, command: Command) -> CommandResult:
        """As :meth:`airflow_hybrid.sites.hosts.base.Host.run`.

        Commands that are joined have the sum of their time limits, as one waits for the other.
        """
        stdin = command.stdin or b""
        if not isinstance(stdin, bytes) or len(stdin) > MOST_BYTES:
            return await command.run_at(self.host)
        wanted = _Wanted(command, stdin)
        self._waiting.append(wanted)
        if self._collector is None or self._collector.done():
            self._collector = self._start(self._collect())
        return await wanted.done

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _collect(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            group: list[_Wanted] = []
            while self._waiting and len(group) < MOST_JOINED:
                if group and sum(len(one.stdin) for one in group) + len(self._waiting[0].stdin) > MOST_BYTES:
                    break
                group.append(self._waiting.pop(0))
            group = [one for one in group if not one.done.done()]  # nobody waits for a cancelled one
            if group:
                await asyncio.wait([self._start(self._go(group))], timeout=HOLD_S)

    async def _go(self, group: list[_Wanted]) -> None:
        try:
            results = await self._run(group)
        except asyncio.CancelledError:  # the event loop ends
            for one in group:
                one.done.cancel()
            raise
        except Exception as error:  # theirs to judge: each of them waits for it
            for one in group:
                if not one.done.done():
                    one.done.set_exception(error)
            return
        for one, result in zip(group, results, strict=True):
            if not one.done.done():
                one.done.set_result(result)

    async def _run(self, group: Sequence[_Wanted]) -> list[CommandResult]:
        if len(group) == 1:
            (one,) = group
            with answers_up_to(one.limit):
                return [await one.command.run_at(self.host)]
        mark = f"airflow-hybrid-{secrets.token_hex(8)}"
        label = f"{group[0].command.label} and {len(group) - 1} more"
        with answers_up_to(min(MOST_ANSWER_BYTES, sum(one.limit for one in group))):
            answer = await self.host.run(
                joined([(one.command.text, len(one.stdin)) for one in group], mark),
                stdin=b"".join(one.stdin for one in group),
                timeout_s=sum(one.command.timeout_s for one in group),
                label=label,
            )
        parts = parted(answer.stdout, answer.stderr, mark)
        if len(parts) != len(group):
            end = CommandEnd(self.host.title, label, exit_code=None, stderr=answer.err)
            raise CommandError("the answer was cut off", end)
        return [
            CommandResult(self.host.title, one.command.label, code, out, err)
            for one, (code, out, err) in zip(group, parts, strict=True)
        ]


def joined(commands: Sequence[tuple[str, int]], mark: str) -> str:
    """Shell text that runs commands one after the other; each takes its own bytes of the stdin that all share.

    :param commands: shell text, and the number of bytes of its stdin.
    :param mark: a word that no output holds; :func:`parted` needs it.
    """
    parts = []
    for text, size in commands:
        parts.append(shell_text.filled(__package__, "joined.sh", {"HEAD": _head(size), "MARK": mark, "TEXT": text}))
    return "\n".join(parts)


def _head(size: int) -> str:
    """Shell text that reads so many bytes of stdin, and no more: busybox's ``head`` takes what follows, too."""
    if size == 0:
        return ":"
    return f"{{ dd bs={size} count=1 iflag=fullblock 2>/dev/null || head -c {size}; }}"


def parted(stdout: bytes, stderr: bytes, mark: str) -> list[tuple[int, bytes, bytes]]:
    """Exit code, stdout and stderr of each command that came to its end."""
    own, *others = stdout.split(b"\n%b " % mark.encode())
    errors = stderr.split(b"\n%b end\n" % mark.encode())
    found: list[tuple[int, bytes, bytes]] = []
    for index, other in enumerate(others):
        code, whole, rest = other.partition(b" end\n")
        if not whole or not code.isdigit() or index + 1 >= len(errors):
            break
        found.append((int(code), own, errors[index]))
        own = rest
    return found


_LANES: PerLoop[tuple[str, str], Lane] = PerLoop()
"""by kind of command and key of the host"""


async def run_joined(host: Host, kind: str, command: Command) -> CommandResult:
    """Run a command, together with others of its kind where the location is not this machine.

    :param kind: what may go together, such as ``submit``.
    :raises SiteError: as :meth:`airflow_hybrid.sites.hosts.base.Host.run`; all that were joined get it.
    """
    if not host.joins:
        return await command.run_at(host)
    lane = _LANES.get((kind, host.key), lambda: Lane(host))
    lane.host = host  # the last one may have been closed
    return await lane.run(command)
