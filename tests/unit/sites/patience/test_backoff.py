# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Attempts have pauses between them, which grow, and an end."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from airflow_hybrid.sites.patience.backoff import Backoff


class Clock:
    """A clock that only moves when somebody waits, or works."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pauses: list[float] = []

    async def sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.now_s += pause_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    return clock


async def test_pauses_grow_up_to_the_longest(clock: Clock) -> None:
    waits = Backoff(1.0, 5.0)
    shown = []
    for _ in range(5):
        shown.append(waits.next_s)
        await waits.pause()
    assert shown == clock.pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


async def test_after_a_good_attempt_they_are_short_again(clock: Clock) -> None:
    waits = Backoff(1.0, 30.0, factor=3.0)
    await waits.pause()
    await waits.pause()
    waits.reset()
    await waits.pause()
    assert clock.pauses == [1.0, 3.0, 1.0]


async def test_those_of_many_are_spread(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[tuple[float, float]] = []

    def longest(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    monkeypatch.setattr(random, "uniform", longest)
    waits = Backoff(2.0, 30.0, spread=0.5)
    await waits.pause()
    assert bounds == [(0.5, 1.5)] and clock.pauses == [3.0] and waits.next_s == 4.0


async def test_the_first_attempt_is_at_once_and_the_last_begins_within_the_limit(clock: Clock) -> None:
    begun = []
    async for attempt in Backoff(1.0, 2.0, limit_s=4.0):
        begun.append((attempt, clock.now_s - 1000.0))
    # the attempt at 3 s ends in time, so one more follows; the one at 5 s does not
    assert begun == [(1, 0.0), (2, 1.0), (3, 3.0), (4, 5.0)]


async def test_one_attempt_is_made_however_short_the_time_is(clock: Clock) -> None:
    begun = []
    async for attempt in Backoff(1.0, 2.0, limit_s=0.0):
        begun.append(attempt)
        clock.now_s += 1.0
    assert begun == [1] and clock.pauses == []
