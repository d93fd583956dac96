# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A host that is reached by SSH, as a location. It needs nothing but sshd and a POSIX shell."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import tempfile
import weakref
from collections.abc import AsyncIterator, Sequence

import asyncssh

from airflow_hybrid import settings as airflow_settings
from airflow_hybrid.errors import CommandEnd, CommandError, HostUnreachableError, SiteError
from airflow_hybrid.printable import readable
from airflow_hybrid.removal.here import NotRemovedError, make_folder, remove_folder
from airflow_hybrid.sites.hosts.base import (
    CHUNK_BYTES,
    ByteStream,
    Command,
    CommandResult,
    Host,
    Stdin,
    first_line,
    read_all,
    read_end,
)
from airflow_hybrid.sites.hosts.ssh.connection import SshConnection
from airflow_hybrid.sites.hosts.ssh.host_keys import PresentedKey
from airflow_hybrid.sites.hosts.ssh.login import Login
from airflow_hybrid.sites.hosts.ssh.openssh import openssh_argv
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings
from airflow_hybrid.sites.hosts.ssh.shell import after_marker, piped, remote_command
from airflow_hybrid.sites.patience.pace import turn

log = logging.getLogger(__name__)

_NOISE_LIMIT_BYTES = 1 << 20
_GONE = (BrokenPipeError, ConnectionResetError, asyncssh.Error)


class SshHost(Host):
    """Commands go through asyncssh over one connection; bulk data through OpenSSH, if that can log in on its own.

    It is used by one event loop at a time; connections are opened when needed, separately in each loop and process.
    """

    joins = True
    is_login = True

    def __init__(
        self, deployment: str, location: str, settings: SshSettings, cores: int | None = None, prelude: str = ""
    ) -> None:
        self.deployment = deployment
        self.location = location
        self.settings = settings
        self.cores = cores
        self.prelude = prelude
        self._connection = SshConnection(settings, deployment)
        self._openssh: tuple[list[Login], list[str] | None] | None = None
        self._private = ""
        # two people may use one host under the same name, each with a Connection of their own
        self._key = f"{self.title} {settings!r}"

    @property
    def key(self) -> str:
        return self._key

    @property
    def title(self) -> str:
        name = self._connection.name
        return f"{self.deployment} ({name})"

    @property
    def public_address(self) -> str | None:
        return self.settings.name if self.settings.host else None

    @property
    def address(self) -> str:
        return self.settings.host or self.location

    @property
    def account(self) -> str:
        return self._connection.name

    async def _wait_for_turn(self) -> None:
        limit = airflow_settings.current().ssh_commands_per_minute
        if limit:
            await self._connection.connected()  # its name is known then
            await turn(f"commands at {self.account}", limit, "ssh_commands_per_minute")

    async def _run(self, command: Command) -> CommandResult:
        try:
            return await self._converse(command)
        except SiteError as error:
            error.where = error.where or f"{self.title}: {command.label}"
            raise

    async def _converse(self, command: Command) -> CommandResult:
        where = f"{self.title}: {command.label}"
        line, preamble = remote_command(self.prelude + command.text)
        async with self._connection.process(line) as process:
            try:
                stdout, stderr, _ = await asyncio.gather(
                    read_all(process.stdout.read, where),
                    read_all(process.stderr.read, where),
                    _feed(process, preamble, command.stdin),
                )
                await process.wait_closed()
            except asyncssh.Error:
                raise self._connection.lost_while_running() from None
            code = self._exit_code(process)
        output = after_marker(stdout)
        if output is None:
            raise self._no_shell(command.label, code, stdout, stderr)
        errors = after_marker(stderr)
        return CommandResult(self.title, command.label, code, output, stderr if errors is None else errors)

    def _exit_code(self, process: asyncssh.SSHClientProcess[bytes]) -> int:
        if process.exit_status is not None and process.exit_status >= 0:
            return process.exit_status
        if process.exit_signal is not None:
            return 128 + _signal_number(process.exit_signal[0])
        raise self._connection.lost_while_running()

    def _no_shell(self, shown: str, code: int, stdout: bytes, stderr: bytes) -> CommandError:
        output = readable(stdout[-1000:] + b"\n" + stderr[-1000:])
        return CommandError(
            "the login shell did not run /bin/sh; it printed:",
            CommandEnd(self.title, shown, code, output),
            hint="is the account allowed to run commands (login shell, ForceCommand, start-up files)?",
        )

    @contextlib.asynccontextmanager
    async def stream(self, command: str, *, label: str | None = None) -> AsyncIterator[ByteStream]:
        shown = label or first_line(command)
        await self.take_turn()
        line, preamble = remote_command(self.prelude + command)
        async with self._connection.process(line) as process:
            stream = _SshStream(self, process, shown)
            try:
                if preamble:
                    await stream.write(preamble)
                yield stream
            finally:
                await stream.release()

    async def host_key(self) -> str:
        """Type and fingerprint of the host's key; see :meth:`SshConnection.host_key`."""
        return await self._connection.host_key()

    async def two_addresses(self) -> tuple[str, str]:
        """Two addresses of its name, of one family; ``""``, where it has only one, and for what a jump host resolves.

        :raises HostUnreachableError: the name is unknown.
        """
        try:
            found = await self._connection.addresses()
        except OSError as error:
            raise HostUnreachableError(f"{self.title}: {error}") from error
        alike = [address for address in found if (":" in address) == (":" in found[0])]
        return (alike[0], alike[1]) if len(alike) > 1 else ("", "")

    async def presented_key(self) -> PresentedKey | None:
        """The key that is not trusted, of this host or one on the way; see :meth:`SshConnection.presented_key`."""
        return await self._connection.presented_key()

    def pipe_argv(self, command: str) -> Sequence[str] | None:
        """Like :meth:`Host.pipe_argv`; None before the first command, and if OpenSSH cannot log in on its own.

        Also None when a certificate has ended, and for text of more than 60 KB, which does not fit into an argument.
        """
        logins = self._connection.logins()
        if logins is None or self._connection.certificate_is_over:
            return None
        if self._openssh is None or self._openssh[0] != logins:
            # a folder per login: an ssh that is just starting may still read the files of the previous one
            self._private = str(make_folder(tempfile.gettempdir(), "airflow-hybrid-ssh-"))
            weakref.finalize(self, _remove, self._private, os.getpid())
            self._openssh = (logins, openssh_argv(logins, self._private))
        ssh = self._openssh[1]
        text = piped(ssh, self.prelude + command) if ssh else None
        return ["/bin/sh", "-c", text] if text else None

    async def close(self) -> None:
        await self._connection.close()


