# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Growing pauses between attempts."""

from __future__ import annotations

import asyncio
import math
import random
import time


class Backoff:
    """The pauses between attempts at something.

    If the attempts end only when the time is up::

        async for _ in Backoff(1.0, 30.0, limit_s=600.0):
            if await is_ready():
                return
        raise SiteError("not ready within 600 s")

    Otherwise, use ``while True`` with :meth:`pause` at its end.

    :param first_s: the first pause.
    :param most_s: the longest pause.
    :param factor: by how much each pause is longer than the one before.
    :param spread: the random part of a pause, so that many processes do not try at the same moment.
    :param limit_s: after this time no further attempt begins.
    :ivar next_s: the next pause, without its random part.
    """

    def __init__(
        self, first_s: float, most_s: float, *, factor: float = 2.0, spread: float = 0.0, limit_s: float = math.inf
    ) -> None:
        self.next_s = first_s
        self._first_s, self._most_s = first_s, most_s
        self._factor, self._spread = factor, spread
        self._until = time.monotonic() + limit_s
        self._number = 0

    async def pause(self, at_most_s: float = math.inf) -> None:
        """Wait, longer than the last time."""
        pause_s = self.next_s * random.uniform(1 - self._spread, 1 + self._spread)
        self.next_s = min(self._most_s, self.next_s * self._factor)
        await asyncio.sleep(min(pause_s, max(0.0, at_most_s)))

    def reset(self) -> None:
        """An attempt succeeded: the next pause is short again."""
        self.next_s = self._first_s

    def __aiter__(self) -> Backoff:
        return self

    async def __anext__(self) -> int:
        """The number of the attempt that begins now, from 1."""
        if self._number > 0:
            if time.monotonic() > self._until:
                raise StopAsyncIteration
            await self.pause()
        self._number += 1
        return self._number
