# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The whole queue of a site: how many jobs of everybody run and wait, and how many of them are ours. Pure text."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_hybrid import shell_text
from airflow_hybrid.amounts import counted
from airflow_hybrid.schedulers.asking import STATUS_LIMIT_S, asking_functions

_START = "queue "
_END = "queue end"
_MOST_SHOWN = 8
_MOST_DIGITS = 9
_MOST_OF_NAME = 60


@dataclass(frozen=True)
class PartitionLoad:
    """The jobs of a partition (or queue) that have not ended; ``own``: of the user whom we log in as."""

    name: str
    running: int
    waiting: int
    own_running: int
    own_waiting: int


def everybody_command(ask: str, waits: str, rows: str = "cat") -> str:
    """Shell text that counts the jobs of a queue.

    :param ask: a command that asks about all jobs; ``waits``: regular expression of the states of those that wait.
    :param rows: program of awk that makes lines ``PARTITION|STATE|USER`` of the answer; without, it has such.
    """
    values = {"ASK": f"ah_asks {STATUS_LIMIT_S} {ask}", "WAITS": waits, "ROWS": rows}
    return asking_functions() + shell_text.filled(__package__, "everybody.sh", values)


def loads(text: str) -> list[PartitionLoad] | None:
    """Read an answer, the fullest partition first; None: it is none, or it is cut off."""
    lines = text.splitlines()
    if _END not in lines:
        return None
    found = []
    for line in lines:
        words = line.removeprefix(_START).split(" ", 4)
        if line.startswith(_START) and len(words) == 5 and all(map(_is_count, words[:4])):
            running, waiting, own_running, own_waiting = map(int, words[:4])
            found.append(PartitionLoad(words[4][:_MOST_OF_NAME], running, waiting, own_running, own_waiting))
    return sorted(found, key=lambda load: (-load.running - load.waiting, load.name))


def _is_count(word: str) -> bool:
    return word.isdecimal() and len(word) <= _MOST_DIGITS


def in_short(found: list[PartitionLoad]) -> str:
    """``12 run (3 ours), 40 wait (2 ours)``."""
    running, waiting = sum(load.running for load in found), sum(load.waiting for load in found)
    own_running, own_waiting = sum(load.own_running for load in found), sum(load.own_waiting for load in found)
    return f"{running} run ({own_running} ours), {waiting} wait ({own_waiting} ours)"


def in_words(found: list[PartitionLoad]) -> str:
    """``12 jobs run and 40 wait, of which ours: 3 and 2 (gpu: 10 and 30, long: 2 and 10)``."""
    running, waiting = sum(load.running for load in found), sum(load.waiting for load in found)
    own = sum(load.own_running for load in found), sum(load.own_waiting for load in found)
    text = f"{counted(running, 'job runs', 'jobs run')} and {waiting} wait, of which ours: {own[0]} and {own[1]}"
    parts = [f"{load.name}: {load.running} and {load.waiting}" for load in found[:_MOST_SHOWN]]
    if len(found) > _MOST_SHOWN:
        parts.append(f"{len(found) - _MOST_SHOWN} more")
    return f"{text} ({', '.join(parts)})" if len(found) > 1 else text
