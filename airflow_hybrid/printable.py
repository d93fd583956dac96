# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Make text from others (a site's answer, a job's output, a file name, a URL) safe for messages and logs. Pure.

Such text can contain control sequences of terminals, lines that imitate ours, and secrets.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timezone

from airflow_hybrid.amounts import counted

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories: control, format (direction marks among them), surrogate, private use, line and paragraph ends"""
_JOINERS = "\u200c\u200d"
"""format characters that some scripts and emoji need"""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78cDEHMZ])")
"""control sequences of terminals that are complete (ECMA-48, xterm): colours, movements, titles, character sets"""
_SCHEME = re.compile(r"(?i)\b[a-z][a-z0-9+.-]{0,30}\Z")
_REST = re.compile(r"[^\s'\"<>]*")
_SEPARATOR = re.compile(r"([&;])")
_WITHOUT_SECRETS = frozenset({"file", "hybrid"})
"""schemes whose locations have neither user nor query"""
_WEB = frozenset({"http", "https", "ftp", "ftps"})
HIDDEN = "***"
MOST_QUOTED = 100_000
"""maximum characters of quoted text"""


def readable(data: bytes | bytearray) -> str:
    r"""Bytes from a site or a job as text for people: bytes that are not UTF-8 become ``\xNN``.

    >>> readable(b"a \xff b")
    'a \\xff b'
    """
    return data.decode(errors="backslashreplace")


def whole_letters(data: bytes | bytearray) -> int:
    r"""How many bytes of a piece are whole letters of UTF-8: one that is cut off at the end does not count.

    >>> whole_letters(b"a\xe2\x82"), whole_letters(b"a\xe2\x82\xac"), whole_letters(b"a\xff")
    (1, 4, 2)
    """
    for back in range(1, min(3, len(data)) + 1):
        first = data[-back]
        if not _is_inside(first):
            return len(data) - back if back < _length(first) else len(data)
    return len(data)


def rest_of_letter(data: bytes | bytearray) -> int:
    r"""How many bytes at the beginning of a piece belong to a letter of UTF-8 that began before it.

    >>> rest_of_letter(b"\x82\xaca"), rest_of_letter(b"a")
    (2, 0)
    """
    return next((at for at, byte in enumerate(data[:3]) if not _is_inside(byte)), min(3, len(data)))


def _is_inside(byte: int) -> bool:
    return byte & 0xC0 == 0x80


def _length(first: int) -> int:
    """Bytes of the letter that a byte begins; 1: it begins none that has several."""
    if 0xC2 <= first < 0xE0:
        return 2
    if 0xE0 <= first < 0xF0:
        return 3
    return 4 if 0xF0 <= first < 0xF5 else 1


def printable(text: str) -> str:
    r"""One line: invisible characters, including line ends, are escaped; secrets in URLs are removed.

    >>> printable("a\nb\x1b[2J")
    'a\\nb\\x1b[2J'
    """
    return redacted(text if text.isprintable() else text.translate(_LINE))


def printable_lines(text: str) -> str:
    r"""The same, but lines stay lines and tabs stay tabs; all kinds of line ends become ``\n``.

    For a message of several lines. Text from a site or a job is inserted with :func:`quoted_lines`, so that its lines
    cannot be mistaken for ours.
    """
    if text.isprintable():
        return redacted(text)
    text = _LINE_ENDS.sub("\n", text)
    return redacted(text.translate(_LINES))


def uncoloured(text: str) -> str:
    r"""The text without control sequences of terminals, which programs write for colours and progress bars.

    >>> uncoloured("\x1b[1;31mMemoryError\x1b[0m")
    'MemoryError'
    """
    return _CODES.sub("", text) if "\x1b" in text else text


def as_terminals_show(text: str) -> str:
    r"""What a terminal would show of a job's output: no colours, and of a line that is written again and again over
    itself (a progress bar) its last state.

    What comes before the text is not known: a text that begins with a carriage return begins with a new line.

    >>> as_terminals_show("\x1b[32m 10%\r 50%\r100%\x1b[0m\r\ndone")
    '100%\ndone'
    """
    text = uncoloured(text)
    if "\r" not in text:
        return text
    before = "\n" if text.startswith("\r") and text[1:2] != "\n" else ""
    after = "\n" if text.endswith("\r") else ""
    return before + "\n".join(map(_last_state, text.split("\n"))) + after


def _last_state(line: str) -> str:
    return line if "\r" not in line else next((state for state in reversed(line.split("\r")) if state), "")


def quoted_lines(text: str, *, most: int | None = None, indent: str = "") -> list[str]:
    """The lines of text from a site or a job, each after ``| ``, so that none looks like a line of the message.

    They are as a terminal would show them.

    :param most: maximum number of lines, from the end.
    :param indent: text before the bar.
    """
    text = as_terminals_show(text.strip()).strip()
    lines = printable_lines(shortened(text, MOST_QUOTED)).split("\n")
    if lines == [""]:
        return []
    return [f"{indent}| {line}" for line in (lines if most is None else lines[-most:])]


def redacted(text: str) -> str:
    """The text without the secrets in its URLs: user and password, and the values of queries.

    >>> redacted("https://me:secret@example.org/a?X-Amz-Signature=1f")
    'https://***@example.org/a?X-Amz-Signature=***'
    """
    parts: list[str] = []
    position = 0
    while (at := text.find("://", position)) >= 0:
        scheme = _SCHEME.search(text, max(position, at - 32), at)
        if scheme is None:
            parts.append(text[position : at + 3])
            position = at + 3
            continue
        rest = _REST.match(text, at + 3)
        assert rest is not None
        parts += [text[position : scheme.start()], _redacted_url(scheme[0], rest[0])]
        position = rest.end()
    return "".join([*parts, text[position:]]) if parts else text


def _redacted_url(scheme: str, rest: str) -> str:
    if scheme.lower() in _WITHOUT_SECRETS:
        return f"{scheme}://{rest}"
    rest, sharp, fragment = rest.partition("#")
    rest, mark, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if at:
        authority = f"{_redacted_user(scheme, user)}@{host}"
    return f"{scheme}://{authority}{slash}{path}{mark}{_redacted_values(query)}{sharp}{_redacted_fragment(fragment)}"


def _redacted_user(scheme: str, user: str) -> str:
    """In a web URL the user may be a token; in an object store's URL it is the name of a Connection."""
    if scheme.lower() in _WEB:
        return HIDDEN
    name, colon, _ = user.partition(":")
    return f"{name}{colon}{HIDDEN}" if colon else name


