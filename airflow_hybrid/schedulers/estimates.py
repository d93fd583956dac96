# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a site says before anything is submitted: what it has, what is free, when a job would start. Pure text."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_hybrid.schedulers.asking import number_of, words_after


@dataclass(frozen=True)
class Capacity:
    """What a location has, and what nobody takes of it. None: not known."""

    cores: float | None = None
    free_cores: float | None = None
    memory_mib: int | None = None


def slots(text: str) -> Capacity:
    """Read the answer to :func:`pbs_cpus` or :func:`sge_slots`: pairs of free and all; of several, the largest."""
    words = [number_of(word) for word in words_after(text, "capacity ")]
    if not words or len(words) % 2 or None in words:
        return Capacity()
    return Capacity(max(n or 0 for n in words[1::2]), max(n or 0 for n in words[::2]))


def wait(text: str) -> tuple[float | None, str]:
    """Seconds until the job would start, and what the site said where it does not know."""
    words = words_after(text, "wait ")
    seconds = number_of(words[0].lstrip("-")) if words else None
    if seconds is None:
        return None, " ".join(words_after(text, "said "))
    return (0.0 if words[0].startswith("-") else seconds), ""
