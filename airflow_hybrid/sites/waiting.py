# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Runs async work that a thread waits for, while signal handlers may raise in that thread at any moment."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from airflow_hybrid.errors import CancelledError

log = logging.getLogger(__name__)
T = TypeVar("T")
AGAIN_S = 2.0
"""how long after a cancellation work is cancelled again"""
END_S = 20.0
"""how long cancelled work may take to end"""

_RUNNING: set[_Running] = set()


class TimeIsOverError(Exception):
    """The work took longer than it may."""


def time_is_over(limit_s: float | None, consequence: str) -> str:
    """The message for a task that took longer than its ``execution_timeout``."""
    return (
        f"the task's execution_timeout of {limit_s or 0:g} s is over: {consequence}\n"
        "  -> for more time, set `dag: {default_args: {execution_timeout: <seconds>}}` in the hybrid file"
    )


def wait_for(work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
    """Run async work in an event loop of its own, and close its connections at its end.

    The loop has a thread of its own. Airflow ends a task whose time is up by an exception that a signal handler raises
    in the main thread. In a callback of an event loop, asyncio would log the exception and go on forever. Here the main
    thread only waits: the exception arrives, the work is cancelled, and the exception is passed on.

    :param timeout_s: seconds after which the work is given up.
    :raises TimeIsOverError: it took longer.
    :raises CancelledError: another thread gave it up, see :func:`give_up`.
    """
    running = _Running(work)
    _RUNNING.add(running)
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(running.run,), name="airflow_hybrid", daemon=True
    )
    try:
        thread.start()
        if not running.ended.wait(timeout_s):
            raise TimeIsOverError
        return running.value()  # type: ignore[no-any-return]
    finally:
        if not running.ended.is_set():
            running.give_up()
            if thread.is_alive() and not running.end():
                log.warning("cancelled work has not ended within %g s", END_S)
        _RUNNING.discard(running)


def give_up(wait_s: float) -> None:
    """Cancel all work that threads of this process wait for.

    :param wait_s: how long it may take to end before this returns.
    """
    for running in list(_RUNNING):
        running.give_up()
    for running in list(_RUNNING):
        running.ended.wait(wait_s)


class _Running:
    """Work in a loop of its own, which other threads may cancel.

    :ivar ended: set when the loop is closed.
    """

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self.ended = threading.Event()
        self._work = work
        self._result: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._lock = threading.RLock()  # a signal handler may give up the work that it interrupts
        self._given_up = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def run(self) -> None:
        """Do the work, in this thread."""
        try:
            value = asyncio.run(self._main())
        except BaseException as error:
            self._result.set_exception(error)
        else:
            self._result.set_result(value)
        finally:
            self.ended.set()

    async def _main(self) -> Any:
        with self._lock:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._given_up:
            self._work.close()
            raise asyncio.CancelledError
        try:
            return await self._work
        finally:
            from airflow_hybrid.sites.closing import close_all  # parsing a DAG does not need it

            await close_all()

    def give_up(self) -> None:
        """Cancel the work, whether it has begun or not."""
        with self._lock:
            self._given_up = True
            if self._loop is not None and self._task is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._task.cancel)

    def end(self) -> bool:
        """Wait until cancelled work has ended; -> whether it has.

        It is cancelled again from time to time, because ``asyncio.wait_for`` may lose a cancellation (bpo-37658).
        """
        for _ in range(round(END_S / AGAIN_S)):
            if self.ended.wait(AGAIN_S):
                return True
            self.give_up()
        return False

    def value(self) -> Any:
        """The result of the work, which has ended."""
        error = self._result.exception(0)
        if isinstance(error, asyncio.CancelledError) and self._given_up:
            raise CancelledError("the task was killed before it had ended")
        if error is not None:
            raise error
        return self._result.result(0)
