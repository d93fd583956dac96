# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Errors of airflow_hybrid: each says what happened, where, and what to do.

Whether an attempt may be repeated is decided where the error is raised (:attr:`HybridError.retryable`),
never guessed from a message later.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.printable import few_lines, printable, printable_lines, quoted_lines, shortened

MOST_CHARS = 100_000
"""of a message, so that escaping it and searching it for secrets is fast"""
TASK_LINES = 30
"""of a message in a task's log"""


_MENDED_BY_PEOPLE = frozenset(
    {
        errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP,
        errno.ENAMETOOLONG, errno.ENOTDIR, errno.EPERM, errno.EROFS,
    }
)  # fmt: skip
"""what is wrong with a file or a folder until somebody changes it"""


def may_pass(error: OSError) -> bool:
    """Whether an operation on files that failed may succeed later, though nobody changes names or permissions."""
    return error.errno not in _MENDED_BY_PEOPLE


class HybridError(Exception):
    """Base of all errors that a user of airflow_hybrid may see.

    :param message: what happened, in one sentence.
    :param where: ``file:line:column``, or host and command; printed before the message.
    :param hint: what the user can do about it; printed after the message.
    :param retryable: whether another attempt may succeed; None: the default of the error's class.

    All three are shortened in the middle if they are too long to read; unprintable characters are escaped, and secrets
    in URLs are removed. A message may have several lines: text from others (a site, a job) is inserted with
    :func:`~airflow_hybrid.printable.printable`, as one line, or with :func:`~airflow_hybrid.printable.quoted_lines`.
    """

    retryable: bool = False
    resumable: bool = False
    """when the task is cleared, jobs that succeeded or still run are taken over: the error says nothing about them"""
    problems: tuple[HybridError, ...] = ()
    """one for each problem, if the message lists several: who lists them among others takes these"""

    def __init__(
        self, message: str, *, where: str | None = None, hint: str | None = None, retryable: bool | None = None
    ) -> None:
        message = printable_lines(shortened(message, MOST_CHARS))
        super().__init__(message)
        self.message = message
        self.where = None if where is None else printable_lines(shortened(where, MOST_CHARS))
        self.hint = None if hint is None else printable_lines(shortened(hint, MOST_CHARS))
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  -> {self.hint}" if self.hint else text

    @property
    def for_a_task(self) -> str:
        """The message for a task's log: not longer than a screen."""
        return few_lines(str(self), TASK_LINES)

    def to_json(self) -> dict[str, Any]:
        """The error for another process, which reads it with :func:`error_from_json`."""
        kind = next(kind.__name__ for kind in type(self).__mro__ if kind.__module__ == __name__)
        return {
            "kind": kind,
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
            "retryable": self.retryable,
        }


class ConfigError(HybridError):
    """The hybrid file (or a binding given in Python) is wrong; ``where`` is ``file:line: YAML path``."""


class SettingError(HybridError):
    """A setting in Airflow's section ``[airflow_hybrid]`` is wrong, or ``airflow.cfg`` cannot be read."""


class CwlError(HybridError):
    """A CWL document is invalid or uses something unsupported; ``where`` is ``file:line:column``."""


class UnsupportedError(CwlError):
    """The document is valid CWL but needs an unsupported feature (cwl-runner exit code 33)."""


class InputError(HybridError):
    """The inputs of a DAG run (Params, conf or ``job``) do not fit the workflow's inputs."""


class SiteError(HybridError):
    """A location could not be used: unreachable, refused, a program missing, a disk full.

    Retryable by default: it says nothing about the jobs, which may still be running.

    :cvar passes: it is an outage, which ends by itself and is no job's fault: a task waits for its end.
    """

    retryable = True
    resumable = True
    passes: bool = False


class HostUnreachableError(SiteError):
    """The host did not answer, or the connection was lost."""

    passes = True


class UnknownHostError(HostUnreachableError):
    """No name server knows the host's name: a typing error, if it has never been reached."""


class LocationGoneError(SiteError):
    """The location no longer exists (a replica was removed by scaling), with everything in it.

    Nothing can be repeated there. A task can: its jobs get other locations.
    """

    retryable = False


class HostKeyError(SiteError):
    """The host's key is not the expected one; never bypassed."""

    retryable = False


class AuthenticationError(SiteError):
    """The host refused the user or the key."""

    retryable = False


