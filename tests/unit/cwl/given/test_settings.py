# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Files with inputs."""

from __future__ import annotations

import pytest

from airflow_hybrid.cwl.given.settings import parse_inputs
from airflow_hybrid.errors import InputError


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01", "2026-01-01T10:00:00Z", "2026-01-01T10:00:00+02:00", "2026-01-01 10:00:00.5",
        "!!timestamp 2026-01-01T10:00:00Z",
    ],
)  # fmt: skip
def test_a_time_stays_as_it_was_written(text: str) -> None:
    written = text.removeprefix("!!timestamp ")
    assert parse_inputs(f"day: {text}\nmore: [{{x: {text}}}]".encode(), "f") == {
        "day": written,
        "more": [{"x": written}],
    }


@pytest.mark.parametrize(("text", "kind"), [("!!binary aGVsbG8=", "bytes"), ("!!set {a, b}", "set")])
def test_what_json_does_not_have_is_refused(text: str, kind: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_inputs(f"x: {text}".encode(), "inputs.yml")
    assert str(caught.value) == f"inputs.yml: input 'x' holds a value of type `{kind}`, which JSON does not have"
