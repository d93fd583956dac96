# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What remedies ask people to do with a task, a job or a run: each phrase for Airflow, and for a run without a lasting
Airflow (``airflow hybrid run``), which has ended, and its tasks with it.
"""

from __future__ import annotations

import re

A_JOB = "RUN STEP[INDEX]"
"""stands in a command for a job, where it is not known which one"""
CLEAR = "clear the task"
RUN_AGAIN = f"{CLEAR} to run it again"
RUN_AGAIN_BY_RETRIES = f"{RUN_AGAIN}; `retries` of the step's binding would have done so by itself"
NEXT_TRY = "the task's next try"
NEXT_TRY_RUNS_IT = f"{NEXT_TRY} runs it again; if no try is left, {CLEAR}"
NEXT_TRY_SUBMITS_IT = f"{NEXT_TRY} submits it again"
REPAIR = "repair that and clear it: what was not run follows by itself"
LOG = "the task's log"
LOG_SAYS_MORE = f"{LOG} says more"
LOG_DOES = f"{LOG} does"
LOG_SAYS_HOW_FAR = f"{LOG} says how far it is"
READ_STDERR = f"its stderr may say more: `airflow hybrid logs {A_JOB}`"
_AGAIN = "run the document again"
_VERBOSE = "`--verbose` of another run says more"
_WITHOUT_AIRFLOW = {
    READ_STDERR: "the last line of its stderr is under *Failed jobs*; `--leave-tmpdir` of another run keeps its files",
    REPAIR: f"repair that, then {_AGAIN}",
    RUN_AGAIN_BY_RETRIES: f"{_AGAIN}; `retries` of the step's binding in a hybrid file would have tried by itself",
    NEXT_TRY_RUNS_IT: _AGAIN,
    NEXT_TRY_SUBMITS_IT: "another run submits it again",
    NEXT_TRY: "another run",
    RUN_AGAIN: _AGAIN,
    CLEAR: _AGAIN,
    LOG_SAYS_HOW_FAR: _VERBOSE,
    LOG_SAYS_MORE: _VERBOSE,
    LOG_DOES: _VERBOSE,
}
"""by the phrase for Airflow; one that begins another one comes after it"""
_PATTERNS = {
    re.compile(re.escape(phrase).replace(re.escape(A_JOB), "[^`]*")): words
    for phrase, words in _WITHOUT_AIRFLOW.items()
}


def for_job(remedy: str, job: str) -> str:
    """A remedy about a job that is known: its commands name it.

    :param job: run and job, as words of a shell command.
    """
    return remedy.replace(A_JOB, job)


def without_airflow(remedy: str) -> str:
    """A remedy without tasks to clear and commands that ask Airflow's database.

    >>> without_airflow(REPAIR)
    'repair that, then run the document again'
    """
    for pattern, words in _PATTERNS.items():
        remedy = pattern.sub(words, remedy)
    return remedy
