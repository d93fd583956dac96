# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""When a file is complete, and that it is told of once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_hybrid.sites.watching import arrivals
from airflow_hybrid.sites.watching.arrivals import Arrivals, Completeness
from airflow_hybrid.sites.watching.looking import SeenFile

OLD = SeenFile("/in/old.csv", 1, 10, "100.5", "100.5")
NEW = SeenFile("/in/new.csv", 2, 10, "200.5", "200.5")
SETTLED = Completeness(30.0)


def told(watch: Arrivals, files: list[SeenFile]) -> list[SeenFile]:
    """What is told of, and confirmed."""
    new = [file for file in files if watch.tell(file)]
    watch.note(new)
    return new


def test_what_is_there_at_the_beginning_does_not_count() -> None:
    watch = Arrivals(SETTLED, existing=False)
    assert watch.look([OLD], [], 0.0) == [] and watch.changed
    assert watch.look([OLD, NEW], [], 100.0) == []
    assert watch.look([OLD, NEW], [], 129.9) == []
    assert watch.look([OLD, NEW], [], 130.0) == [NEW]


def test_what_is_there_counts_if_it_was_asked_for() -> None:
    watch = Arrivals(SETTLED, existing=True)
    assert watch.look([OLD], [], 0.0) == []
    assert watch.look([OLD], [], 30.0) == [OLD]


def test_a_file_that_is_still_written_is_waited_for() -> None:
    watch = Arrivals(SETTLED, existing=True)
    for now, size in ((0.0, 1), (20.0, 2), (40.0, 3)):
        assert watch.look([replace(NEW, size=size)], [], now) == []
    # a copy that keeps the time of the original is noticed by its other time
    assert watch.look([replace(NEW, size=3, ctime="201.0")], [], 65.0) == []
    assert watch.look([replace(NEW, size=3, ctime="201.0")], [], 95.0) == [replace(NEW, size=3, ctime="201.0")]


def test_a_file_is_told_of_once_and_again_when_it_was_changed() -> None:
    watch = Arrivals(Completeness(0.0), existing=True)
    assert told(watch, watch.look([NEW], [], 0.0)) == [NEW]
    assert watch.look([replace(NEW, ctime="999.0")], [], 1.0) == []
    changed = [replace(NEW, mtime="300.0"), replace(NEW, size=11), replace(NEW, inode=3), replace(NEW, path="/in/b")]
    for file in changed:
        assert told(watch, watch.look([file], [], 2.0)) == [file]
    assert watch.look([], [], 3.0) == [] and watch.look([NEW], [], 4.0) == []


def test_a_marker_says_that_a_file_is_complete() -> None:
    watch = Arrivals(Completeness(30.0, "{name}.done"), existing=True)
    done = SeenFile("/in/new.csv.done", 9, 0, "1", "1")
    assert watch.look([NEW, OLD], [], 0.0) == []
    assert watch.look([NEW, OLD, done], [done], 1.0) == [NEW]
    of_folder = Arrivals(Completeness(0.0, "_SUCCESS"), existing=True)
    assert of_folder.look([NEW], [SeenFile("/other/_SUCCESS", 9, 0, "1", "1")], 0.0) == []
    assert of_folder.look([NEW], [SeenFile("/in/_SUCCESS", 9, 0, "1", "1")], 0.0) == [NEW]


def resumed(watch: Arrivals) -> Arrivals:
    """The same watch in the next process."""
    value = json.loads(json.dumps(watch.to_json()))
    again = Arrivals(Completeness(0.0), existing=False)
    again.resume(value)
    return again


def test_the_next_process_tells_of_what_nobody_has_confirmed() -> None:
    watch = Arrivals(Completeness(0.0), existing=False)
    watch.look([OLD], [], 0.0)
    (new,) = watch.look([OLD, NEW], [], 1.0)
    assert watch.tell(new) and not watch.tell(new)
    assert resumed(watch).look([OLD, NEW], [], 0.0) == [NEW]
    watch.note([new])
    assert resumed(watch).look([OLD, NEW], [], 0.0) == []
    later = replace(NEW, path="/in/while it was down.csv")
    assert resumed(watch).look([OLD, NEW, later], [], 0.0) == [later]


@pytest.mark.parametrize("value", [None, [], {}, {"version": 2, "files": ""}, {"version": 1, "files": 3}])
def test_another_state_is_none(value: Any) -> None:
    watch = Arrivals(Completeness(0.0), existing=False)
    watch.resume(value)
    assert watch.look([OLD], [], 0.0) == []


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MOST_NOTED", 3)
    watch = Arrivals(Completeness(0.0), existing=True)
    for n in range(10):
        told(watch, watch.look([OLD, replace(NEW, path=f"/in/{n}")], [], float(n)))
    watch.look([OLD], [], 20.0)
    assert len(watch.to_json()["files"]) == 3 * 12
    assert watch.look([OLD, replace(NEW, path="/in/9")], [], 21.0) == []
