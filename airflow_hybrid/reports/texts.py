# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Numbers as texts for people, and escaping."""

from __future__ import annotations

import html
from datetime import datetime, timezone

from airflow_hybrid.printable import printable, shortened

_LONGEST = 300


def escaped(text: str) -> str:
    """Text from a document, a site or a file name, for HTML and SVG."""
    return html.escape(shortened(printable(text), _LONGEST))


def amount(count: float | None) -> str:
    """``12 B``, ``3.4 kB``; nothing if unknown."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def span(seconds: float | None) -> str:
    """``0.4 s``, ``3 min 12 s``, ``5 h 3 min``; nothing if unknown."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def when(time_s: float | None) -> str:
    """A time, in UTC."""
    if time_s is None or not 0 <= time_s < 2.5e11:
        return ""
    return datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
