# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Remedies for a run without a lasting Airflow (``airflow hybrid run``): it has ended, and its tasks with it."""

from __future__ import annotations

import re

_AGAIN = "run the document again"
_WORDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"repair that and clear it: .*", f"repair that, then {_AGAIN}"),
        (
            r"its stderr may say more: `airflow hybrid logs .*`",
            "the last line of its stderr is under *Failed jobs*; `--leave-tmpdir` of another run keeps its files",
        ),
        (r"the task's next try runs it again; if no try is left, clear the task", _AGAIN),
        (
            r"clear the task to run it again; `retries` of the step's binding would have done so by itself",
            f"{_AGAIN}; `retries` of the step's binding in a hybrid file would have tried by itself",
        ),
        (r"clear the task to run it again|clear the task", _AGAIN),
        (r"the task's next try", "another run"),
        (r"the task's log (says more|does)", "`--verbose` of another run says more"),
    )
)


def without_airflow(remedy: str) -> str:
    """A remedy without tasks to clear and commands that ask Airflow's database.

    >>> without_airflow("repair that and clear it: what was not run follows by itself")
    'repair that, then run the document again'
    """
    for pattern, words in _WORDS:
        remedy = pattern.sub(words, remedy)
    return remedy
