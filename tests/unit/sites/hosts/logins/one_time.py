# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A site where a password and a one-time code are needed: each code is accepted once."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from airflow_hybrid.cli import logins as commands
from airflow_hybrid.sites import logins
from airflow_hybrid.sites.hosts.ssh import refusals
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings


@dataclass
class OneTimeSite:
    """A real SSH server, in a thread of its own.

    :ivar key: of the account; None: a password and a code are needed.
    :ivar codes: that are accepted, each once; ``tried``: all answers that were given.
    :ivar logins: connections that have been made; ``prompt``: for the code.
    """

    codes: set[str]
    key: asyncssh.SSHKey | None = None
    prompt: str = "Verification code: "
    tried: list[list[str]] = field(default_factory=list)
    logins: int = 0
    port: int = 0
    host_key: str = ""
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None

    def call(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await work()

        assert self.loop is not None, "it does not serve"
        asyncio.run_coroutine_threadsafe(run(), self.loop).result(120)

    def end_connections(self) -> None:
        async def end() -> None:
            for connection in self.connections:
                connection.abort()

        self.call(end)


class _Account(asyncssh.SSHServer):
    def __init__(self, site: OneTimeSite) -> None:
        self._site = site

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._site.logins += 1
        self._site.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return self._site.key is not None

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._site.key is not None and key.public_data == self._site.key.public_data

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return self._site.key is None

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        return "", "Two things\x1b[2J are needed", "", [("Password: ", False), (self._site.prompt, True)]

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        site = self._site
        site.tried.append(list(responses))
        if len(responses) != 2 or responses[0] != "secret" or responses[1] not in site.codes:
            return False
        site.codes.discard(responses[1])
        return True

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


async def _run(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """A command as sshd runs it: its process group is killed when its session ends."""
    shell = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", process.command or "", stdin=-1, stdout=-1, stderr=-1, start_new_session=True
    )
    assert shell.stdin is not None and shell.stdout is not None and shell.stderr is not None
    feeding = asyncio.ensure_future(_feed(process, shell.stdin))
    copies = (_copy(shell.stdout, process.stdout), _copy(shell.stderr, process.stderr))
    work = asyncio.ensure_future(asyncio.gather(*copies, shell.wait()))
    gone = asyncio.ensure_future(process.channel.wait_closed())
    await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        os.killpg(shell.pid, signal.SIGKILL)
    gone.cancel()
    feeding.cancel()
    await asyncio.gather(work, gone, feeding, return_exceptions=True)
    code = await shell.wait()
    if code < 0:
        process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
    else:
        process.exit(code)


async def _feed(process: asyncssh.SSHServerProcess[bytes], stdin: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncssh.Error, asyncssh.SignalReceived):
        while chunk := await process.stdin.read(1 << 16):
            stdin.write(chunk)
            await stdin.drain()
    stdin.close()


async def _copy(source: asyncio.StreamReader, to: asyncssh.SSHWriter[bytes]) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while chunk := await source.read(1 << 16):
            to.write(chunk)
            await to.drain()


@contextmanager
def serving(site: OneTimeSite) -> Iterator[OneTimeSite]:
    """The site while it serves."""
    site.loop = loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    key = asyncssh.generate_private_key("ssh-ed25519")
    site.host_key = key.export_public_key().decode().strip()
    servers: list[asyncssh.SSHAcceptor] = []

    async def begin() -> None:
        servers.append(
            await asyncssh.create_server(
                lambda: _Account(site), "127.0.0.1", 0, server_host_keys=[key], process_factory=_run, encoding=None
            )
        )
        site.port = servers[0].get_port()

    async def end() -> None:
        servers[0].close()
        for connection in list(site.connections):
            connection.abort()
        await servers[0].wait_closed()
        await asyncio.gather(*(connection.wait_closed() for connection in site.connections))

    site.call(begin)
    try:
        yield site
    finally:
        site.call(end)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Person:
    """Answers what is asked on the terminal. ``asked``: what was shown."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[str] = []
        self.asked: list[str] = []
        monkeypatch.setattr("builtins.input", self.ask)
        monkeypatch.setattr("getpass.getpass", self.ask)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    def ask(self, prompt: str) -> str:
        self.asked.append(prompt)
        return self.answers.pop(0)


@dataclasses.dataclass
class Bed:
    """The site, a hybrid file with it as ``cluster``, and its settings."""

    site: OneTimeSite
    file: Path
    person: Person
    settings: SshSettings

    @property
    def name(self) -> str:
        return f"anna@127.0.0.1:{self.site.port}"

    def host(self, **changes: Any) -> SshHost:
        return SshHost("cluster", "node", dataclasses.replace(self.settings, **changes))

    async def log_in(self, *answers: str, site: str = "cluster") -> None:
        self.person.answers = list(answers)
        await asyncio.to_thread(commands.log_in, site, [str(self.file)], None)


@contextmanager
def own_folders(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[None]:
    """A home and a folder of logins for a test; what waits asks at once."""
    folder = tempfile.mkdtemp(prefix="ahl", dir="/tmp")  # the path of a socket must be short
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__LOGIN_DIR", folder)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(refusals, "LOOK_S", 0.05)
    monkeypatch.setattr(logins, "AGAIN_S", 0.05)
    yield
    shutil.rmtree(folder)


class Log:
    """The lines of a task's log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: object, /, *args: object) -> None:
        self.lines.append(str(event) % args)

    warning = error = info


async def until(true: Any) -> None:
    for _ in range(1200):
        if true():
            return
        await asyncio.sleep(0.1)
    raise TimeoutError
