# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import math

import pytest

from airflow_hybrid.config.reading.document import dotted, parse
from airflow_hybrid.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("~", None),
        ("null", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0o17", 15),
        ("010", 10),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("01:30:00", "01:30:00"),
        ("2026-01-31", "2026-01-31"),
        ("1.2.3", "1.2.3"),
        ("'12'", "12"),
        ("!!str 12", "12"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    document = parse(f"k: {text}", "f.yml")
    assert document.data == {"k": value}
    assert type(document.data["k"]) is type(value)
    assert document.problems == []


def test_every_value_knows_its_line() -> None:
    document = parse("a:\n  b:\n    - x\n    - y: 1\n      z: 2\n", "f.yml")
    assert document.where(("a", "b", 1, "z")) == "f.yml:5: a.b[1].z"
    assert document.where(("a", "b", 0)) == "f.yml:3: a.b[0]"


def test_a_path_that_is_not_there_has_the_line_of_what_encloses_it() -> None:
    document = parse("a:\n  b: 1\n", "f.yml")
    assert document.where(("a", "c", "d")) == "f.yml:1: a.c.d"


def test_merge_keys_and_aliases_are_expanded_and_own_keys_win() -> None:
    document = parse("x: &x {k: 1, l: 2}\ny: {<<: *x, l: 3}\nz: {<<: [*x, {m: 4}]}\n", "f.yml")
    assert document.data["y"] == {"k": 1, "l": 3}
    assert document.data["z"] == {"k": 1, "l": 2, "m": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key `a` occurs twice (first in line 1)"),
        ("a: {b: 1, b: 2}\n", "the key `b` occurs twice (first in line 1)"),
        ("1: x\n", "the key 1 is not a string"),
        ("a: !secret x\n", "the YAML tag !secret is not known here"),
        ("a: !!python/object:os.system x\n", "the YAML tag !!python/object:os.system is not known here"),
        ("[1]: x\n", "a key must be a string"),
        ("a: {<<: 1}\n", "`<<` takes a mapping, or a list of mappings"),
    ],
)
def test_what_yaml_allows_and_a_hybrid_file_does_not_is_a_problem(text: str, message: str) -> None:
    assert [p.message for p in parse(text, "f.yml").problems] == [message]


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("a: [1\n", "2:1", "did not find expected ',' or ']' (while parsing a flow sequence)"),
        ("a: 'x\n", "2:1", "found unexpected end of stream (while scanning a quoted scalar)"),
        (
            "a: 1\n b: 2\n",
            "2:3",
            "mapping values are not allowed in this context\n  -> the line reads: b: 2",
        ),
        (
            "a:\n\tb: 1\n",
            "2:1",
            "found character that cannot start any token (while scanning for the next token)\n"
            "  -> indent with spaces: YAML does not allow tabs",
        ),
        (
            "a: @daily\n",
            "1:4",
            "found character that cannot start any token (while scanning for the next token)\n"
            "  -> the line reads: a: @daily",
        ),
        (
            "a: 1\n---\nb: 1\n",
            "2:1",
            "expected a single document in the stream, but found another document\n  -> the line reads: ---",
        ),
        ("a: *x\n", "1:4", "found undefined alias\n  -> the line reads: a: *x"),
        ("a: 1\nb: \x07\n", "2", "the character '\\x07' is not allowed"),
    ],
)
def test_broken_yaml_is_one_message_with_line_and_column(text: str, place: str, problem: str) -> None:
    with pytest.raises(ConfigError) as e:
        parse(text, "f.yml")
    assert str(e.value) == f"f.yml:{place}: not valid YAML: {problem}"


def test_a_file_that_refers_to_itself_is_refused() -> None:
    with pytest.raises(ConfigError) as e:
        parse("a: &a [*a]\n", "f.yml")
    assert str(e.value) == "f.yml:1: a[0]: the file refers to itself by its aliases"


def test_aliases_cannot_blow_a_file_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError) as e:
        parse("\n".join(lines), "f.yml")
    assert str(e.value) == "f.yml:1: a5[0][3][3][7][2][1]: the file has too many values by its aliases"


def test_paths_are_written_as_people_write_them() -> None:
    assert dotted(("workflows", "a", "bindings", 0, "step")) == "workflows.a.bindings[0].step"