def _redacted_values(query: str) -> str:
    if query and "=" not in query:
        return HIDDEN
    return "".join(map(_redacted_value, _SEPARATOR.split(query)))


def _redacted_value(part: str) -> str:
    name, sign, value = part.partition("=")
    return f"{name}={HIDDEN}" if sign and name and value else part


def _redacted_fragment(fragment: str) -> str:
    """A fragment names a part of a document, or contains values like a query (``access_token=...``)."""
    return _redacted_values(fragment) if "=" in fragment else fragment


def shortened(text: str, most: int) -> str:
    """At most about ``most`` characters: longer text is visibly shortened in the middle.

    >>> shortened("abcdefghij", 4)
    'ab [6 characters more] ij'
    """
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} [{counted(len(text) - 2 * half, 'character')} more] {text[-half:]}"


def few_lines(text: str, most: int, width: int = 1000) -> str:
    """At most ``most`` lines of about ``width`` characters: the rest in the middle is left out."""
    lines = text.split("\n")
    if len(lines) > most:
        head, tail = most - most // 2, most // 2 - 1
        lines = [*lines[:head], f"... {len(lines) - head - tail:,} lines more ...", *lines[len(lines) - tail :]]
    return "\n".join(shortened(line, width) for line in lines)


def moment(seconds: float) -> str:
    """A point in time, in seconds since the epoch, for people.

    >>> moment(1e9)
    '2001-09-09 01:46 UTC'
    """
    last_s = 253402300799  # of the year 9999
    return datetime.fromtimestamp(min(seconds, last_s), timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


class _Escapes(dict[int, str]):
    """A table for ``str.translate`` that is filled on demand."""

    def __missing__(self, code: int) -> str:
        escaped = self[code] = _escaped(chr(code))
        return escaped


_LINE = _Escapes()
_LINES = _Escapes({ord(sign): sign for sign in "\n\t"})


def _escaped(sign: str) -> str:
    if sign in _JOINERS or unicodedata.category(sign) not in _ESCAPED:
        return sign
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (PEP 383)
        code -= 0xDC00
    if sign in _SHORT:
        return _SHORT[sign]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