@dataclass(frozen=True)
class Refusal:
    """A login that a host refuses.

    :ivar since: when it was first refused, in seconds since the epoch.
    :ivar wait_s: how long a run waits for credentials that work; 0: not at all.
    :ivar again: attempts the login, if a pause since the last attempt is over or the credentials have changed.
    :ivar files: of this machine (of credentials, and of a login that a person opens), some of which may be missing: if
        one changes, another attempt may succeed.
    """

    since: float
    wait_s: float
    again: Callable[[], Awaitable[object]]
    files: tuple[str, ...] = ()


class LoginRefusedError(AuthenticationError):
    """The host refused the credentials. They may have expired, and may be renewed without a change to the run."""

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        super().__init__(message, where=where, hint=hint, retryable=retryable)
        self.refusal = refusal


@dataclass(frozen=True)
class CommandEnd:
    """How a command at a location ended.

    :ivar command: its name in messages.
    :ivar exit_code: None: it did not end in time.
    """

    location: str
    command: str
    exit_code: int | None
    stderr: str = ""


class CommandError(SiteError):
    """A command at a location ended with a non-zero exit code or did not end in time."""

    def __init__(self, message: str, end: CommandEnd, *, hint: str | None = None) -> None:
        ended = "did not end in time" if end.exit_code is None else f"exit code {end.exit_code}"
        lines = [f"{message} ({ended})", *quoted_lines(end.stderr.strip()[-2000:])]
        super().__init__("\n".join(lines), where=f"{end.location}: {printable(end.command)}", hint=hint)
        self.passes = end.exit_code is None
        self.exit_code = end.exit_code
        self.stderr = end.stderr


class AnswerTooLongError(SiteError):
    """A command printed more than its kind ever should; it was ended, and its output is not used."""

    retryable = False


class DeployError(SiteError):
    """A deployment could not be brought up or removed, with the message of the tool that refused.

    Not retryable if the next attempt would fail the same way (an error in a compose file, no such image).
    """


class EndedError(SiteError):
    """A location that was made for a run no longer exists, and neither do its files and jobs."""

    retryable = False


class SubmitError(SiteError):
    """A scheduler refused a job, with its own message."""


class TransferError(SiteError):
    """Data could not be moved, or arrived changed."""


MOST_LOST = 2000
"""files that one error names as lost; those beyond are found when these are there again"""


class LostDataError(TransferError):
    """Files that jobs made are gone, or are no longer what was recorded. Their jobs may be able to make them again.

    :ivar files: their URIs.
    """

    retryable = False
    files: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, files: Sequence[str], message: str, *, where: str | None = None, hint: str | None = None
    ) -> LostDataError:
        """The error for some files; see :class:`HybridError`."""
        error = cls(message, where=where, hint=hint)
        error.files = tuple(files[:MOST_LOST])
        return error

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "files": list(self.files)}


def all_lost(errors: Sequence[LostDataError]) -> LostDataError:
    """One error for several: the first one, with the files of all."""
    first = errors[0]
    message = first.message if len(errors) == 1 else f"{first.message}\n  and {len(errors) - 1} more"
    files = [file for error in errors for file in error.files]
    return LostDataError.of(files, message, where=first.where, hint=first.hint)


class StatusUnknownError(SiteError):
    """A status command failed: the jobs' state is unknown, which is not the same as gone."""

    passes = True


class JobFailedError(HybridError):
    """One or more jobs of a batch ended without success."""

    resumable = True

    def __init__(self, message: str, *, retryable: bool, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, where=where, hint=hint, retryable=retryable)


class CancelledError(HybridError):
    """The batch was cancelled (marked failed, cleared, or the DAG run timed out)."""


def error_from_json(value: Mapping[str, Any]) -> HybridError:
    """An error of another process (:meth:`HybridError.to_json`), of its class if that is one of this module."""
    kind = globals().get(str(value["kind"]))
    if not isinstance(kind, type) or not issubclass(kind, HybridError):
        kind = HybridError
    error = kind.__new__(kind, value["message"])
    HybridError.__init__(
        error, value["message"], where=value["where"], hint=value["hint"], retryable=value["retryable"]
    )
    if isinstance(error, LostDataError):
        error.files = tuple(map(str, value.get("files", ())))
    return error
