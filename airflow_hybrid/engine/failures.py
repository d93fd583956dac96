# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Messages about failed jobs: what failed, where, and what to do; each fact once."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

from airflow_hybrid.amounts import counted
from airflow_hybrid.engine.retrying.rules import BY_OTHERS, NOBODYS_FAULT, Decision
from airflow_hybrid.errors import JobFailedError
from airflow_hybrid.model import JobResult, JobScript, JobState, Resources
from airflow_hybrid.printable import printable, quoted_lines, shortened
from airflow_hybrid.reasons import failed as reasons
from airflow_hybrid.reasons.failed import Ended

SHOWN = 3
"""failures that are shown in full"""
STDERR_LINES = 15
FEW_STDERR_LINES = 2
"""per job, where several jobs are shown"""
COMMAND_CHARS = 400
_WORDS_BEFORE = 100
"""characters before a value that are searched for the name of a secret"""
_SECRET = re.compile(
    r"""(?ix) (?P<name>
        (?: passw(?:or)?d | passphrase | token | secret | credentials? | api[_-]?key ) [\w-]{0,64} \ ? [=:\ ] \ ? )
    (?P<value> '[^']*' | "[^"]*" | \S+ )"""
)
"""a value after a word that announces a secret: ``--password x``, ``TOKEN=x``; in text with single spaces"""
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_NOT_OF_THE_JOB = NOBODYS_FAULT | BY_OTHERS
"""states that say nothing about the job itself, whatever its exit code"""


@dataclass(frozen=True)
class Failure:
    """One failed job.

    :ivar place: where it ran, in words.
    :ivar status: ``permanentFail`` or ``temporaryFail``.
    :ivar directory: its job directory.
    :ivar site_fault: what is wrong with the site, in words: the job itself may be right.
    :ivar decision: whether the next try runs it again.
    """

    label: str
    place: str
    result: JobResult
    status: str
    directory: str
    command: str = ""
    resources: Resources = field(default_factory=Resources)
    site_fault: str = ""
    decision: Decision = field(default_factory=lambda: Decision(False))


class JobsFailedError(JobFailedError):
    """Jobs of a fragment failed.

    It is retryable if all of them may be run again: one that may not lets the task fail in any case.

    :ivar failures: the failed jobs; ``jobs``: how many jobs there were in total.
    """

    def __init__(self, message: str, failures: Sequence[Failure], jobs: int) -> None:
        super().__init__(message, retryable=all(failure.decision.again for failure in failures))
        self.failures = tuple(failures)
        self.jobs = jobs


def shown_command(script: JobScript) -> str:
    """A job's command line for people: as one would type it, shortened in the middle, without secrets."""
    text = script.command[0] if script.shell else shlex.join(script.command)
    for sign, path in (("<", script.stdin), (">", script.stdout), ("2>", script.stderr)):
        text += f" {sign} {shlex.quote(path)}" if path else ""
    text = " ".join(text.split())
    half = COMMAND_CHARS // 2
    begin, end = text[: 10 * COMMAND_CHARS], text[-half:]
    if len(begin) == len(text):
        return shortened(_SECRET.sub(r"\g<name>***", printable(text)), COMMAND_CHARS)
    # a command may have megabytes: only the part that is shown is searched
    head = _SECRET.sub(r"\g<name>***", printable(begin))[:half]
    return f"{head} [{counted(len(text) - 2 * half, 'character')} more] {_end_without_secret(text, end)[-half:]}"


def _end_without_secret(text: str, end: str) -> str:
    """The end of a command line. It may begin within a word: the name of a secret may come before that."""
    start = len(text) - len(end)
    word = text.rfind(" ", 0, start) + 1
    before = text[max(0, word - _WORDS_BEFORE) : min(start, word + _WORDS_BEFORE)]
    return _SECRET.sub(r"\g<name>***", printable(before + end))


