# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What an event loop's users share is theirs alone."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref

import pytest

from airflow_hybrid.sites.hosts.per_loop import PerLoop


def test_each_event_loop_has_its_own_values() -> None:
    table: PerLoop[str, list[str]] = PerLoop()

    async def twice(word: str) -> tuple[list[str], list[str]]:
        table.get("key", list).append(word)
        return table.get("key", list), table.here()["key"]

    first, second = asyncio.run(twice("one")), asyncio.run(twice("two"))
    assert first == (["one"], ["one"]) and second == (["two"], ["two"])
    assert first[0] is first[1]


def test_the_values_go_with_their_loop() -> None:
    class Value:
        pass

    table: PerLoop[str, Value] = PerLoop()

    async def make() -> weakref.ref[Value]:
        return weakref.ref(table.get("key", Value))

    kept = asyncio.run(make())
    gc.collect()
    assert kept() is None


def test_a_fork_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table: PerLoop[str, str] = PerLoop()

    async def before_and_after() -> tuple[dict[str, str], dict[str, str]]:
        table.get("key", lambda: "of the parent")
        before = table.here()
        child = os.getpid() + 1
        monkeypatch.setattr(os, "getpid", lambda: child)
        return before, table.here()

    assert asyncio.run(before_and_after()) == ({"key": "of the parent"}, {})


def test_there_is_no_table_without_a_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        PerLoop[str, str]().here()
