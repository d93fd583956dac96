# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Pauses between attempts, which grow."""

from __future__ import annotations

import asyncio
import math
import random
import time


class Backoff:
    """The pauses between attempts at something.

    Where only the time ends the attempts::

        async for _ in Backoff(1.0, 30.0, limit_s=600.0):
            if await is_ready():
                return
        raise SiteError("not ready within 600 s")

    Where they end otherwise, ``while True`` with :meth:`pause` at its end.

    :param first_s: the first pause.
    :param most_s: the longest one.
    :param factor: by how much each is longer than the one before.
    :param spread: the part of a pause by which it is longer or shorter at random, so that many do not try together.
    :param limit_s: an attempt that ends later than this after now is the last one.
    :ivar next_s: the next pause, without what is added at random.
    """

    def __init__(
        self, first_s: float, most_s: float, *, factor: float = 2.0, spread: float = 0.0, limit_s: float = math.inf
    ) -> None:
        self.next_s = first_s
        self._first_s, self._most_s = first_s, most_s
        self._factor, self._spread = factor, spread
        self._until = time.monotonic() + limit_s
        self._number = 0

    async def pause(self) -> None:
        """Wait, longer than the last time."""
        pause_s = self.next_s * random.uniform(1 - self._spread, 1 + self._spread)
        self.next_s = min(self._most_s, self.next_s * self._factor)
        await asyncio.sleep(pause_s)

    def reset(self) -> None:
        """An attempt was good: the next pause is short again."""
        self.next_s = self._first_s

    def __aiter__(self) -> Backoff:
        return self

    async def __anext__(self) -> int:
        """Number of the attempt that begins now; the first is 1."""
        if self._number > 0:
            if time.monotonic() > self._until:
                raise StopAsyncIteration
            await self.pause()
        self._number += 1
        return self._number
