# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is said of jobs that failed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_hybrid.errors import JobFailedError
from airflow_hybrid.model import JobResult, JobScript
from airflow_hybrid.printable import printable, quoted_lines

STDERR_LINES = 15
COMMAND_CHARS = 400
_SECRET = re.compile(
    r"""(?ix) (?P<name> [\w-]*
        (?: passw(?:or)?d | passphrase | token | secret | credentials? | api[_-]?key ) [\w-]* \s*[=:\s]\s* )
    (?P<value> '[^']*' | "[^"]*" | \S+ )"""
)
"""what follows a word that announces a secret: ``--password x``, ``TOKEN=x``"""


@dataclass(frozen=True)
class Failure:
    label: str
    place: str
    result: JobResult
    status: str
    directory: str
    command: str = ""


def shown_command(script: JobScript) -> str:
    """A job's command line for people: as it would be typed, shortened in the middle, secrets left out."""
    text = script.command[0] if script.shell else shlex.join(script.command)
    for sign, path in (("<", script.stdin), (">", script.stdout), ("2>", script.stderr)):
        text += f" {sign} {shlex.quote(path)}" if path else ""
    text = _SECRET.sub(r"\g<name>***", printable(" ".join(text.split())))
    if len(text) > COMMAND_CHARS:
        half = COMMAND_CHARS // 2
        text = f"{text[:half]} [{len(text) - 2 * half} characters more] {text[-half:]}"
    return text


def failed(failures: Sequence[Failure], jobs: int) -> JobFailedError:
    """One message for all failed jobs of a fragment: the first three in full."""
    lines = [f"{len(failures)} of {jobs} jobs failed" if jobs > 1 else "the job failed"]
    for failure in failures[:3]:
        result = failure.result
        if result.exit_code is not None:
            ended = f"exit code {result.exit_code} ({failure.status})"
        else:
            ended = result.state.value
        lines.append(
            f"{failure.label} at {failure.place}: {ended}" + (f", {printable(result.reason)}" if result.reason else "")
        )
        if failure.command:
            lines.append(f"  command: {failure.command}")
        if result.scheduler_id:
            lines.append(f"  job id: {result.scheduler_id}")
        lines.append(f"  stdout: {result.stdout_path}")
        lines.append(f"  stderr: {result.stderr_path}")
        lines.extend(quoted_lines(result.stderr_tail, most=STDERR_LINES, indent="  "))
    if len(failures) > 3:
        lines.append(f"... and {len(failures) - 3} more")
    permanent = all(f.status == "permanentFail" and f.result.exit_code is not None for f in failures)
    return JobFailedError("\n".join(lines), retryable=not permanent)
