# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a connection remembers of attempts that failed, so that hosts are not asked too often."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from airflow_hybrid.errors import ConfigError, LoginRefusedError, SiteError
from airflow_hybrid.sites.hosts.ssh import sessions
from airflow_hybrid.sites.hosts.ssh.login import Login, credentials_on_disk

REFUSED_FOR_S = 300.0
"""the pause after a refused login, so that many tasks do not get this machine banned (fail2ban: 5 in 10 minutes)"""
UNUSABLE_FOR_S = 30.0
"""how long another problem with a login is remembered"""
LOOK_S = 15.0
"""how often a Connection is read, to compare its credentials with those that were refused"""
LOOK_HERE_S = 1.0
"""how often files of credentials and kept logins are looked at: that costs nothing"""
MOST_UNREACHED_S = 30.0
"""the longest pause after a host could not be reached, whoever asks for it: sshd may count attempts, and ban"""
BEHIND_S = 5.0
"""the pause after a jump host has refused a login, which has a longer pause of its own"""

Failure = SiteError | ConfigError


@dataclass(frozen=True)
class Credentials:
    """What a host is given at a login. It differs when somebody has renewed something, or has logged in.

    :ivar state: of the files that are used.
    """

    login: Login
    state: object

    @classmethod
    def of(cls, login: Login) -> Credentials:
        return cls(login, (credentials_on_disk(login), sessions.socket_state(login)))


class Refusals:
    """The failed attempts of one connection.

    :ivar since: when the login was first refused, in seconds since the epoch; 0: it is not.
    :ivar worked: it was accepted before.
    :ivar question: what the host has asked that only a person can answer; empty: it is not known.
    """

    def __init__(self) -> None:
        self.since = 0.0
        self.worked = False
        self.question = ""
        self._failure: tuple[Failure, float] | None = None
        self._refused: Credentials | None = None
        self._for_person: Credentials | None = None
        self._look_at = self._look_here_at = 0.0
        self._unreached = 0

    def begin(self) -> None:
        """An attempt begins."""
        self._refused = None

    def note(self, credentials: Credentials) -> None:
        """The host refuses them, or would."""
        self._refused, self.since = credentials, self.since or time.time()

    def note_question(self, credentials: Credentials, question: str | None) -> None:
        """With these, the host wants a person: they are not tried again."""
        self._for_person, self.question = credentials, question or ""

    def wants_person(self, credentials: Credentials) -> bool:
        return self._for_person == credentials

    def forget(self) -> None:
        """The next attempt may be made at once."""
        self._failure = self._refused = None
        self._unreached = 0

    def succeeded(self) -> None:
        self.forget()
        self.since, self.worked = 0.0, True

    def failed(self, error: Failure) -> None:
        self._failure = (error, time.monotonic() + self._pause_s(error))

    def _pause_s(self, error: Failure) -> float:
        """How long no other attempt is made after an error."""
        if error.retryable:
            self._unreached += 1
            longest_s = min(MOST_UNREACHED_S, 2.0 ** (self._unreached - 1))
            return longest_s * random.uniform(0.5, 1.0)
        if not isinstance(error, LoginRefusedError):
            return UNUSABLE_FOR_S
        return BEHIND_S if self._refused is None else REFUSED_FOR_S

    async def standing(self, read: Callable[[], Awaitable[Login]]) -> Failure | None:
        """The last failure, unless the pause after it is over, or the refused login now has other credentials."""
        if self._failure is None or time.monotonic() >= self._failure[1]:
            return None
        failure, refused = self._failure, self._refused
        if refused is None or not (self._renewed_here(refused) or await self._renewed(refused, read)):
            return failure[0]
        if self._failure is failure:
            self._failure = None
        return None

    def _renewed_here(self, refused: Credentials) -> bool:
        """Whether files of the refused credentials have changed, or somebody has logged in on this machine."""
        if time.monotonic() < self._look_here_at:
            return False
        self._look_here_at = time.monotonic() + LOOK_HERE_S
        return Credentials.of(refused.login) != refused

    async def _renewed(self, refused: Credentials, read: Callable[[], Awaitable[Login]]) -> bool:
        """Whether a Connection has other credentials now."""
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_S
        try:
            return Credentials.of(await read()) != refused
        except (SiteError, ConfigError):
            return False  # the refusal is the error to be told
