# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Amounts for people. The pages' ``common/format.js`` says sizes and core-hours in the same way."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")


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
    if count is None or not math.isfinite(count):
        return ""
    number = float(count)
    for unit in _SIZES:
        limit = 999.5 if unit == "B" else 999.95  # what is rounded to 1000 has the next unit
        if number < limit or unit == _SIZES[-1]:
            break
        number /= 1000
    return f"{_rounded(number, 0 if unit == 'B' else 1)} {unit}"


def figure(value: float) -> str:
    """Not more digits than one reads: ``0``, ``0.12``, ``3.46``, ``1,235``."""
    if value == 0 or abs(value) >= 100:
        return f"{int(_rounded(value, 0)):,}"
    digits = 2 if abs(value) < 1 else 3
    rounded = _rounded(value, digits - 1 - Decimal(value).adjusted())
    return f"{rounded.normalize():f}"


def core_hours(hours: float) -> str:
    """``8.5``, ``1,235``; for less than one sees, ``< 0.01``."""
    return _at_least(hours)


def core_hours_in_words(hours: float) -> str:
    """``1 core-hour``, ``8.5 core-hours``."""
    number = core_hours(hours)
    return f"{number} core-hour{'' if number == '1' else 's'}"


def energy(kwh: float) -> str:
    """``12.5 kWh``, ``41 Wh``, ``< 0.01 Wh``."""
    return f"{figure(kwh)} kWh" if kwh >= 1 else f"{_at_least(kwh * 1000)} Wh"


def co2e(grams: float) -> str:
    """``19.3 g``, ``1.2 kg``, ``3 t``: a mass of CO2 equivalent."""
    if grams >= 1e6:
        return f"{figure(grams / 1e6)} t"
    return f"{figure(grams / 1000)} kg" if grams >= 1000 else f"{_at_least(grams)} g"


def _at_least(value: float) -> str:
    return "< 0.01" if 0 < value < 0.01 else figure(value)


def _rounded(value: float, digits: int) -> Decimal:
    """Rounded as browsers do: half of the last digit upwards, and by the exact value of the number."""
    return Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def times(count: int) -> str:
    """``once``, ``3 times``."""
    return "once" if count == 1 else f"{count:,} times"


def counted(count: float, noun: str, nouns: str = "") -> str:
    """``1 job``, ``12,000 jobs``, ``2.5 cores``.

    :param nouns: the plural, where it is not the noun with an ``s``.
    """
    number = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{number} {noun if count == 1 else nouns or f'{noun}s'}"
