# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The transfers that this process makes at the moment, for people who watch it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

_UNDER_WAY: dict[object, UnderWay] = {}


@dataclass(frozen=True)
class UnderWay:
    """Files on their way from one location to another; ``bytes``: all of them together, 0 where it is not known."""

    source: str
    target: str
    files: int
    bytes: int


@contextlib.contextmanager
def under_way(source: str, target: str, sizes: list[int]) -> Iterator[None]:
    """Files are on their way from one location to another."""
    transfer = object()
    _UNDER_WAY[transfer] = UnderWay(source, target, len(sizes), sum(sizes))
    try:
        yield
    finally:
        del _UNDER_WAY[transfer]


def transfers_under_way() -> tuple[UnderWay, ...]:
    """What is on its way; any thread may ask."""
    return tuple(_UNDER_WAY.values())
