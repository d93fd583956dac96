# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Waiting for credentials: a password for one login, or a certificate for a day, ends before the work does."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from airflow_hybrid.errors import AuthenticationError, HostUnreachableError, LoginRefusedError
from airflow_hybrid.printable import moment
from airflow_hybrid.sites.patience.outages import Log, duration

T = TypeVar("T")
AGAIN_S = 2.0
"""how often waiting tasks ask whether there are new credentials; the host itself is asked far less often"""


UNREACHABLE_S = 15.0
"""the pause after a host could not be reached: it may have banned this machine, and count what is tried"""

Tell = Callable[[LoginRefusedError | None], Awaitable[None]]


async def with_logins(work: Callable[[], Awaitable[T]], log: Log, tell: Tell | None = None) -> T:
    """Do something that may be repeated at any time; while a login is refused, wait, and then do it again.

    :param tell: is told what is waited for, and None when that is over.
    :raises LoginRefusedError: the login is refused for longer than its deployment lets a run wait.
    """
    while True:
        try:
            return await work()
        except LoginRefusedError as error:
            if tell is not None:
                await tell(error)
            await _until_accepted(error, log)
            if tell is not None:
                await tell(None)


async def _until_accepted(error: LoginRefusedError, log: Log) -> None:
    refusal = error.refusal
    if refusal is None or refusal.wait_s <= 0:
        raise error
    log.warning("%s", waiting(error, refusal.since, refusal.wait_s))
    told = ""
    while True:
        if time.time() >= refusal.since + refusal.wait_s:
            raise given_up(error, refusal.since)
        await asyncio.sleep(AGAIN_S)
        try:
            await refusal.again()
        except LoginRefusedError as still_refused:
            error = still_refused
        except AuthenticationError as unusable:  # perhaps a file that is just being written
            if str(unusable) != told:
                log.warning("the renewed credentials cannot be used, and the task waits on: %s", unusable)
            told = str(unusable)
        except HostUnreachableError:  # whether it would accept the login is unknown
            await asyncio.sleep(UNREACHABLE_S)
        else:
            log.info("the login works again, after %s", duration(time.time() - refusal.since))
            return


def state_of(files: Iterable[str]) -> dict[str, list[int] | None]:
    """What tells whether files were changed or made: number, time and size by path; None: there is none."""
    states: dict[str, list[int] | None] = {}
    for path in files:
        try:
            status = os.stat(path)
        except OSError:
            states[path] = None
        else:
            states[path] = [status.st_ino, status.st_mtime_ns, status.st_size]
    return states


def waiting(error: LoginRefusedError, since: float, wait_s: float) -> str:
    """The message of a task that waits: since when, until when, and how to renew the credentials."""
    return (
        f"{error}\n"
        f"  The task waits since {moment(since)}, until {moment(since + wait_s)}, without using retries, and goes on by"
        " itself as soon as the login works. If it should not wait: mark it as failed"
    )


def given_up(error: LoginRefusedError, since: float) -> LoginRefusedError:
    """The error of a task that has waited for as long as it may."""
    message = f"{error.message} (since {moment(since)}: `wait_for_login` is over)"
    return LoginRefusedError(message, where=error.where, hint=error.hint)
