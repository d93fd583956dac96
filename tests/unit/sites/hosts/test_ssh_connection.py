# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Who gets a session of a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_hybrid.sites.hosts.ssh.connection import SshConnection
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings


@pytest.mark.parametrize("ticks", range(5))
async def test_who_gives_up_waiting_for_a_session_leaves_it_to_the_next(
    monkeypatch: pytest.MonkeyPatch, ticks: int
) -> None:
    async def connected(self: SshConnection) -> Any:
        return None

    monkeypatch.setattr(SshConnection, "connected", connected)
    connection = SshConnection(SshSettings(host="site", max_sessions=1))
    await connection._acquire()
    first, second = (asyncio.ensure_future(connection._acquire()) for _ in range(2))
    await asyncio.sleep(0.01)
    await connection._release()
    for _ in range(ticks):
        await asyncio.sleep(0)
    if not first.cancel():
        await connection._release()
    await asyncio.wait_for(second, 120)
