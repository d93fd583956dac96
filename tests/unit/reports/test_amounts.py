# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Amounts for people at the borders of their units: here, in messages, and in the browser."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import airflow_hybrid
from airflow_hybrid.notifications import summary
from airflow_hybrid.placement import policies
from airflow_hybrid.reasons.tasks import state_in_words
from airflow_hybrid.sites import check
from tests.needs import program

FORMAT = Path(airflow_hybrid.__file__).parent / "web/static/common/format.js"


@pytest.mark.parametrize(
    ("size", "count", "text"),
    [
        (policies.size, 999.6, "1 kB"), (policies.size, 999_600, "1 MB"), (policies.size, 999, "999 B"),
        (summary._size, 999_600, "1 MB"), (summary._size, 999, "999 bytes"), (summary._size, 2e15, "2,000 TB"),
        (check.size, 1010, "0.986 MiB"), (check.size, 999, "999 KiB"), (check.size, 1023 << 10, "0.999 GiB"),
    ],
)  # fmt: skip
def test_three_digits_are_never_written_with_an_exponent(size: Callable[[float], str], count: float, text: str) -> None:
    assert size(count) == text


def in_browser(calls: list[str]) -> list[str]:
    """What functions of the browser's module say."""
    text = f"import * as format from {json.dumps(FORMAT.as_uri())}; console.log(JSON.stringify([{', '.join(calls)}]))"
    done = subprocess.run([program("node"), "--input-type=module", "-e", text], capture_output=True, check=True)
    shown: list[str] = json.loads(done.stdout)
    return shown


def test_pages_commands_and_reports_have_the_same_names_for_states() -> None:
    states = [
        "failed",
        "upstream_failed",
        "up_for_retry",
        "running",
        "deferred",
        "up_for_reschedule",
        "queued",
        "skipped",
    ]
    assert in_browser([f"format.stateInWords({json.dumps(state)})" for state in states]) == [
        state_in_words(state) for state in states
    ]
    assert state_in_words("upstream_failed") == "not run"


def test_the_browser_rounds_before_it_chooses_a_unit() -> None:
    calls = [
        ("size", 999.6, "1.0 kB"), ("size", 999_960, "1.0 MB"), ("duration", 59.996, "1 min 00 s"),
        ("duration", 3599.6, "1 h 00 min"), ("duration", -30, "0 s"), ("memory", 1023.6, "1 GiB"),
        ("memory", 1023, "1,023 MiB"),
    ]  # fmt: skip
    shown = in_browser([f"format.{name}({value})" for name, value, _ in calls])
    assert shown == [expected for *_, expected in calls]
