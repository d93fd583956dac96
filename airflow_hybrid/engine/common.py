# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Shared by the engine's packages: cwltool's one thread, and a task's log."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_CWL_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cwl")
"""cwltool is not thread-safe: all of its work in a process runs in this one thread"""
_CALLS: set[Future[Any]] = set()
"""what the thread does and has yet to do"""


async def in_cwl_thread(function: Callable[..., T], *args: Any) -> T:
    """Run ``function`` in the process's one cwltool thread, so that it never blocks the event loop."""
    call = _CWL_THREAD.submit(functools.partial(function, *args))
    _CALLS.add(call)
    call.add_done_callback(_CALLS.discard)
    return await asyncio.wrap_future(call)


def cwl_thread_is_idle() -> bool:
    """Whether the cwltool thread has nothing to do.

    What runs there may wait for answers from its event loop. Who stops a loop and goes on with other work, which needs
    the thread as well, has to let the loop turn until the thread is idle.
    """
    return not _CALLS


async def all_of(*awaitables: Awaitable[None]) -> None:
    """Wait for all, then raise the first error: a failure of one batch does not abandon the others midway."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


class Logger(Protocol):
    """The part of a logger that the engine uses; a task's own log in Airflow."""

    def info(self, event: Any, /, *args: Any) -> Any: ...

    def warning(self, event: Any, /, *args: Any) -> Any: ...
