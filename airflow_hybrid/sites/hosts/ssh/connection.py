# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One SSH connection to one host: opened when needed, shared, bounded, reopened when lost.

No command that may have run is repeated: it is tried again on a new connection only if the host had not been asked to
run it.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
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
    LoginRefusedError,
    Refusal,
    SiteError,
)
from airflow_hybrid.metrics import table
from airflow_hybrid.sites.hosts.backoff import Backoff
from airflow_hybrid.sites.hosts.ssh.certificates import Certificate, certificates_of
from airflow_hybrid.sites.hosts.ssh.host_keys import PresentedKey, presented
from airflow_hybrid.sites.hosts.ssh.login import (
    Login,
    connect_options,
    credentials_on_disk,
    known_hosts_files,
    parse_host_key,
    read_login,
)
from airflow_hybrid.sites.hosts.ssh.problems import Attempt, explained, useless
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings, jump_hosts

if logging.getLogger("asyncssh").level == logging.NOTSET:
    # at INFO it logs every command line (and so every script) to the task's log
    logging.getLogger("asyncssh").setLevel(logging.WARNING)

REFUSED_FOR_S = 300.0
"""the pause after a refused login, so that many tasks do not get this machine banned (fail2ban: 5 in 10 minutes)"""
UNUSABLE_FOR_S = 30.0
"""how long another problem with a login is remembered"""
LOOK_S = 15.0
"""how often credentials are compared with those that were refused"""
SESSION_WAIT_S = 60.0
"""how long to keep asking for a session that sshd refuses (MaxSessions)"""
MOST_JUMPS = 8
"""between this machine and a host; hosts that are each other's jump hosts would be followed without end"""
_LOST = (OSError, asyncssh.Error, asyncssh.ChannelListenError)


