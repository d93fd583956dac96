# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Parts of answers in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_hybrid.amounts import counted
from airflow_hybrid.printable import printable

if TYPE_CHECKING:
    from airflow_hybrid.runs.answers.why import Answer


def jobs_in_words(answer: Answer) -> str:
    """``312 of 10,000 jobs, first: [17]``; nothing for a whole step."""
    if not answer.jobs:
        return ""
    words = counted(max(answer.jobs, answer.total), "job")
    if answer.total > answer.jobs:
        words = f"{answer.jobs:,} of {words}"
    if not answer.first:
        return words
    return f"{words}{', first' if answer.jobs > 1 else ''}: {printable(answer.first)}"
