# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Amounts for people at the borders of their units: here, in messages, and in the browser."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import airflow_hybrid
from airflow_hybrid import amounts
from airflow_hybrid.reasons.tasks import state_in_words
from airflow_hybrid.sites import check
from tests.needs import program

FORMAT = Path(airflow_hybrid.__file__).parent / "web/static/common/format.js"


@pytest.mark.parametrize(("kib", "text"), [(1010, "0.986 MiB"), (999, "999 KiB"), (1023 << 10, "0.999 GiB")])
def test_three_digits_are_never_written_with_an_exponent(kib: float, text: str) -> None:
    assert check.size(kib) == text


SIZES = {
    0: "0 B", 999: "999 B", 999.5: "1.0 kB", 1250: "1.3 kB", 1450: "1.4 kB", 123_450: "123.5 kB", 999_949: "999.9 kB",
    999_950: "1.0 MB", 12_000_000: "12.0 MB", 2e15: "2.0 PB", 2e18: "2000.0 PB",
}  # fmt: skip
HOURS = {
    0: "0", 1e-9: "< 0.01", 0.0099: "< 0.01", 0.01: "0.01", 0.125: "0.13", 0.996: "1", 1: "1", 2.345: "2.35",
    8.5: "8.5", 12.25: "12.3", 99.96: "100", 100.5: "101", 1234.5: "1,235",
}  # fmt: skip


def test_commands_reports_notices_and_pages_say_sizes_and_core_hours_in_the_same_way() -> None:
    assert {count: amounts.size(count) for count in SIZES} == SIZES
    assert {hours: amounts.core_hours(hours) for hours in HOURS} == HOURS
    calls = [f"format.size({count})" for count in SIZES] + [f"format.coreHours({hours})" for hours in HOURS]
    assert in_browser(calls) == [*SIZES.values(), *HOURS.values()]
    assert (amounts.size(None), amounts.size(float("inf"))) == ("", "")


def test_energy_and_co2_have_units_that_people_read() -> None:
    assert [amounts.energy(kwh) for kwh in (0, 1e-11, 0.0407, 1.5, 12_345)] == [
        "0 Wh", "< 0.01 Wh", "40.7 Wh", "1.5 kWh", "12,345 kWh"
    ]  # fmt: skip
    assert [amounts.co2e(grams) for grams in (0, 5e-9, 19.333, 1500, 2.5e6)] == [
        "0 g", "< 0.01 g", "19.3 g", "1.5 kg", "2.5 t"
    ]  # fmt: skip
    assert [amounts.core_hours_in_words(hours) for hours in (1, 2.5)] == ["1 core-hour", "2.5 core-hours"]


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
