# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What jobs have written, as a terminal would show it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_hybrid.printable import as_terminals_show, printable_lines, quoted_lines, uncoloured


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain\n", "plain\n"),
        ("\x1b[31mred\x1b[0m and \x1b[38;5;208mmore\x1b[m\n", "red and more\n"),
        ("\x1b]0;title\x07text \x1b]8;;https://h/p\x1b\\link\x1b]8;;\x1b\\\n", "text link\n"),
        ("\x1b[?25l 10%\r 50%\r100%\x1b[?25h\ndone\n", "100%\ndone\n"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("\x1b(B\x1b[2K\x1b[1Aup", "up"),
        ("10%\r", "10%\n"),
        ("\r20%\r30%", "\n30%"),
        ("\r\nrest", "\nrest"),
        ("cut off \x1b[3", "cut off \x1b[3"),
        ("\x1b]0;never ends\nnext", "\x1b]0;never ends\nnext"),
    ],
)
def test_colours_are_left_out_and_a_line_that_is_written_over_is_its_last_state(written: str, shown: str) -> None:
    assert as_terminals_show(written) == shown


def test_a_progress_bar_does_not_push_the_lines_before_it_out_of_a_message() -> None:
    bar = "".join(f"\r{percent:3}%|" for percent in range(101))
    lines = quoted_lines(f"reading x\n{bar}\nno such key\n", most=3)
    assert lines == ["| reading x", "| 100%|", "| no such key"]


@given(st.text(alphabet="a1;[]?m\x1b\x07\\\r\n(B", max_size=60))
def test_whatever_is_left_is_harmless(text: str) -> None:
    assert set(printable_lines(as_terminals_show(text))) <= set("a1;[]?m\\\n(Bx07bx1b")
    assert len(uncoloured(text)) <= len(text)


@pytest.mark.parametrize("piece", ["\x1b[", "\x1b]", "\x1b[1;", "\r", "x\r", "\x1b"])
def test_what_never_ends_costs_no_more_than_its_length(piece: str) -> None:
    text = piece * 400_000
    assert len(as_terminals_show(text)) <= len(text) + 2
