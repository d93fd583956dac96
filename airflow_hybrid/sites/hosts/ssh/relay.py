# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""An SSH server on a Unix socket, which hands on commands and tunnels to a connection that is kept open."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any

import asyncssh

from airflow_hybrid.errors import HybridError
from airflow_hybrid.sites.hosts.ssh.connection import SshConnection
from airflow_hybrid.sites.hosts.ssh.sessions import peer_of

_CHUNK_BYTES = 1 << 18
_GONE = (BrokenPipeError, ConnectionResetError, asyncssh.Error)


class Relay(asyncssh.SSHServer):
    """One client of the socket: a process of the same user on this machine."""

    def __init__(self, opened: asyncssh.SSHClientConnection, clients: set[asyncssh.SSHServerConnection]) -> None:
        self._opened = opened
        self._clients = clients
        self._client: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        if peer_of(conn.get_extra_info("socket")).uid != os.geteuid():
            conn.abort()
            return
        self._client = conn
        self._clients.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._client is not None:
            self._clients.discard(self._client)

    def begin_auth(self, username: str) -> bool:
        return False

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> asyncssh.SSHClientConnection:
        """The host is a jump host for somebody."""
        return self._opened


async def serve(sock: Any, connection: SshConnection, opened: asyncssh.SSHClientConnection) -> Callable[[], None]:
    """Serve a socket with the sessions of a connection.

    :param opened: what ``connection`` has opened, and does not open again.
    :return: ends it, for all clients.
    """
    clients: set[asyncssh.SSHServerConnection] = set()

    async def hand_on(here: asyncssh.SSHServerProcess[bytes]) -> None:
        await _hand_on(here, connection)

    def end() -> None:
        server.close()
        for client in list(clients):
            client.close()

    server = await asyncssh.listen(
        sock=sock, config=None, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")], encoding=None,
        server_factory=lambda: Relay(opened, clients), process_factory=hand_on, agent_forwarding=False,
        x11_forwarding=False, encryption_algs=["aes128-gcm@openssh.com"], keepalive_interval=15,
    )  # fmt: skip
    return end


async def _hand_on(here: asyncssh.SSHServerProcess[bytes], connection: SshConnection) -> None:
    """Run a client's command at the host; what ends on one side ends on the other."""
    work = asyncio.ensure_future(_run_there(here, connection))
    gone = asyncio.ensure_future(here.channel.wait_closed())
    await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
    for task in (work, gone):
        task.cancel()
    await asyncio.gather(work, gone, return_exceptions=True)
    # without an exit status, the client knows that the end of its command was not seen
    here.close()


async def _run_there(here: asyncssh.SSHServerProcess[bytes], connection: SshConnection) -> None:
    with contextlib.suppress(HybridError, *_GONE):
        async with connection.process(here.command or "") as there:
            feeding = asyncio.ensure_future(_feed(here, there))
            try:
                await asyncio.gather(_copy(there.stdout, here.stdout), _copy(there.stderr, here.stderr))
                await there.wait_closed()
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
            if there.exit_signal is not None:
                name, core, message, language = there.exit_signal
                here.exit_with_signal(name, core, message, language)
            elif there.exit_status is not None and there.exit_status >= 0:
                here.exit(there.exit_status)


async def _feed(here: asyncssh.SSHServerProcess[bytes], there: asyncssh.SSHClientProcess[bytes]) -> None:
    with contextlib.suppress(*_GONE):
        while True:
            try:
                chunk = await here.stdin.read(_CHUNK_BYTES)
            except asyncssh.SignalReceived as received:
                there.send_signal(received.signal)
                continue
            if not chunk:
                there.stdin.write_eof()
                return
            there.stdin.write(chunk)
            await there.stdin.drain()


async def _copy(source: asyncssh.SSHReader[bytes], to: asyncssh.SSHWriter[bytes]) -> None:
    while chunk := await source.read(_CHUNK_BYTES):
        to.write(chunk)
        await to.drain()
