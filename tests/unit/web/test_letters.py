# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Pieces of text from others, cut anywhere."""

from __future__ import annotations

import pytest

from airflow_hybrid.printable import rest_of_letter, whole_letters

TEXT = "aé€😀z"


@pytest.mark.parametrize("cut", range(len(TEXT.encode()) + 1))
def test_pieces_are_cut_between_letters(cut: int) -> None:
    data = TEXT.encode()
    begun = data[: whole_letters(data[:cut])].decode()
    assert TEXT.startswith(begun) and 0 <= cut - len(begun.encode()) <= 3
    rest = data[cut:]
    assert TEXT.endswith(rest[rest_of_letter(rest) :].decode())


@pytest.mark.parametrize(
    "data", [b"", b"a", b"\xff", b"a\xc0", b"\x80\x80\x80", b"\xf5\x80", "€".encode(), b"\xe2\x82\xac\x80"]
)
def test_what_is_no_letter_stays(data: bytes) -> None:
    assert whole_letters(data) == len(data)
