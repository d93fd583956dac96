# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Which steps of a workflow can share a task so that nothing waits longer than it would with a task for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Mapping, Sequence

_MOST_COMPARED = 16
"""a step that waits for more is taken as it is: comparing all pairs would take time with their square"""


def groups(
    steps: Sequence[str], before: Mapping[str, Collection[str]], kin: Mapping[str, Hashable | None]
) -> list[list[str]]:
    """The groups of two or more steps that share a task.

    * A chain: a step and the one after it, if it is the only one after it, and waits for nothing else.
    * Steps between the same two steps are a group of their own, and so part of a chain.
    * A connected part of the workflow whose steps are all kin.

    So no group starts later than its first steps would, and what follows a group waits for the end of it anyway. No
    path leads out of a group and back into it. Time and memory grow with the number of steps and of links.

    :param steps: in topological order.
    :param before: the steps that a step waits for; names that are not among ``steps`` are waited for as well.
    :param kin: steps with the same value may share a task; None: the step has a task of its own.
    :return: in the order of their first steps, and so are the steps of each group.

    >>> groups("abcd", {"b": "a", "c": "a", "d": "bc"}, dict.fromkeys("abcd", "here"))
    [['a', 'b', 'c', 'd']]
    >>> groups("abc", {"b": "a", "c": "ab"}, {"a": "here", "b": "there", "c": "here"})
    []
    """
    connected = _connected(steps, before, kin)
    grouped = {step for part in connected for step in part}
    reduced = _Reduction([step for step in steps if step not in grouped], before, kin)
    found = [*connected, *reduced.members.values()]
    numbers = {step: number for number, step in enumerate(steps)}
    several = [sorted(members, key=numbers.__getitem__) for members in found if len(members) > 1]
    return sorted(several, key=lambda members: numbers[members[0]])


def _connected(
    steps: Sequence[str], before: Mapping[str, Collection[str]], kin: Mapping[str, Hashable | None]
) -> list[list[str]]:
    """The connected parts whose steps are all kin."""
    neighbours: dict[str, list[str]] = {step: [] for step in steps}
    for step in steps:
        for other in before.get(step, ()):
            neighbours[step].append(other)
            neighbours.setdefault(other, []).append(step)
    parts: list[list[str]] = []
    seen: set[str] = set()
    for first in steps:
        if first in seen:
            continue
        part, stack = [], [first]
        seen.add(first)
        while stack:
            step = stack.pop()
            part.append(step)
            fresh = [other for other in neighbours[step] if other not in seen]
            seen.update(fresh)
            stack.extend(dict.fromkeys(fresh))
        kinds = {kin.get(step) for step in part}
        if len(part) > 1 and len(kinds) == 1 and None not in kinds:
            parts.append(part)
    return parts


def _not_implied(step: str, before: Mapping[str, Mapping[str, None]]) -> Collection[str]:
    """What a step waits for, without what another step in between waits for as well."""
    waits = before.get(step, {})
    if len(waits) > _MOST_COMPARED:
        return waits
    implied = {first for first in waits for between in waits if first in before.get(between, {})}
    return [name for name in waits if name not in implied]


class _Reduction:
    """Series-parallel reduction: nodes are joined until no two can be.

    :ivar members: the steps of each node, by its name: one of them.
    """

    def __init__(
        self, steps: Sequence[str], before: Mapping[str, Collection[str]], kin: Mapping[str, Hashable | None]
    ) -> None:
        self.members = {step: [step] for step in steps}
        self._kin = kin
        self._before: dict[str, dict[str, None]] = {}
        self._after: dict[str, dict[str, None]] = {}
        waits = {step: dict.fromkeys(others) for step, others in before.items()}
        for step in steps:
            for other in _not_implied(step, waits):
                self._link(other, step)
        self._parallel: dict[tuple[str, str, Hashable], str] = {}
        self._waiting = deque(steps)
        while self._waiting:
            node = self._waiting.popleft()
            if node in self.members:
                self._reduce(node)

    def _link(self, first: str, second: str) -> None:
        self._after.setdefault(first, {})[second] = None
        self._before.setdefault(second, {})[first] = None

    def _unlink(self, first: str, second: str) -> None:
        del self._after[first][second]
        del self._before[second][first]

    def _reduce(self, node: str) -> None:
        before, after = self._before.get(node, {}), self._after.get(node, {})
        if len(before) == 1 and len(after) == 1:
            self._between(node, next(iter(before)), next(iter(after)))
            if node not in self.members:
                return
        if len(before) == 1 and self._is_series(other := next(iter(before)), node):
            self._join_series(other, node)
        elif len(after) == 1 and self._is_series(node, other := next(iter(after))):
            self._join_series(node, other)

    def _between(self, node: str, first: str, second: str) -> None:
        """A node with one other before and one after it."""
        if second in self._after[first]:  # it is implied
            self._unlink(first, second)
            self._waiting += [first, second]
        kin = self._kin.get(node)
        if kin is None:
            return
        twin = self._parallel.setdefault((first, second, kin), node)
        if twin == node:
            return
        if twin in self.members and [*self._before[twin]] == [first] and [*self._after[twin]] == [second]:
            self._unlink(first, node)
            self._unlink(node, second)
            self._absorb(twin, node)
            self._waiting += [twin, first, second]
            return
        self._parallel[first, second, kin] = node

    def _is_series(self, first: str, second: str) -> bool:
        kin = self._kin.get(first)
        alike = kin is not None and kin == self._kin.get(second)
        return alike and len(self._after[first]) == 1 and len(self._before[second]) == 1

    def _join_series(self, first: str, second: str) -> None:
        """The node with more links stays: so the work does not grow with the square of a long chain."""
        before, after = [*self._before.get(first, {})], [*self._after.get(second, {})]
        self._unlink(first, second)
        if len(before) < len(after):
            for other in before:
                self._unlink(other, first)
                self._link(other, second)
            kept, gone = second, first
        else:
            for other in after:
                self._unlink(second, other)
                self._link(first, other)
            kept, gone = first, second
        self._absorb(kept, gone)
        self._waiting += [kept, *(before if kept == second else after)]

    def _absorb(self, kept: str, gone: str) -> None:
        """Smaller lists are moved into longer ones."""
        ours, theirs = self.members[kept], self.members.pop(gone)
        if len(ours) < len(theirs):
            ours, theirs = theirs, ours
        ours.extend(theirs)
        self.members[kept] = ours
