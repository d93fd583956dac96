# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What is answered when a host asks for a password, or asks questions (keyboard-interactive, RFC 4256)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncssh

from airflow_hybrid import metrics
from airflow_hybrid.metrics import table
from airflow_hybrid.sites.hosts.ssh.login import Login
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings

MOST_ATTEMPTS = 3
"""of a person who gives wrong answers"""
MOST_QUESTIONS = 12
"""of a host at one login"""


@dataclass(frozen=True)
class Question:
    """Questions of a host at login. All of its text comes from the host and is not to be trusted.

    :ivar at: who asks, ``user@host``; ours.
    :ivar title, instructions: of the host; mostly empty.
    :ivar prompts: each with whether the answer may be shown while it is typed.
    """

    at: str
    title: str
    instructions: str
    prompts: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Attendant:
    """A person who logs in, and what was read for that.

    :ivar ask: puts a host's questions to the person; None: the person gives up.
    :ivar read: the login of a host, with its secrets.
    """

    ask: Callable[[Question], Awaitable[list[str] | None]]
    read: Callable[[SshSettings], Awaitable[Login]]


class Client(asyncssh.SSHClient):
    """Sends the login's password at most once, and notices what only a person could answer.

    :ivar asked: the host's first question to a person.
    """

    def __init__(self, login: Login, deployment: str, attendant: Attendant | None = None) -> None:
        """:param deployment: that the connection is counted for in metrics."""
        self._login = login
        self._deployment = deployment
        self._attendant = attendant
        self._password = login.password
        self._attempts = self._questions = 0
        self._wants_questions = self._other_ways = False
        self.asked: str | None = None

    @property
    def needs_person(self) -> bool:
        """Whether the host refused a login that a person might complete."""
        return self.asked is not None or (self._wants_questions and not self._other_ways)

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        metrics.change(table.SSH_CONNECTIONS, 1, deployment=self._deployment)

    def connection_lost(self, exc: Exception | None) -> None:
        metrics.change(table.SSH_CONNECTIONS, -1, deployment=self._deployment)

    def public_key_auth_requested(self) -> None:
        """Called for a further key: the host has refused all others."""
        self._other_ways = True

    async def password_auth_requested(self) -> str | None:
        self._other_ways = True
        password, self._password = self._password, None
        self._attempts += 1
        if password is None and self._attendant is not None and self._attempts <= MOST_ATTEMPTS:
            answers = await self._answers("", "", [(f"password of {self._login.settings.name}", False)])
            return answers[0] if answers else None
        return password

    def kbdint_auth_requested(self) -> str | None:
        self._attempts += 1
        if self._password is not None or (self._attendant is not None and self._attempts <= MOST_ATTEMPTS):
            return ""
        self._wants_questions = True
        return None

    async def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        if not prompts:
            return []  # it only tells something
        if self._password is not None and len(prompts) == 1 and "password" in prompts[0][0].lower():
            password, self._password = self._password, None
            self._other_ways = True  # if it is refused, it is a password that is wrong
            return [password]
        self.asked = self.asked or prompts[0][0]
        if len(prompts) > MOST_QUESTIONS:
            return None
        return await self._answers(name, instructions, prompts)

    async def _answers(self, title: str, instructions: str, prompts: Sequence[tuple[str, bool]]) -> list[str] | None:
        if self._attendant is None or self._questions >= MOST_QUESTIONS:
            return None
        self._questions += 1
        at = self._login.settings.name
        return await self._attendant.ask(Question(at, title, instructions, tuple(prompts)))