def failed(failures: Sequence[Failure], jobs: int) -> JobsFailedError:
    """One message for all failed jobs of a fragment: the first three in full."""
    lines = [f"{len(failures):,} of {counted(jobs, 'job')} failed" if jobs > 1 else "the job failed"]
    shown = failures[:SHOWN]
    for failure in shown:
        lines.extend(_told(failure, STDERR_LINES if len(shown) == 1 else FEW_STDERR_LINES))
    if len(failures) > SHOWN:
        lines.append(f"... and {len(failures) - SHOWN} more")
    error = JobsFailedError("\n".join(lines), failures, jobs)
    hints = _hints(shown, error.retryable)
    reasons = dict.fromkeys(failure.decision.reason for failure in failures if failure.decision.reason)
    hints += [f"not run again: {reason}" for reason in list(reasons)[:SHOWN]]
    error.hint = "\n  -> ".join(dict.fromkeys(hint for hint in hints if hint)) or None
    return error


def _told(failure: Failure, stderr_lines: int) -> list[str]:
    result = failure.result
    lines = [f"{failure.label} at {failure.place}: {_ended(failure)}"]
    if failure.site_fault:
        lines.append(f"  the site: {failure.site_fault}")
    if failure.command:
        lines.append(f"  command: {failure.command}")
    if result.scheduler_id:
        node = f" on {printable(result.node)}" if result.node else ""
        lines.append(f"  job id: {result.scheduler_id}{node}")
    lines.append(f"  stdout: {result.stdout_path}")
    lines.append(f"  stderr: {result.stderr_path}")
    lines.extend(quoted_lines(result.stderr_tail, most=stderr_lines, indent="  "))
    return lines


def _ended(failure: Failure) -> str:
    """How it ended, in one line: ``exit code 3 (permanentFail)``, ``OUT_OF_MEMORY, exit code 137: ...``."""
    result = failure.result
    facts = []
    if result.state not in (JobState.FAILED, JobState.COMPLETED):
        facts.append(result.state.value)
    if result.exit_code is not None:
        # nothing is permanent about what the next try runs again
        passes = failure.site_fault or (failure.decision.again and failure.status == "permanentFail")
        status = "" if passes else f" ({failure.status})"
        facts.append(f"exit code {result.exit_code}{status}{_signal(result.exit_code)}")
    reason = "" if _is_said(result) else printable(result.reason)
    if not facts:
        return reason or result.state.value
    return ", ".join(facts) + (f": {reason}" if reason else "")


def _is_said(result: JobResult) -> bool:
    """Whether the reason only repeats the state or the exit code."""
    reason = result.reason.strip().casefold()
    return reason in ("", result.state.value.casefold(), f"exit code {result.exit_code}")


def _signal(exit_code: int) -> str:
    """sh(1): 128 + number of the signal that ended a command."""
    try:
        return f", ended by signal {exit_code - 128} ({signal.Signals(exit_code - 128).name})"
    except ValueError:
        return ""


def disk_is_full(stderr: str) -> bool:
    """Whether a job reports that its disk or quota was full."""
    return _DISK_FULL.search(stderr) is not None


def ended_of(result: JobResult, asked: Resources, site_fault: str = "") -> Ended:
    """What is known of a failed job, for :func:`airflow_hybrid.reasons.failed.failed`."""
    return Ended(
        state=result.state,
        exit_code=result.exit_code,
        reason=result.reason,
        stderr=result.stderr_tail,
        memory_mib=asked.ram_mib if "ram_mib" in asked.explicit else None,
        limit_s=asked.walltime_s,
        site_fault=site_fault,
    )


def _hints(shown: Sequence[Failure], again: bool) -> list[str]:
    """What to do about failed jobs; where there are several, with the labels of those that it is about."""
    jobs: dict[str, list[str]] = {}
    for failure in shown:
        jobs.setdefault(_hint(failure, again), []).append(failure.label)
    jobs.pop("", None)
    if sum(map(len, jobs.values())) == len(shown) and len(jobs) == 1:  # it is about all of them
        return list(jobs)
    return [f"{', '.join(labels)}: {hint}" for hint, labels in jobs.items()]


def _hint(failure: Failure, again: bool) -> str:
    """What to do about it.

    :param again: whether the next try runs failed jobs again.
    """
    if failure.site_fault:
        next_try = "the next try runs it again: " if again else ""
        return f"{next_try}make room, or put the files back"
    if failure.result.state in _NOT_OF_THE_JOB:
        return ""
    why = reasons.failed(ended_of(failure.result, failure.resources))
    return str(why) if why.known else ""
