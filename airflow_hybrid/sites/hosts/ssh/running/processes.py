# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The start and the end of a command at a host: it does not go on there when nobody waits for it here."""

from __future__ import annotations

import asyncio
import contextlib

import asyncssh

LOST = (OSError, asyncssh.Error, asyncssh.ChannelListenError)
"""errors of a connection that was lost"""


async def started(connection: asyncssh.SSHClientConnection, command: str) -> asyncssh.SSHClientProcess[bytes]:
    """Start a command. If this is cancelled when the host may have begun already, the command is killed."""
    starting = asyncio.ensure_future(connection.create_process(command, encoding=None))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_kill_unwanted)
        raise


def _kill_unwanted(starting: asyncio.Future[asyncssh.SSHClientProcess[bytes]]) -> None:
    if starting.cancelled() or starting.exception() is not None:
        return
    process = starting.result()
    with contextlib.suppress(*LOST):
        process.kill()
    process.close()


async def ended(process: asyncssh.SSHClientProcess[bytes]) -> None:
    """Make sure that the session has ended on both sides; sshd signals the whole process group of the command."""
    if process.exit_status is None and process.exit_signal is None:
        with contextlib.suppress(*LOST):
            process.kill()
    process.close()
    with contextlib.suppress(asyncio.TimeoutError, *LOST):
        await asyncio.wait_for(process.wait_closed(), 5)
