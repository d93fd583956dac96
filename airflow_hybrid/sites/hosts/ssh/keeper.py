# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The process that logs in with a person's answers, and keeps the connection for Airflow until it ends.

It has no terminal. ``airflow hybrid login`` sends it a :class:`Request` by stdin and gets questions by stdout, one
JSON object per line; then both are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncssh

from airflow_hybrid.errors import HostUnreachableError, HybridError
from airflow_hybrid.sites.hosts.ssh import relay, sessions
from airflow_hybrid.sites.hosts.ssh.client import Attendant, Question
from airflow_hybrid.sites.hosts.ssh.connection import SshConnection
from airflow_hybrid.sites.hosts.ssh.login import Login, read_login
from airflow_hybrid.sites.hosts.ssh.sessions import Session
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings


@dataclass(frozen=True)
class Request:
    """What is to be kept.

    :ivar logins: of the host and those jump hosts that have settings of their own: as in the hybrid file, and with what
        their Connections have. It has secrets.
    """

    deployment: str
    settings: SshSettings
    logins: tuple[tuple[SshSettings, Login], ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Request:
        logins = tuple((_settings(settings), _login(login)) for settings, login in value["logins"])
        return cls(value["deployment"], _settings(value["settings"]), logins)


def _settings(value: Mapping[str, Any]) -> SshSettings:
    tunnel = value["tunnel"]
    read: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
    return SshSettings(**{**read, "tunnel": None if tunnel is None else _settings(tunnel)})


def _login(value: Mapping[str, Any]) -> Login:
    return Login(**{**value, "settings": _settings(value["settings"])})


class _Talk:
    """Lines to and from ``airflow hybrid login``."""

    async def ask(self, question: Question) -> list[str] | None:
        self.tell({"ask": dataclasses.asdict(question)})
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            raise SystemExit(1)  # nobody is there any more
        answers: list[str] | None = json.loads(line)
        return answers

    @staticmethod
    def tell(message: Mapping[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


async def _keep(request: Request) -> None:
    talk = _Talk()
    logins = dict(request.logins)

    async def read(settings: SshSettings) -> Login:
        return logins.get(settings) or await read_login(settings)

    first = SshConnection(request.settings, request.deployment, attendant=Attendant(talk.ask, read))
    try:
        await first.connected()
        kept = [await _Kept.made(connection, request.deployment) for connection in first.opened_here()]
    except HybridError as error:
        talk.tell({"error": error.to_json()})
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _end, kept)
    talk.tell({"kept": [dataclasses.asdict(each.session) for each in kept]})
    _leave_the_terminal()
    await asyncio.gather(*(each.until_its_end() for each in kept))


def _end(kept: list[_Kept]) -> None:
    for each in kept:
        each.opened.close()


def _leave_the_terminal() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)


@dataclass(frozen=True)
class _Kept:
    """One connection, and the socket through which others use it."""

    session: Session
    opened: asyncssh.SSHClientConnection
    end_serving: Callable[[], None]
    path: str
    inode: int

    @classmethod
    async def made(cls, connection: SshConnection, deployment: str) -> _Kept:
        opened = await connection.connected()
        login = connection.login
        if login is None:
            raise HostUnreachableError(f"the connection to {connection.name} has ended")
        name = sessions.name_of(login)
        sessions.made_folder()
        path = sessions.socket_path(name)
        sock, inode = _bound(path)
        try:
            end_serving = await relay.serve(sock, connection, opened)
            key = await connection.host_key()
            session = Session(name, deployment, connection.name, key, time.time())
            sessions.write(session)
            os.replace(_temporary(path), path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_temporary(path))
            raise
        return cls(session, opened, end_serving, path, inode)

    async def until_its_end(self) -> None:
        """Wait until the connection has ended, whoever ended it, and take the socket away."""
        await self.opened.wait_closed()
        self.end_serving()
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self.path).st_ino == self.inode:  # nobody has logged in again
                os.unlink(self.path)
                sessions.write(dataclasses.replace(self.session, ended=time.time()))


def _temporary(path: str) -> str:
    return f"{path.removesuffix('.s')[:-4]}.{os.getpid() % 1000}"  # not longer than the path itself


def _bound(path: str) -> tuple[socket.socket, int]:
    """A socket under a temporary name, and its inode."""
    temporary = _temporary(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(temporary)
    os.chmod(temporary, 0o600)
    return sock, os.stat(temporary).st_ino


def main() -> None:
    os.umask(0o077)
    os.chdir("/")
    asyncio.run(_keep(Request.from_json(json.loads(sys.stdin.readline()))))


if __name__ == "__main__":
    main()
