# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Questions to a scheduler's programs, with a time limit, and their answers, stdout and stderr apart. Pure text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from airflow_hybrid import shell_text

STATUS_LIMIT_S = 15
"""how long a status command may take; after that the states of its jobs are unknown"""
ACCOUNT_LIMIT_S = 60
"""how long a question to the accounting may take, which reads more"""
_ENDED = frozenset({128 + 9, 256 + 9})
"""exit codes of a program that ``ah_asks`` ended; the second one is ksh's"""
SAID = "#said"
"""the line before an answer's complaints"""
_EXIT = re.compile(r"#exit (\d{1,6})")
_SHELL_SAYS = re.compile(r"(.*\W)?Killed$")


@dataclass(frozen=True)
class Answer:
    """What a program answered.

    :ivar lines: lines of its stdout.
    :ivar complaints: lines of its stderr.
    :ivar code: its exit code, or that of the filter that read its output; None if the answer is missing or was cut off.
    """

    lines: list[str]
    complaints: list[str]
    code: int | None

    @property
    def program_code(self) -> int | None:
        """The program's exit code; if a filter read its output, the lines ``#exit <n>`` have the codes of its runs."""
        codes = [int(match[1]) for match in map(_EXIT.fullmatch, self.lines) if match]
        if self.code is None or not codes:
            return self.code
        return next((code for code in codes if code), 0)

    @property
    def words(self) -> str:
        """Everything it wrote, for a message. Complaints come last, because messages keep the end of a text."""
        lines = [line for line in (*self.lines, *self.complaints) if line and not _EXIT.fullmatch(line)]
        if self.program_code in _ENDED:
            lines = [line for line in lines if not _SHELL_SAYS.match(line)] or ["no answer in time"]
        return " ".join(" ".join(lines).split())


def asking_functions() -> str:
    """Shell functions for questions to a scheduler's programs, whole lines; ``asking.sh`` says what they do."""
    return shell_text.load(__package__, "asking.sh")


def section(text: str, name: str) -> Answer:
    """The text between ``#<name>`` and ``#rc <n>``: an answer and, after ``#said``, complaints."""
    lines = text.splitlines()
    try:
        start = lines.index(f"#{name}") + 1
    except ValueError:
        return Answer([], [], None)
    code = None
    end = start
    while end < len(lines) and code is None:
        if lines[end].startswith("#rc "):
            code = int(lines[end][4:])
        else:
            end += 1
    complaints_at = lines.index(SAID, start, end) if SAID in lines[start:end] else end
    return Answer(lines[start:complaints_at], lines[complaints_at + 1 : end], code)


def ask_section(name: str, question: str) -> str:
    """Shell text whose output :func:`section` reads. :func:`asking_functions` must come before it.

    :param question: shell text; its exit code tells whether it was answered.
    """
    return f"ah_question() {{\n{question}\n}}\necho '#{name}'; ah_apart ah_question; echo \"#rc $?\"\n"


def words_after(text: str, start: str) -> list[str]:
    return next((line[len(start) :].split() for line in text.splitlines() if line.startswith(start)), [])


def number_of(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
