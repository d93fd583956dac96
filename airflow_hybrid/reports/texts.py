# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Numbers as texts for people, and escaping."""

from __future__ import annotations

import html
from datetime import datetime, timezone

from airflow_hybrid.printable import printable, shortened

_LONGEST = 300


def shown(text: str) -> str:
    """Text from a document, a site or a file name: one line, not too long, without invisible characters."""
    return shortened(printable(text), _LONGEST)


def escaped(text: str) -> str:
    """The same for HTML and SVG."""
    return html.escape(shown(text))


def when(time_s: float | None) -> str:
    """A time, in UTC."""
    if time_s is None or not 0 <= time_s < 2.5e11:
        return ""
    return datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
