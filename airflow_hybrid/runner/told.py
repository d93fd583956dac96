# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A runner's message at the end of a failed run: one message, no longer than a screen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid.amounts import counted
from airflow_hybrid.engine.failures import JobsFailedError, failed
from airflow_hybrid.errors import HybridError
from airflow_hybrid.printable import few_lines

MOST_LINES = 30
"""of the whole message"""
MOST_TASKS = 5
"""steps whose errors are shown, where several failed"""
LEAVE_HINT = "to keep the files of its jobs, run again with --leave-tmpdir"
_PATH_LINE = re.compile(r"  (?:stdout|stderr|folder): (?P<path>/.*)")


@dataclass(frozen=True)
class TaskError:
    """Why a task failed.

    :ivar mapped_index: of the task if it is one chunk of a scatter; else -1.
    """

    task_id: str
    mapped_index: int
    error: BaseException


def failure_message(errors: Sequence[TaskError], succeeded: dict[str, int], gone: str | None) -> str:
    """One message for all failed tasks; the chunks of a scatter count as one.

    :param succeeded: task -> the number of successful jobs in its other chunks.
    :param gone: a folder that is removed after the run: lines that only name paths in it are left out.
    """
    by_task: dict[str, list[TaskError]] = {}
    for error in errors:
        by_task.setdefault(error.task_id, []).append(error)
    messages = [_of_task(of_one, succeeded.get(task_id, 0)) for task_id, of_one in by_task.items()]
    messages = list(dict.fromkeys(messages))
    hints = []
    if gone is not None:
        shortened_messages = ["\n".join(_without_paths(message, gone)) for message in messages]
        if shortened_messages != messages:
            hints.append(f"  -> {LEAVE_HINT}")
        messages = shortened_messages
    shown = messages[:MOST_TASKS]
    if len(messages) > len(shown):
        hints.insert(0, f"... and {counted(len(messages) - len(shown), 'more step')} failed")
    room = MOST_LINES - len(hints)
    if sum(message.count("\n") + 1 for message in shown) > room:
        shown = [few_lines(message, room // len(shown)) for message in shown]
    return "\n".join([*shown, *hints])


def _of_task(errors: Sequence[TaskError], succeeded: int) -> str:
    jobs = [error.error for error in errors if isinstance(error.error, JobsFailedError)]
    if len(errors) > 1 and len(jobs) == len(errors):
        ordered = sorted(errors, key=lambda error: error.mapped_index)
        failures = [failure for error in ordered for failure in _failed_jobs(error).failures]
        return str(failed(failures, sum(error.jobs for error in jobs) + succeeded))
    if len(jobs) == 1 and len(errors) == 1:
        return str(failed(jobs[0].failures, jobs[0].jobs + succeeded))
    texts = list(dict.fromkeys(_text(error.error) for error in errors))
    more = [f"... and {len(texts) - 1} more errors of this step"] if len(texts) > 1 else []
    return "\n".join([texts[0], *more])


def _failed_jobs(error: TaskError) -> JobsFailedError:
    assert isinstance(error.error, JobsFailedError)
    return error.error


def _text(error: BaseException) -> str:
    if isinstance(error, HybridError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _without_paths(message: str, folder: str) -> list[str]:
    lines = []
    for line in message.split("\n"):
        match = _PATH_LINE.fullmatch(line)
        if match is None or not match["path"].startswith(f"{folder}/"):
            lines.append(line)
    return lines
