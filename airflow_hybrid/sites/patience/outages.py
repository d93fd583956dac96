# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Waiting for the end of an outage: of a site, of its scheduler, or of the way there. It is no job's fault.

What a site does not answer is asked again, for as long as the setting ``max_unreachable`` says, and in every phase
alike: placing, staging, submitting, polling, collecting. Airflow's retries are for jobs that fail.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from airflow_hybrid import settings
from airflow_hybrid.errors import SiteError, UnknownHostError
from airflow_hybrid.printable import moment
from airflow_hybrid.sites.patience.backoff import Backoff

T = TypeVar("T")
FIRST_S, MOST_S = 1.0, 60.0
"""the first and the longest pause between two attempts"""
_ANSWERED: set[str] = set()
"""keys of locations that have answered this process: their names and addresses are right"""


class Log(Protocol):
    """The log of a task."""

    def info(self, event: Any, /, *args: Any) -> Any: ...

    def warning(self, event: Any, /, *args: Any) -> Any: ...


class Outage:
    """An outage that somebody waits for.

    :param limit_s: for how long; None: the setting ``max_unreachable``.
    :ivar since: when it was first noticed, in seconds since the epoch.
    :ivar told: the last message about it.
    """

    def __init__(self, limit_s: float | None = None) -> None:
        self.since = time.time()
        self.limit_s = limit_s = settings.current().max_unreachable if limit_s is None else limit_s
        self.told = ""
        self._ends = time.monotonic() + limit_s
        self._backoff = Backoff(FIRST_S, MOST_S, spread=0.5)

    @property
    def is_too_long(self) -> bool:
        return time.monotonic() >= self._ends

    async def pause(self) -> None:
        """Wait before the next attempt; the last one is when the time is up."""
        await self._backoff.pause(self._ends - time.monotonic())


@dataclass(frozen=True)
class Patience:
    """How long somebody waits for the end of an outage.

    :ivar log: is told when an outage begins, when its message changes, and when it is over.
    :ivar limit_s: how long; None: the setting ``max_unreachable``.
    :ivar at_first: whether to wait also for a location that has never answered this process. Who sits in front of a
        terminal wants to know of a wrong address at once.
    :ivar tell: is told what is waited for, and None when nothing is waited for any more.
    :ivar final: whether the end of the patience is the end of the task: False if somebody else waits on.
    """

    log: Log
    limit_s: float | None = None
    at_first: bool = False
    tell: Callable[[SiteError | None], Awaitable[None]] | None = None
    final: bool = True
    _waits: dict[object, SiteError] = field(default_factory=dict)

    async def through(self, action: Callable[[], Awaitable[T]], key: str, *, is_known: bool = False) -> T:
        """Do something that may be repeated at any time, and repeat it while there is an outage.

        :param key: of the location (``Host.key``).
        :param is_known: the location has answered before, another process perhaps.
        :raises SiteError: another problem; or the outage has lasted for too long.
        """
        outage: Outage | None = None
        try:
            while True:
                try:
                    result = await action()
                    break
                except SiteError as error:
                    if not self._is_waited_for(error, is_known=is_known or key in _ANSWERED):
                        raise
                    outage = outage or Outage(self.limit_s)
                    if outage.is_too_long:
                        raise given_up(error, outage.since) if self.final else error from None
                    await self._note(outage, error)
                await outage.pause()
        finally:
            self._waits.pop(outage, None)
        if outage is not None:
            self.log.info("%s answers again, after %s", key, duration(time.time() - outage.since))
            if self.tell is not None:
                await self.tell(next(iter(self._waits.values()), None))
        return result

    def _is_waited_for(self, error: SiteError, *, is_known: bool) -> bool:
        if not error.passes:
            return False
        return is_known or (self.at_first and not isinstance(error, UnknownHostError))

    async def _note(self, outage: Outage, error: SiteError) -> None:
        # counts and times in it are no change
        told = re.sub(r"\d+", "", error.message)
        if outage.told == told:
            return
        outage.told = told
        self.log.warning("%s", waiting(error, outage.since, outage.limit_s) if self.final else error)
        self._waits[outage] = error
        if self.tell is not None:
            await self.tell(error)


def answered(key: str) -> None:
    """Note that a location has answered a command."""
    _ANSWERED.add(key)


_CURRENT: ContextVar[Patience] = ContextVar("airflow_hybrid_patience")
_DEFAULT = Patience(logging.getLogger(__name__))


def current() -> Patience:
    """The patience of what runs now; by default, that of somebody in front of a terminal."""
    return _CURRENT.get(_DEFAULT)


@contextlib.contextmanager
def waits(patience: Patience) -> Iterator[None]:
    """In this block, and in tasks of the event loop that are made in it, outages are waited for like this."""
    before = _CURRENT.set(patience)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def waiting(error: SiteError, since: float, limit_s: float) -> str:
    """The message of a task that waits: since when, and until when."""
    return (
        f"{error}\n"
        f"  The task waits since {moment(since)}, until {moment(since + limit_s)} at most, without using retries, and"
        " goes on by itself when there is an answer. Jobs that were submitted go on meanwhile"
    )


def given_up(error: SiteError, since: float) -> SiteError:
    """The error of a task that has waited for as long as it may; Airflow does not try it again."""
    message = f"{error.message} (since {moment(since)}: `max_unreachable` is over)"
    hint = "when the site is back, clear the task: it finds the jobs that were submitted, and what they have made"
    return SiteError(message, where=error.where, hint=f"{error.hint}; {hint}" if error.hint else hint, retryable=False)


def duration(seconds: float) -> str:
    """A time for people: ``90 s``, ``15 min``, ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
