# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The beginning of an output as something that a page shows: a table, text, JSON, Markdown or a picture."""

from __future__ import annotations

import codecs
import csv
import posixpath
from typing import Any

from airflow_hybrid.printable import as_terminals_show, whole_letters
from airflow_hybrid.web.previews.indented import indented_json
from airflow_hybrid.web.previews.markdown import markdown_elements

MOST_BYTES = 1 << 18
"""of a file that are looked at; a picture may be larger"""
MOST_PICTURE_BYTES = 20 << 20
_MOST_ROWS, _MOST_COLUMNS, _LONGEST_CELL = 200, 50, 500
_LONGEST_MARKDOWN = 30_000
"""characters: the time that Markdown takes may grow with their square"""
_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_SVG = "image/svg+xml"
_MARKED_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as the mark of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", ";", "\t", "|")


def picture_type(name: str, start: bytes) -> str | None:
    """The type of a picture, by its first bytes; None: it is none that is shown."""
    for magic, media_type in _PICTURES.items():
        if start.startswith(magic):
            return media_type
    return _SVG if name.lower().endswith(".svg") and b"<svg" in start else None


def preview(name: str, start: bytes, size: int) -> dict[str, Any]:
    """What is shown of a file.

    :param start: its first :data:`MOST_BYTES` bytes.
    """
    is_cut = size > len(start)
    shown: dict[str, Any] = {"size": size, "is_cut": is_cut}
    if picture_type(name, start):
        if size > MOST_PICTURE_BYTES:
            return _nothing(size, "the picture is too large to be shown here")
        return {**shown, "kind": "picture", "is_cut": False}
    text = _text(start, is_cut=is_cut)
    if text is None:
        return _nothing(size, "it is not text")
    return {**shown, **_of_text(posixpath.splitext(name)[1].lower(), text, is_cut=is_cut)}


def _nothing(size: int, why: str) -> dict[str, Any]:
    """Not even the beginning is shown."""
    return {"size": size, "is_cut": False, "kind": "none", "why": why}


def _text(start: bytes, *, is_cut: bool) -> str | None:
    """The text at the start of a file: UTF-8, or what its first bytes name; None: it is none."""
    for mark, encoding in _MARKED_ENCODINGS:
        if start.startswith(mark):
            unit = 4 if encoding == "utf-32" else 2
            return start[: len(start) - len(start) % unit].decode(encoding, "replace")
    if b"\0" in start[:8192]:
        return None
    whole = whole_letters(start) if is_cut else len(start)
    return start[:whole].decode("utf-8", "replace").removeprefix("\ufeff")


def _of_text(suffix: str, text: str, *, is_cut: bool) -> dict[str, Any]:
    if suffix in (".csv", ".tsv"):
        return _table(text, _delimiter(text) if suffix == ".csv" else "\t", is_cut=is_cut)
    if suffix in (".md", ".markdown"):
        shown = text[:_LONGEST_MARKDOWN]
        return {"kind": "markdown", "elements": markdown_elements(shown), "is_cut": is_cut or len(text) > len(shown)}
    if suffix == ".json" and not is_cut:
        return {"kind": "text", "text": indented_json(text)}
    return {"kind": "text", "text": as_terminals_show(text)}


def _delimiter(text: str) -> str:
    """What separates the columns: of what programs use, that which is most often in the header, outside of quotes."""
    outside = "".join(text.partition("\n")[0].split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _table(text: str, delimiter: str, *, is_cut: bool) -> dict[str, Any]:
    lines = text.split("\n")
    if (is_cut and len(lines) > 1) or not lines[-1]:
        lines = lines[:-1]
    rows: list[list[str]] = []
    try:
        for row in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter):
            if len(rows) > _MOST_ROWS:
                break
            rows.append([cell[:_LONGEST_CELL] for cell in row[:_MOST_COLUMNS]])
    except csv.Error:
        return {"kind": "text", "text": text}
    shown, rest = rows[: _MOST_ROWS + 1], len(lines) > _MOST_ROWS + 1
    return {"kind": "table", "header": shown[0] if shown else [], "rows": shown[1:], "is_cut": is_cut or rest}
