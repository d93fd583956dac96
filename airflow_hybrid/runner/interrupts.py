# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Ctrl-C and SIGTERM in a runner's loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def interrupts_outside_of_tasks(loop: asyncio.AbstractEventLoop) -> Iterator[list[asyncio.Future[Any]]]:
    """SIGINT and SIGTERM cancel the futures in the yielded list and empty it.

    By default Python raises an exception wherever the loop happens to be, perhaps in a task whose result nobody reads.
    """
    work: list[asyncio.Future[Any]] = []

    def interrupt() -> None:
        while work:
            work.pop().cancel()

    if threading.current_thread() is not threading.main_thread():
        yield work
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = [number for number, handler in before.items() if callable(handler)]
    for number in heard:
        loop.add_signal_handler(number, interrupt)
    try:
        yield work
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
