# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One SSH connection to one host: opened when needed, shared, bounded, reopened when lost.

No command that may have run is repeated: it is tried again on a new connection only if the host had not been asked to
run it.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import asyncssh

from airflow_hybrid import metrics
from airflow_hybrid.errors import (
    ConfigError,
    HostKeyError,
    HostUnreachableError,
    Refusal,
    SiteError,
)
from airflow_hybrid.metrics import table
from airflow_hybrid.sites.hosts.ssh import sessions
from airflow_hybrid.sites.hosts.ssh.certificates import Certificate, certificates_of
from airflow_hybrid.sites.hosts.ssh.client import Attendant, Client
from airflow_hybrid.sites.hosts.ssh.host_keys import PresentedKey, presented
from airflow_hybrid.sites.hosts.ssh.login import (
    Login,
    addresses_of,
    connect_options,
    connected_socket,
    known_hosts_files,
    parse_host_key,
    read_login,
)
from airflow_hybrid.sites.hosts.ssh.problems import Attempt, explained, needs_person, useless
from airflow_hybrid.sites.hosts.ssh.refusals import Credentials, Refusals
from airflow_hybrid.sites.hosts.ssh.running.processes import LOST, ended, started
from airflow_hybrid.sites.hosts.ssh.sessions import Session
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings, jump_hosts
from airflow_hybrid.sites.patience.backoff import Backoff

if logging.getLogger("asyncssh").level == logging.NOTSET:
    # at INFO it logs every command line (and so every script) to the task's log
    logging.getLogger("asyncssh").setLevel(logging.WARNING)

SESSION_WAIT_S = 60.0
"""how long to keep asking for a session that sshd refuses (MaxSessions)"""
PERSON_S = 300.0
"""for a person to answer what a host asks"""
MOST_JUMPS = 8
"""between this machine and a host; hosts that are each other's jump hosts would be followed without end"""


