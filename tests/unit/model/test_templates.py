# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Templates among a workflow's inputs: what they are, and what type their values have."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest

from airflow_hybrid.model.templates import holds_template, is_template, rendered, rendered_inputs

VALUES = {"ds": "2026-01-02", "number": 3, "words": ["a", "b"], "empty": None}


def render(template: str) -> str:
    return jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(template).render(VALUES)


@pytest.mark.parametrize("text", ["{{ ds }}", "a {% if x %}b{% endif %}", "{# why #}"])
def test_what_jinja_would_change_is_a_template(text: str) -> None:
    assert is_template(text)
    assert holds_template([{"class": "File", "path": text}])


@pytest.mark.parametrize("value", ["", "plain {text}", "$(inputs.x) ${ return {a: {}}; }", 3, None, {"{{ ds }}": 1}])
def test_what_jinja_would_leave_is_none(value: Any) -> None:
    assert not is_template(value)
    assert not holds_template([value, {"nested": [value]}])


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("string", "{{ number }}", "3"),
        ("int", "{{ number }}", 3),
        ("int", " {{ number }} ", 3),
        (["null", "long"], "{{ empty }}", None),
        ("double", "{{ number / 2 }}", 1.5),
        ("boolean", "{{ number == 3 }}", True),
        (["null", "boolean"], "{{ (number == 4) | tojson }}", False),
        (["int", "string"], "{{ number }}", "3"),
        ("Any", "{{ number }}", "3"),
        ({"type": "enum", "symbols": ["x#3"]}, "{{ number }}", "3"),
        ({"type": "array", "items": "string"}, "{{ words }}", ["a", "b"]),
        ({"type": "array", "items": "int"}, ["{{ number }}", 4], [3, 4]),
        (["null", {"type": "array", "items": ["null", "int"]}], ["{{ number }}", None], [3, None]),
        (
            {"type": "record", "fields": [{"name": "x#in/size", "type": "int"}, {"name": "name", "type": "string"}]},
            {"size": "{{ number }}", "name": "{{ number }}"},
            {"size": 3, "name": "3"},
        ),
        ("File", {"class": "File", "path": "in/{{ ds }}.csv"}, {"class": "File", "path": "in/2026-01-02.csv"}),
        ({"type": "array", "items": "int"}, "{{ (1, 2) }}", [1, 2]),
        ("int", "{{ ds }}", "2026-01-02"),
        ("int", "{{ '{{' }} 3 }}", "{{ 3 }}"),
        ("string", "{% raw %}{{ ds }}{% endraw %}", "{{ ds }}"),
        ("int", 7, 7),
    ],
)
def test_a_rendered_value_is_of_the_type_of_its_input(kind: Any, value: Any, expected: Any) -> None:
    result = rendered(kind, value, render)
    assert (result, type(result)) == (expected, type(expected))


def test_a_template_without_a_value_gives_null() -> None:
    assert rendered(["null", "string"], "{{ nothing }}", lambda template: None) is None


def test_what_is_no_input_is_left_as_it_is() -> None:
    inputs = {"day": "{{ ds }}", "cwl:requirements": [{"class": "X", "text": "{{ ds }}"}]}
    assert rendered_inputs({"day": "string"}, inputs, render) == {**inputs, "day": "2026-01-02"}
