# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Amounts for people."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """``0.42 s``, ``3 min 12 s``, ``5 h 3 min``; nothing if unknown.

    Of two clocks, or of one that was set back meanwhile, the difference may be negative: that is 0.
    """
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if round(seconds, 2) < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(count: float | None) -> str:
    """``12 B``, ``3.4 kB``, ``5.6 GB``; nothing if unknown."""
    if count is None:
        return ""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if round(number, 0 if unit == "B" else 1) < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{count:.0f} B" if unit == "B" else f"{number:.1f} {unit}"


def counted(count: float, noun: str, nouns: str = "") -> str:
    """``1 job``, ``12,000 jobs``, ``2.5 cores``.

    :param nouns: the plural, where it is not the noun with an ``s``.
    """
    number = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{number} {noun if count == 1 else nouns or f'{noun}s'}"
