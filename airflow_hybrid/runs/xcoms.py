# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""XComs of a run as plain values."""

from __future__ import annotations

import json
from typing import Any


def plain(value: Any) -> Any:
    """An XCom as JSON has it; a text may be kept as it is. Airflow's own deserialization could make any object."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
