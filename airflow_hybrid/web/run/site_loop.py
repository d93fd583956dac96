# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""An event loop for what pages ask sites: beside the server's own, which must never wait for a site."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

from fastapi import HTTPException, status

T = TypeVar("T")
MOST_AT_ONCE = 8
IDLE_S = 60.0
"""how long connections are kept that nobody uses"""
_CLOSING_S = 10.0


class SiteLoop:
    """A thread with an event loop, which ends a while after the last question; the next one starts another."""

    def __init__(self, idle_s: float = IDLE_S, most_at_once: int = MOST_AT_ONCE) -> None:
        self._idle_s = idle_s
        self._most_at_once = most_at_once
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = 0
        self._last = 0.0

    @property
    def is_open(self) -> bool:
        """Whether connections may be open."""
        return self._loop is not None

    def run(self, question: Callable[[], Awaitable[T]], limit_s: float) -> T:
        """Ask, and wait for the answer.

        :raises HTTPException: too many others ask (429), or there is no answer in time (504).
        """
        with self._lock:
            if self._asked >= self._most_at_once:
                raise HTTPException(status.HTTP_429_TOO_MANY_REQUESTS, "others read at sites now; try again soon")
            self._asked += 1
            loop = self._loop = self._loop or self._started()
            answer = asyncio.run_coroutine_threadsafe(_within(question, limit_s), loop)
        try:
            return answer.result(limit_s + 1)
        except (FutureTimeout, asyncio.TimeoutError):
            answer.cancel()
            problem = f"the site has not answered within {limit_s:.0f} s; try again"
            raise HTTPException(status.HTTP_504_GATEWAY_TIMEOUT, problem) from None
        finally:
            with self._lock:
                self._asked -= 1
                self._last = time.monotonic()

    def _started(self) -> asyncio.AbstractEventLoop:
        ready = threading.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        from airflow_hybrid.sites.closing import close_all  # here, as in :mod:`airflow_hybrid.web.run.logs`

        async def serve() -> None:
            loops.append(asyncio.get_running_loop())
            ready.set()
            while not self._is_idle(loops[0]):
                await asyncio.sleep(self._idle_s / 10)
            await asyncio.wait_for(close_all(), _CLOSING_S)

        threading.Thread(target=lambda: asyncio.run(serve()), name="sites of pages", daemon=True).start()
        ready.wait()
        return loops[0]

    def _is_idle(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether nobody has asked for a while: then the next one gets another loop."""
        with self._lock:
            is_idle = self._asked == 0 and time.monotonic() - self._last > self._idle_s
            if is_idle and self._loop is loop:
                self._loop = None
            return is_idle


async def _within(question: Callable[[], Awaitable[T]], limit_s: float) -> T:
    return await asyncio.wait_for(question(), limit_s)
