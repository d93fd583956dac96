# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A site's answers before anything is submitted: its capacity, what is free, when a job would start. Pure text."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_hybrid.schedulers.asking import number_of, words_after


@dataclass(frozen=True)
class Capacity:
    """The capacity of a location, and how much of it is free. None: unknown.

    :ivar free_nodes: on which nothing runs, and something may.
    """

    cores: float | None = None
    free_cores: float | None = None
    memory_mib: int | None = None
    nodes: int | None = None
    free_nodes: int | None = None


def slots(text: str) -> Capacity:
    """Read the answer to :func:`pbs_cpus` or :func:`sge_slots`: pairs of free and all; of several, the largest.

    A line ``nodes FREE ALL`` may stand beside it.
    """
    words = [number_of(word) for word in words_after(text, "capacity ")]
    if not words or len(words) % 2 or None in words:
        return Capacity()
    free, nodes = ([number_of(word) for word in words_after(text, "nodes ")] + [None, None])[:2]
    return Capacity(
        max(n or 0 for n in words[1::2]),
        max(n or 0 for n in words[::2]),
        nodes=None if not nodes else int(nodes),
        free_nodes=None if not nodes or free is None else int(free),
    )


def wait(text: str) -> tuple[float | None, str]:
    """Seconds until the job would start; if they are unknown, None and the site's words."""
    words = words_after(text, "wait ")
    seconds = number_of(words[0].lstrip("-")) if words else None
    if seconds is None:
        return None, " ".join(words_after(text, "said "))
    return (0.0 if words[0].startswith("-") else seconds), ""
