# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Objects that are shared within an event loop: connections, locks and futures belong to one loop and one process."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class PerLoop(Generic[K, V]):
    """A table for each event loop, which is dropped with the loop. A fork does not inherit its parent's tables."""

    def __init__(self) -> None:
        self._tables: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[int, dict[K, V]]] = (
            weakref.WeakKeyDictionary()
        )

    def here(self) -> dict[K, V]:
        """The table of the running event loop.

        :raises RuntimeError: no event loop runs in this thread.
        """
        loop = asyncio.get_running_loop()
        owner, table = self._tables.get(loop, (0, {}))
        if owner != os.getpid():
            table = {}
            self._tables[loop] = (os.getpid(), table)
        return table

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The running event loop's value of a key; the first caller makes it."""
        table = self.here()
        if key not in table:
            table[key] = make()
        return table[key]