class _SshStream:
    def __init__(self, host: SshHost, process: asyncssh.SSHClientProcess[bytes], shown: str) -> None:
        self._host, self._process, self._shown = host, process, shown
        self._stderr = asyncio.ensure_future(read_end(process.stderr.read))
        self._ahead: bytes | None = None
        """what was read after the marker; None until the marker arrives"""

    async def read(self, size: int = CHUNK_BYTES) -> bytes:
        try:
            if self._ahead is None:
                await self._skip_noise()
            if self._ahead:
                chunk, self._ahead = self._ahead[:size], self._ahead[size:]
                return chunk
            return await self._process.stdout.read(size)
        except asyncssh.Error:
            raise self._host._connection.lost_while_running() from None

    async def _skip_noise(self) -> None:
        received = b""
        while self._ahead is None:
            chunk = await self._process.stdout.read(CHUNK_BYTES)
            received += chunk
            self._ahead = after_marker(received)
            if self._ahead is None and (not chunk or len(received) > _NOISE_LIMIT_BYTES):
                if not chunk and self._process.exit_status is None:
                    raise self._host._connection.lost_while_running()
                raise self._host._no_shell(self._shown, self._process.exit_status or 0, received, b"")

    async def write(self, data: bytes) -> None:
        """:raises BrokenPipeError: the command no longer reads; :meth:`close` says why."""
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except asyncssh.Error as error:
            raise BrokenPipeError(str(error)) from None

    async def close(self) -> CommandResult:
        with contextlib.suppress(*_GONE):
            self._process.stdin.write_eof()
        try:
            while self._ahead is None or await self.read():
                if self._ahead is None:
                    await self._skip_noise()
            stderr = await self._stderr
            await self._process.wait_closed()
        except asyncssh.Error:
            raise self._host._connection.lost_while_running() from None
        code = self._host._exit_code(self._process)
        errors = after_marker(stderr)
        return CommandResult(self._host.title, self._shown, code, b"", stderr if errors is None else errors)

    async def release(self) -> None:
        self._stderr.cancel()
        await asyncio.gather(self._stderr, return_exceptions=True)


async def _feed(process: asyncssh.SSHClientProcess[bytes], preamble: bytes, stdin: Stdin) -> None:
    """Write stdin; it is no error if the command does not read all of it: its exit code says why."""
    try:
        if preamble or isinstance(stdin, bytes):
            process.stdin.write(preamble + (stdin if isinstance(stdin, bytes) else b""))
            await process.stdin.drain()
        if stdin is not None and not isinstance(stdin, bytes):
            async for chunk in stdin:
                process.stdin.write(chunk)
                await process.stdin.drain()
        process.stdin.write_eof()
    except _GONE:
        pass


def _remove(folder: str, owner: int) -> None:
    """Remove the private folder, but not from a fork of the process that made it."""
    if os.getpid() == owner:
        try:
            remove_folder(folder)
        except NotRemovedError as error:
            log.warning("%s", error)


def _signal_number(name: str) -> int:
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        return 0
