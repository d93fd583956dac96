# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Shell text of this package: files ``shell/*.sh`` of the packages that use them, with values filled in.

The header of each file says what it does, the meaning of its marks (``@NAME@``), what it reads and prints, and its exit
codes. It is sent without the header: see :func:`minified`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib import resources

_COMMENT_OR_BLANK = re.compile(r"[ \t]*(#[^\n]*)?\n")
_TOKEN = re.compile(
    r"""\\[\s\S]                                     # a character that means itself; a line that goes on
      | '[^']*(?:'|\Z)
      | "
      | \$\(|[()]                                    # a command in quotes may have quotes of its own
      | (?<![^\s;&|()])\#[^\n]*                      # a comment
      | <<(?P<tabs>-?)[ \t]*(?P<quote>\\|'|"|)(?P<end>[A-Za-z_]\w*)
      | \n""",
    re.VERBOSE,
)
_TOKEN_IN_QUOTES = re.compile(r'\\[\s\S]|"|\$\(')
_MARK = re.compile(r"@([A-Z_]+)@")


@functools.cache
def load(package: str, name: str) -> str:
    """The shell text in the file ``shell/name`` of a package, :func:`minified`.

    :param package: of the module that uses it: its ``__package__``.
    """
    return minified(resources.files(package).joinpath("shell", name).read_text(encoding="utf-8"))


def marks(text: str) -> list[str]:
    """Names of the marks (``@NAME@``) in shell text, in order."""
    return _MARK.findall(text)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace marks by values, in one pass: a value that looks like a mark is unchanged.

    :param values: by name, each already quoted for its position.
    :raises ValueError: a mark has no value, or a value no mark.
    """
    named = set(marks(template))
    if named - values.keys():
        raise ValueError(f"there is no value for {', '.join(sorted(named - values.keys()))}")
    if values.keys() - named:
        raise ValueError(f"there is no mark for {', '.join(sorted(values.keys() - named))}")
    return _MARK.sub(lambda mark: values[mark[1]], template)


def filled(package: str, name: str, values: Mapping[str, str]) -> str:
    """The shell text in the file ``shell/name`` of a package, with values: :func:`load` and :func:`fill`."""
    return fill(load(package, name), values)


def minified(text: str) -> str:
    """Shell text without comment lines, blank lines and indentation.

    Quoted text, here-documents and continuation lines are unchanged. In ``"$(...)"`` the patterns of a ``case`` need
    both of their parentheses.

    :raises ValueError: a quote, parenthesis of a command in quotes or here-document is not closed.
    """
    reader = _Reader(text)
    while reader.position < len(text):
        reader.read_line()
    if reader.in_quotes:
        raise ValueError("a quote is not closed")
    return "".join(reader.kept)


class _Reader:
    """Reads shell text line by line, and keeps what :func:`minified` returns in ``kept``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.kept: list[str] = []
        self._open: list[str] = []
        """open quotes and parentheses, the innermost last"""

    @property
    def in_quotes(self) -> bool:
        return '"' in self._open

    def read_line(self) -> None:
        """Read a line, including everything that begins in it and ends in a later one."""
        comment = _COMMENT_OR_BLANK.match(self.text, self.position)
        if comment:
            self.position = comment.end()
            return
        while self.text[self.position : self.position + 1] in (" ", "\t"):
            self.position += 1
        start = self.position
        ends = self._read_words()
        self.kept.append(self.text[start : self.position])
        for end, tabs in ends:
            self._read_document(end, tabs)

    def _read_words(self) -> list[tuple[str, str]]:
        """Read up to a line end outside of quotes; the here-documents that follow it: end word, ``-`` if tabs go."""
        documents: list[tuple[str, str]] = []
        while True:
            quoted = bool(self._open) and self._open[-1] == '"'
            token = (_TOKEN_IN_QUOTES if quoted else _TOKEN).search(self.text, self.position)
            if token is None:
                self.position = len(self.text)
                return documents
            self.position = token.end()
            if not quoted and token["end"]:
                documents.append((token["end"], token["tabs"]))
                self.position += len(token["quote"].strip("\\"))
            elif token[0] == "\n":
                return documents
            elif token[0].count("'") == 1 and token[0][0] == "'":
                raise ValueError("a quote is not closed")
            else:
                self._note(token[0], quoted)

    def _note(self, token: str, quoted: bool) -> None:
        """Note what a token opens or closes. (A pattern of a ``case`` closes what nothing opened.)"""
        closes = '"' if quoted else ")"
        if token == closes and self._open:
            self._open.pop()
        elif token in ('"', "$(", "("):
            self._open.append(token)

    def _read_document(self, end: str, tabs: str) -> None:
        blanks = "\t*" if tabs else ""
        document = re.compile(rf"[\s\S]*?^{blanks}{end}$\n?", re.MULTILINE).match(self.text, self.position)
        if document is None:
            raise ValueError(f"the here-document that {end} ends is not closed")
        self.kept.append(document[0])
        self.position = document.end()
