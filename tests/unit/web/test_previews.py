# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What outputs look like in the page, and that nothing of them can run there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_hybrid.web.previews.markdown import markdown_elements
from airflow_hybrid.web.previews.reading import picture_type, preview

HOSTILE = "<img src=x onerror=alert(1)></script>"


def shown(name: str, content: str | bytes, size: int | None = None) -> dict[str, Any]:
    start = content.encode() if isinstance(content, str) else content
    return preview(name, start, len(start) if size is None else size)


def test_comma_separated_values_are_a_table() -> None:
    table = shown("a.csv", 'name,value\n"x, y",1\n' + HOSTILE + ",2\n")
    assert (table["kind"], table["header"], table["is_cut"]) == ("table", ["name", "value"], False)
    assert table["rows"] == [["x, y", "1"], [HOSTILE, "2"]]
    assert shown("a.tsv", "a\tb\n1\t2\n")["rows"] == [["1", "2"]]


def test_a_long_table_is_cut_to_whole_rows() -> None:
    table = shown("a.csv", "n\n" + "1234\n" * 900 + "12", size=10**9)
    assert len(table["rows"]) == 200 and table["is_cut"] and table["rows"][-1] == ["1234"]
    few = shown("a.csv", "n\n1\n2", size=10**9)
    assert few["rows"] == [["1"]] and few["is_cut"]


def test_the_header_of_a_table_says_what_separates_its_columns() -> None:
    assert shown("a.csv", "name;value\nx;1,5\n")["rows"] == [["x", "1,5"]]
    assert shown("a.csv", '"a;b;c",value\nx,1\n')["header"] == ["a;b;c", "value"]
    assert shown("a.csv", "one\n1;2\n")["rows"] == [["1;2"]]


def test_a_table_whose_first_row_is_longer_than_what_is_looked_at_shows_its_beginning() -> None:
    table = shown("a.csv", ",".join(map(str, range(100_000))), size=10**9)
    assert table["header"] == [str(number) for number in range(50)] and table["rows"] == [] and table["is_cut"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_as_its_first_bytes_say(encoding: str) -> None:
    assert shown("a.txt", "grün\n€".encode(encoding))["text"] == "grün\n€"
    assert shown("a.csv", "ä,b\n1,2\n".encode(encoding))["header"] == ["ä", "b"]
    assert shown("a.txt", "grün€".encode(encoding)[:-1], size=100)["text"].startswith("grün")


def test_text_is_shown_as_a_terminal_would() -> None:
    assert shown("a.log", "\x1b[31m10 %\r100 %\x1b[0m\r\ndone\n")["text"] == "100 %\ndone\n"


def test_json_is_indented_and_what_is_none_is_shown_as_it_is() -> None:
    assert shown("a.json", '{"a":[1]}')["text"] == '{\n  "a": [\n    1\n  ]\n}'
    assert shown("a.json", "{broken")["text"] == "{broken"
    deep = "[" * 100_000
    assert shown("a.json", deep)["text"] == deep


def test_json_that_would_be_far_longer_with_indents_is_shown_as_it_is() -> None:
    nested = "[" * 800 + "1," * 100_000 + "1" + "]" * 800
    assert shown("a.json", nested)["text"] == nested


def test_json_keeps_what_is_written() -> None:
    text = '{"a": 1e400, "a": 123456789012345678901234567890, "b": 0.10000000000000000001, "c":[],"d":{ }}'
    assert shown("a.json", text)["text"] == (
        '{\n  "a": 1e400,\n  "a": 123456789012345678901234567890,\n  "b": 0.10000000000000000001,\n'
        '  "c": [],\n  "d": {}\n}'
    )
    value = {"a": [{"b": '"[,\\'}, [], [1, None, True, -2.5]], "": "ä\n", "c": {"d": [[1], [2]]}}
    assert shown("a.json", json.dumps(value))["text"] == json.dumps(value, indent=2)


def test_a_letter_that_is_cut_off_at_the_end_is_not_shown_and_a_broken_one_is() -> None:
    assert shown("a.txt", "aä€".encode()[:-1], size=10)["text"] == "aä"
    assert shown("a.txt", "a\ufffd", size=10)["text"] == "a\ufffd"
    assert shown("a.txt", "aä€".encode()[:-1])["text"] == "aä\ufffd"


def test_lines_of_a_table_end_where_its_format_says() -> None:
    table = shown("a.csv", '\ufeffa,b\r\n"1\u2028x","2\n3"\r\n')
    assert (table["header"], table["rows"]) == (["a", "b"], [["1\u2028x", "2\n3"]])


def test_what_is_not_text_is_not_shown() -> None:
    assert shown("a.bin", b"a\0b") == {"size": 3, "is_cut": False, "kind": "none", "why": "it is not text"}
    assert shown("a.txt", b"\xffabc")["text"] == "\ufffdabc"


def test_of_what_is_not_shown_no_beginning_is_said_to_be_shown() -> None:
    size = 5 << 30
    nothing = {"size": size, "is_cut": False, "kind": "none"}
    assert shown("a.bin", bytes(1 << 18), size=size) == {**nothing, "why": "it is not text"}
    why = "the picture is too large to be shown here"
    assert shown("a.png", b"\x89PNG\r\n\x1a\n", size=size) == {**nothing, "why": why}


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.json"])
def test_a_line_of_gigabytes_is_shown_as_text_as_far_as_it_was_read(name: str) -> None:
    line = "a" * (1 << 18)
    assert shown(name, line, size=5 << 30) == {"size": 5 << 30, "is_cut": True, "kind": "text", "text": line}


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n...", "image/png"),
        ("a.txt", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("a.svg", b"<?xml version='1.0'?><svg/>", "image/svg+xml"),
        ("a.png", b"<svg><script>alert(1)</script></svg>", None),
        ("a.html", b"<svg/>", None),
        ("a.svg", b"<html><script>alert(1)</script>", None),
    ],
)
def test_a_picture_is_told_by_its_first_bytes(name: str, start: bytes, expected: str | None) -> None:
    assert picture_type(name, start) == expected
    assert (shown(name, start)["kind"] == "picture") == (expected is not None)


def test_markdown_becomes_elements_with_headings_tables_and_code() -> None:
    text = "# Title\n\n*a* **b** `c`\n\n|x|y|\n|-|-|\n|1|2|\n\n```\n<b>\n```\n"
    heading, paragraph, table, code = markdown_elements(text)
    assert heading == {"tag": "h1", "children": ["Title"]}
    assert isinstance(paragraph, dict) and paragraph["children"][0] == {"tag": "em", "children": ["a"]}
    assert isinstance(table, dict) and table["tag"] == "table"
    assert code == {"tag": "pre", "children": ["<b>\n"]}


def test_markdown_makes_no_element_that_runs_or_loads_anything() -> None:
    text = (
        f"{HOSTILE}\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) [y](data:text/html,a)"
        ' [z](https://example.org "t") ![p](https://example.org/p.png) [r](/logout)\n'
    )
    made = json.dumps(markdown_elements(text))
    elements = {value for value in ("script", "img", "iframe", "svg") if f'"tag": "{value}"' in made}
    assert not elements
    assert made.count('"href"') == 1 and '"href": "https://example.org"' in made
    assert "[picture: p]" in made
