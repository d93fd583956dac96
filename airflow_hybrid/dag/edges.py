# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which edges a DAG needs: those that others imply only clutter the graph, and the scheduler checks each of them."""

from __future__ import annotations

from collections.abc import Collection


class Edges:
    """The order of a DAG's tasks, which are told in an order in which each comes after those that it waits for.

    An edge may be left out where the task waits for another one that waits for the same: with the rule ``none_failed``
    a failure reaches it all the same (as ``upstream_failed``), a skip stops neither of them, and a clear takes all that
    follows.

    >>> edges = Edges()
    >>> edges.needed("b", {"a"}), edges.needed("c", {"a", "b"})
    (['a'], ['b'])
    """

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}
        self._ancestors: dict[str, int] = {}
        """by task: the bits of all that it waits for; sets of names would grow with the square of a chain"""

    def needed(self, task: str, upstream: Collection[str]) -> list[str]:
        """Those of the tasks before ``task`` that no other one of them waits for, sorted."""
        implied = 0
        for name in upstream:
            implied |= self._ancestors.get(name, 0)
        self._ancestors[task] = implied
        for name in upstream:
            self._ancestors[task] |= self._bit(name)
        return sorted(name for name in upstream if not implied & self._bit(name))

    def _bit(self, task: str) -> int:
        return 1 << self._bits.setdefault(task, len(self._bits))