class _Counted(asyncssh.SSHClient):
    """A connection that is counted while it is open."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        metrics.change(table.SSH_CONNECTIONS, 1, deployment=self._deployment)

    def connection_lost(self, exc: Exception | None) -> None:
        metrics.change(table.SSH_CONNECTIONS, -1, deployment=self._deployment)


class SshConnection:
    """The connection of this process and event loop to ``settings``' host."""

    def __init__(self, settings: SshSettings, deployment: str = "", *, behind: int = 0) -> None:
        """
        :param deployment: that it is counted for in metrics.
        :param behind: how many connections go through this one, each through the next.
        """
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
        self._failure: tuple[SiteError | ConfigError, float] | None = None
        self._refused: tuple[Login, object] | None = None
        self._certificates: Sequence[Certificate] = ()
        self._refused_since = 0.0
        self._worked = False
        self._look_at = 0.0
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

    def logins(self) -> list[Login] | None:
        """The login and those of the hosts on the way, nearest first; None before the first connection."""
        if self._login is None:
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
        problem = await self._problem()
        if problem is not None:
            raise copy.copy(problem)
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._connecting is None:
            self._connecting = here[1].create_task(self._connect())
            self._connecting.add_done_callback(self._settle)
        return await asyncio.shield(self._connecting)

    async def _problem(self) -> SiteError | ConfigError | None:
        """The last failure, unless the pause after it is over, or the refused login now has other credentials."""
        if self._failure is None or time.monotonic() >= self._failure[1]:
            return None
        failure, refused = self._failure, self._refused
        if refused is None or time.monotonic() < self._look_at:
            return failure[0]
        self._look_at = time.monotonic() + LOOK_S
        try:
            login = await read_login(self.settings)
        except (SiteError, ConfigError):
            return failure[0]  # the refusal is the error to be told
        if (login, credentials_on_disk(login)) == refused:
            return failure[0]
        if self._failure is failure:
            self._failure = None
        return None

    async def host_key(self) -> str:
        """Type and fingerprint of the host's key, which is trusted: ``ssh-ed25519 SHA256:...``."""
        key = (await self.connected()).get_server_host_key()
        return f"{key.get_algorithm()} {key.get_fingerprint()}" if key is not None else "unknown"

    def _settle(self, task: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
        self._connecting = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._connection, self._failure, self._limit = task.result(), None, self.settings.max_sessions
            self._refused, self._refused_since, self._worked = None, 0.0, True
        elif isinstance(error, (SiteError, ConfigError)):
            self._failure = (error, time.monotonic() + self._pause_s(error))

    def _pause_s(self, error: SiteError | ConfigError) -> float:
        """How long no other attempt is made after an error."""
        if error.retryable:
            return 1.0
        if not isinstance(error, LoginRefusedError):
            return UNUSABLE_FOR_S
        # a jump host that refuses a login has a pause of its own
        return 1.0 if self._refused is None else REFUSED_FOR_S

    async def _connect(self) -> asyncssh.SSHClientConnection:
        self._login = login = await read_login(self.settings)
        self._refused, on_disk = None, credentials_on_disk(login)
        self._certificates = await asyncio.to_thread(certificates_of, login)
        for certificate in self._certificates:
            if certificate.is_over:
                self._note_refusal(login, on_disk)
                raise useless(certificate, self._attempt())
        deadline = time.monotonic() + login.connect_timeout_s
        backoff = Backoff(0.5, math.inf, spread=0.5)
        while True:
            try:
                return await self._connect_once(login)
            except (asyncssh.ConnectionLost, ConnectionResetError) as error:
                # sshd drops connections at random when many log in at once (MaxStartups)
                if time.monotonic() + backoff.next_s > deadline:
                    raise self._explained(error) from None
                await backoff.pause()
            except asyncssh.PermissionDenied as error:
                self._note_refusal(login, on_disk)
                raise self._explained(error) from None
            except (OSError, asyncssh.Error, asyncio.TimeoutError, ValueError) as error:
                raise self._explained(error) from None

    def _note_refusal(self, login: Login, on_disk: object) -> None:
        self._refused, self._refused_since = (login, on_disk), self._refused_since or time.time()

    async def _connect_once(self, login: Login) -> asyncssh.SSHClientConnection:
        options = connect_options(login)
        resolved = await asyncssh.SSHClientConnectionOptions.construct(**options)
        configured = cast(Sequence[str], resolved.config.get("CertificateFile", ()))
        self._certificates = await asyncio.to_thread(certificates_of, login, configured)
        trusted: Any
        if login.settings.host_key:
            trusted = ([parse_host_key(login.settings.host_key)], [], [])
        else:
            trusted = known_hosts_files(login.settings, resolved.known_hosts) or b""
        tunnel = await self._tunnel(login, resolved)
        counted = functools.partial(_Counted, self._deployment)
        return await asyncssh.connect(**options, known_hosts=trusted, tunnel=tunnel, client_factory=counted)

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
            self._jump = SshConnection(hop, self._deployment, behind=self._behind + 1)
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
        refusal = Refusal(self._refused_since, self.settings.login_wait_s, self.connected)
        return Attempt(self.name, self.settings.conn_id, timeout_s, refusal, self._worked, self._certificates)

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
                await _ended(process)
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
                return await connection.create_process(command, encoding=None)
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
            except _LOST as error:
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
        self._failure = self._refused = None
        if self._connecting is not None:
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            with contextlib.suppress(asyncio.TimeoutError, *_LOST):
                await asyncio.wait_for(connection.wait_closed(), 5)
        if self._jump is not None:
            await self._jump.close()


async def _ended(process: asyncssh.SSHClientProcess[bytes]) -> None:
    """Make sure that the session has ended on both sides; sshd signals the whole process group of the command."""
    if process.exit_status is None and process.exit_signal is None:
        with contextlib.suppress(*_LOST):
            process.kill()
    process.close()
    with contextlib.suppress(asyncio.TimeoutError, *_LOST):
        await asyncio.wait_for(process.wait_closed(), 5)