class SshConnection:
    """The connection of this process and event loop to ``settings``' host."""

    def __init__(
        self, settings: SshSettings, deployment: str = "", *, behind: int = 0, attendant: Attendant | None = None
    ) -> None:
        """
        :param deployment: that it is counted for in metrics.
        :param behind: how many connections go through this one, each through the next.
        :param attendant: a person who answers questions. Then it is opened only once.
        """
        self._attendant = attendant
        self.settings = settings
        self._deployment = deployment
        self._behind = behind
        self._reset()

    def _reset(self) -> None:
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._jump: SshConnection | None = None
        self._login: Login | None = None
        self._refusals = Refusals()
        self._session: Session | None = None
        self._certificates: Sequence[Certificate] = ()
        self._open = 0
        self._limit = self.settings.max_sessions
        self._changed = asyncio.Condition()

    @property
    def name(self) -> str:
        return (self._login.settings if self._login else self.settings).name

    @property
    def certificate_is_over(self) -> bool:
        """Whether a certificate has ended since the connection was opened: another one could not be opened now."""
        ended = any(certificate.has_ended for certificate in self._certificates)
        return ended or (self._jump is not None and self._jump.certificate_is_over)

    @property
    def login(self) -> Login | None:
        """None before the first connection."""
        return self._login

    def opened_here(self) -> list[SshConnection]:
        """The connection and those of its jump hosts, except for those through a session that is already kept."""
        if self._session is not None:
            return []
        return [self, *(self._jump.opened_here() if self._jump is not None else ())]

    def logins(self) -> list[Login] | None:
        """The login and those of the hosts on the way, nearest first.

        None before the first connection, and where a person has to log in.
        """
        if self._login is None or self._login.settings.interactive or self._session is not None:
            return None
        if self._jump is None:
            return [self._login]
        jump_logins = self._jump.logins()
        return [self._login, *jump_logins] if jump_logins else None

    # --- connecting ------------------------------------------------------------------------------------------------

    async def connected(self) -> asyncssh.SSHClientConnection:
        """The open connection; concurrent callers share one attempt.

        :raises HostUnreachableError, HostKeyError, AuthenticationError, ConfigError: it cannot be opened.
        """
        here = (os.getpid(), asyncio.get_running_loop())
        if self._owner != here:  # another event loop, or a fork: what there was is not ours to use
            self._reset()
            self._owner = here
        problem = await self._refusals.standing(self._read_login)
        if problem is not None:
            raise copy.copy(problem)
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._connecting is None:
            self._connecting = here[1].create_task(self._connect())
            self._connecting.add_done_callback(self._settle)
        return await asyncio.shield(self._connecting)

    async def host_key(self) -> str:
        """Type and fingerprint of the host's key, which is trusted: ``ssh-ed25519 SHA256:...``."""
        key = (await self.connected()).get_server_host_key()
        if self._session is not None:
            return self._session.host_key
        return f"{key.get_algorithm()} {key.get_fingerprint()}" if key is not None else "unknown"

    def _settle(self, task: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
        self._connecting = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._connection, self._limit = task.result(), self.settings.max_sessions
            self._refusals.succeeded()
        elif isinstance(error, (SiteError, ConfigError)):
            self._refusals.failed(error)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        if self._attendant is not None and self._refusals.worked:
            raise HostUnreachableError(f"the connection to {self.name} has ended")
        self._refusals.begin()
        self._login = login = await self._read_login()
        credentials, self._certificates = Credentials.of(login), ()
        kept = await self._kept(login)
        if kept is not None:
            return kept
        self._check_person(credentials)
        self._certificates = await asyncio.to_thread(certificates_of, login)
        for certificate in self._certificates:
            if certificate.is_over:
                self._refusals.note(credentials)
                raise useless(certificate, self._attempt())
        return await self._connect_new(login, credentials)

    async def _connect_new(self, login: Login, credentials: Credentials) -> asyncssh.SSHClientConnection:
        deadline = time.monotonic() + login.connect_timeout_s
        backoff = Backoff(0.5, math.inf, spread=0.5)
        while True:
            client = Client(login, self._deployment, self._attendant)
            try:
                return await self._connect_once(login, client)
            except (asyncssh.ConnectionLost, ConnectionResetError) as error:
                # sshd drops connections at random when many log in at once (MaxStartups)
                if time.monotonic() + backoff.next_s > deadline:
                    raise self._explained(error) from None
                await backoff.pause()
            except asyncssh.PermissionDenied as error:
                self._refusals.note(credentials)
                if client.needs_person:
                    self._refusals.note_question(credentials, client.asked)
                    self._check_person(credentials)
                raise self._explained(error) from None
            except (OSError, asyncssh.Error, asyncio.TimeoutError, ValueError) as error:
                raise self._explained(error) from None

    async def _read_login(self) -> Login:
        if self._attendant is not None:
            return await self._attendant.read(self.settings)
        return await read_login(self.settings)

    async def _kept(self, login: Login) -> asyncssh.SSHClientConnection | None:
        """A connection through the session that a person has opened on this machine, if there is one."""
        try:
            kept = await sessions.attached(login, lambda: Client(login, self._deployment))
        except (OSError, asyncssh.Error, asyncio.TimeoutError) as error:
            raise HostUnreachableError(
                f"the process that keeps the login to {self.name} does not answer: {error}"
            ) from None
        self._session = None if kept is None else sessions.read(sessions.name_of(login))
        return kept

    def _check_person(self, credentials: Credentials) -> None:
        """:raises LoginRefusedError: only a person can log in; another attempt might get the account locked."""
        if self._attendant is not None:
            return
        asks = self._refusals.wants_person(credentials)
        if asks or credentials.login.settings.interactive:
            self._refusals.note(credentials)
            last = sessions.read(sessions.name_of(credentials.login))
            raise needs_person(self._attempt(), self._deployment, last, self._refusals.question if asks else "")

    async def _connect_once(self, login: Login, client: Client) -> asyncssh.SSHClientConnection:
        options = connect_options(login)
        if self._attendant is not None:
            options["login_timeout"] = PERSON_S
        resolved = await asyncssh.SSHClientConnectionOptions.construct(**options)
        configured = cast(Sequence[str], resolved.config.get("CertificateFile", ()))
        self._certificates = await asyncio.to_thread(certificates_of, login, configured)
        trusted: Any
        if login.settings.host_key:
            trusted = ([parse_host_key(login.settings.host_key)], [], [])
        else:
            trusted = known_hosts_files(login.settings, resolved.known_hosts) or b""
        tunnel = await self._tunnel(login, resolved)
        if self.settings.address:
            options["sock"] = await connected_socket(self.settings.address, resolved.port, login.connect_timeout_s)
        return await asyncssh.connect(**options, known_hosts=trusted, tunnel=tunnel, client_factory=lambda: client)

    async def addresses(self) -> list[str]:
        """See :func:`.login.addresses_of`."""
        return await addresses_of(await self._read_login())

    async def _tunnel(
        self, login: Login, resolved: asyncssh.SSHClientConnectionOptions
    ) -> asyncssh.SSHClientConnection | None:
        """The connection to the jump host, if there is one."""
        hop = login.settings.tunnel
        if hop is None and isinstance(resolved.tunnel, str) and resolved.tunnel not in ("", "none"):
            hop = jump_hosts(resolved.tunnel, login.settings)
        if hop is None:
            return None
        if self._jump is None or self._jump.settings != hop:
            if self._behind == MOST_JUMPS:
                raise ConfigError(
                    f"the connection to {hop.name} goes through more than {MOST_JUMPS} jump hosts",
                    hint="is there a circle? See `tunnel` in the hybrid file, and ProxyJump in the OpenSSH config",
                )
            self._jump = SshConnection(hop, self._deployment, behind=self._behind + 1, attendant=self._attendant)
        return await self._jump.connected()

    async def presented_key(self) -> PresentedKey | None:
        """The key that a host shows which is not trusted: this one, or a jump host on the way to it.

        Nothing is sent there but what SSH needs to see the key: no user name, no secret.

        :return: None: no key was seen.
        :raises SiteError, ConfigError: as for :meth:`connected`, except for a key that is not trusted.
        """
        login = await read_login(self.settings)
        resolved = await asyncssh.SSHClientConnectionOptions.construct(**connect_options(login))
        try:
            tunnel = await self._tunnel(login, resolved)
        except HostKeyError:
            return None if self._jump is None else await self._jump.presented_key()
        try:
            key = await asyncssh.get_server_host_key(
                resolved.host, resolved.port, options=resolved, tunnel=tunnel, config=None
            )
        except (OSError, asyncssh.Error, asyncio.TimeoutError, ValueError) as error:
            raise self._explained(error) from None
        return None if key is None else presented(self.settings, login, resolved, key)

    def _explained(self, error: BaseException) -> SiteError:
        return explained(error, self._attempt())

    def _attempt(self) -> Attempt:
        timeout_s = self._login.connect_timeout_s if self._login else 0
        files = () if self._login is None else sessions.files_of(self._login)
        refusal = Refusal(self._refusals.since, self.settings.login_wait_s, self.connected, files)
        return Attempt(self.name, self.settings.conn_id, timeout_s, refusal, self._refusals.worked, self._certificates)

    # --- sessions ----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def process(self, command: str) -> AsyncIterator[asyncssh.SSHClientProcess[bytes]]:
        """Run a command line with byte streams; a command that is still running at the end is killed.

        :raises HostUnreachableError: also if the connection was lost while the host was asked to run it: then it is
            unknown whether it ran.
        """
        await self._acquire()
        process: asyncssh.SSHClientProcess[bytes] | None = None
        try:
            process = await self._start(command)
            yield process
        finally:
            if process is not None:
                await ended(process)
            await self._release()

    async def _acquire(self) -> None:
        await self.connected()
        async with self._changed:
            try:
                await self._changed.wait_for(lambda: self._open < self._limit)
            except asyncio.CancelledError:
                self._changed.notify()  # it may have been woken already: the next one takes its turn
                raise
            self._open += 1
            metrics.change(table.SSH_SESSIONS, 1, deployment=self._deployment)

    async def _release(self) -> None:
        self._open -= 1
        metrics.change(table.SSH_SESSIONS, -1, deployment=self._deployment)
        async with self._changed:
            self._changed.notify()

    async def _start(self, command: str) -> asyncssh.SSHClientProcess[bytes]:
        deadline = time.monotonic() + SESSION_WAIT_S
        backoff, renewed = Backoff(0.05, 2.0, spread=0.5), False
        while True:
            connection = await self.connected()
            try:
                return await started(connection, command)
            except asyncssh.ChannelOpenError as error:
                if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
                    raise self._lost(connection, error) from None
                if connection.is_closed() or "connection closed" in str(error):
                    # the connection was lost before the host was asked to run anything: a second attempt is safe
                    if renewed:
                        raise self._explained(error) from None
                    renewed = True
                    connection.abort()
                    continue
                # MaxSessions is lower than expected (or sshd has not noticed the end of a session yet)
                if time.monotonic() > deadline:
                    raise HostUnreachableError(
                        f"{self.name} opens no session: {error}", hint="check MaxSessions in its sshd_config"
                    ) from None
                if self._open > 1 and self._limit <= self._open:
                    self._limit = self._open - 1
                await backoff.pause()
            except LOST as error:
                raise self._lost(connection, error) from None

    def _lost(self, connection: asyncssh.SSHClientConnection, error: BaseException) -> SiteError:
        if connection.is_closed():
            return self.lost_while_running()
        return HostUnreachableError(f"{self.name} does not run commands: {error}")

    def lost_while_running(self) -> HostUnreachableError:
        """The error of a command whose end was not seen."""
        return HostUnreachableError(
            f"the connection to {self.name} was lost while a command was running; its result is unknown"
        )

    async def close(self) -> None:
        """Close the connection and those of its jump hosts. It opens again when it is used, whatever failed before."""
        if self._owner != (os.getpid(), asyncio.get_running_loop()):
            return
        self._refusals.forget()
        if self._connecting is not None:
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            with contextlib.suppress(asyncio.TimeoutError, *LOST):
                await asyncio.wait_for(connection.wait_closed(), 5)
        if self._jump is not None:
            await self._jump.close()
