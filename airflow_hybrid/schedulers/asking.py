# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How a scheduler's programs are asked, and what they answer: stdout and stderr apart, and not for ever. Pure text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_hybrid import shell_text

STATUS_LIMIT_S = 15
"""a scheduler that has not said by then how jobs stand is not waited for: they are unknown"""
ACCOUNT_LIMIT_S = 60
"""the same of a question to the accounting, which reads more"""
_ENDED = frozenset({128 + 9, 256 + 9})
"""exit codes of what ``ah_asks`` ended, the latter as ksh counts"""
_SHELL_SAYS = re.compile(r"(.*\W)?Killed$")


@dataclass(frozen=True)
class Answer:
    """What a program said.

    :ivar lines: of its stdout.
    :ivar complaints: lines of its stderr.
    :ivar code: its exit code; None where the answer is missing or was cut off.
    """

    lines: list[str]
    complaints: list[str]
    code: int | None

    @property
    def words(self) -> str:
        """All that it said, for a message: complaints last, of which the end is kept."""
        lines = [line for line in (*self.lines, *self.complaints) if line]
        if self.code in _ENDED:
            lines = [line for line in lines if not _SHELL_SAYS.match(line)] or ["no answer in time"]
        return " ".join(lines).strip()


def asking_functions() -> str:
    """Shell functions for questions to a scheduler's programs, whole lines; ``asking.sh`` says what they do."""
    return shell_text.load(__package__, "asking.sh")


def section(text: str, name: str) -> Answer:
    """What stands between ``#<name>`` and ``#rc <n>``: an answer and, behind ``#said``, complaints."""
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
    said = lines.index("#said", start, end) if "#said" in lines[start:end] else end
    return Answer(lines[start:said], lines[said + 1 : end], code)


def asked(name: str, question: str) -> str:
    """Shell text that asks in :func:`section`'s form; :func:`asking_functions` must stand above it.

    :param question: shell text, its exit code tells whether it was answered.
    """
    return f"ah_question() {{\n{question}\n}}\necho '#{name}'; ah_apart ah_question; echo \"#rc $?\"\n"


def words_after(text: str, start: str) -> list[str]:
    return next((line[len(start) :].split() for line in text.splitlines() if line.startswith(start)), [])


def number_of(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
