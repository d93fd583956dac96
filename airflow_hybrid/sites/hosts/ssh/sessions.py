# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Logins that a person has opened (``airflow hybrid login``) and that a process of this machine keeps open for Airflow.

Each is a Unix socket and a file with what is known of it, in a folder which only Airflow's user may enter. Behind the
socket is an SSH server (:mod:`airflow_hybrid.sites.hosts.ssh.relay`), so all of a connection works through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import asyncssh

from airflow_hybrid import settings as airflow_settings
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.sites.hosts.ssh.login import Login, credential_files

_NOT_IDENTITY = ("connect_timeout_s", "keepalive_s", "max_sessions", "login_wait_s", "interactive")
"""settings that do not tell one login from another"""
_LONGEST_PATH = 107
"""bytes of a socket's path (unix(7), sun_path)"""


@dataclass(frozen=True)
class Session:
    """What is known of a login that is, or was, kept.

    :ivar name: of its files.
    :ivar at: ``user@host:port``; ``deployment``: that somebody logged in for.
    :ivar host_key: type and fingerprint.
    :ivar began, ended: in seconds since the epoch; ``ended`` None: it has not, or its process was killed.
    """

    name: str
    deployment: str
    at: str
    host_key: str
    began: float
    ended: float | None = None


@dataclass(frozen=True)
class Peer:
    """The process at the other end of a Unix socket, as the kernel knows it."""

    pid: int
    uid: int


def peer_of(sock: Any) -> Peer:
    """:param sock: a connected Unix socket (SO_PEERCRED, unix(7))."""
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return Peer(pid, uid)


def folder() -> str:
    """The folder of this machine's sessions; several machines may share what it is in."""
    return os.path.join(airflow_settings.current().login_dir, socket.gethostname())


def made_folder() -> str:
    """The folder, which only this user may enter.

    :raises ConfigError: it is somebody else's, or others may enter it.
    """
    path = folder()
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder of kept logins {path}: {error.strerror}", hint=_HINT) from None
    _check(path)
    return path


_HINT = "it must belong to the user of Airflow, with mode 0700: see `login_dir` in docs/reference/configuration.md"


def _check(path: str) -> None:
    state = os.stat(os.path.realpath(path))
    if state.st_uid != os.geteuid():
        raise ConfigError(f"the folder of kept logins {path} belongs to another user", hint=_HINT)
    if state.st_mode & 0o077:
        raise ConfigError(f"the folder of kept logins {path} is open to other users", hint=_HINT)


def name_of(login: Login) -> str:
    """The name of the session of a login: a function of host, user, Connection, keys and the way there."""
    identity = dataclasses.asdict(login.settings)
    return hashlib.sha256(json.dumps(_without(identity), sort_keys=True).encode()).hexdigest()[:20]


def _without(identity: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in identity.items() if key not in _NOT_IDENTITY}
    if rest["tunnel"] is not None:
        rest["tunnel"] = _without(rest["tunnel"])
    return rest


def socket_path(name: str) -> str:
    """:raises ConfigError: it would be too long for a socket."""
    path = os.path.join(folder(), f"{name}.s")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ConfigError(
            f"the path of a kept login is too long for a socket: {path}",
            hint="set `login_dir` of [airflow_hybrid] to a shorter path, which all processes of Airflow on this"
            " machine can see",
        )
    return path


def socket_state(login: Login) -> tuple[int, int] | None:
    """Changes with every new session of a login; None: there is none."""
    try:
        state = os.stat(socket_path(name_of(login)))
    except (OSError, ConfigError):
        return None
    return state.st_ino, state.st_mtime_ns


def files_of(login: Login) -> tuple[str, ...]:
    """The files that change if somebody renews a credential of a login, or logs in; some may be missing."""
    files = [name for name in (login.settings.password_file, login.settings.passphrase_file) if name is not None]
    with contextlib.suppress(ConfigError):  # nobody can keep such a login
        files.append(socket_path(name_of(login)))
    return (*credential_files(login), *files)


async def connected_socket(name: str) -> socket.socket | None:
    """A socket to the process that keeps a session; None: nobody does.

    :raises ConfigError: the process, or the folder, is not this user's.
    """
    try:
        path = socket_path(name)
    except ConfigError:
        return None  # `airflow hybrid login` refuses such a path: nobody keeps anything there
    if not os.path.exists(path):
        return None
    _check(os.path.dirname(path))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, path)
        if peer_of(sock).uid != os.geteuid():
            raise ConfigError(f"the socket {path} is that of another user's process", hint=_HINT)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except BaseException:
        sock.close()
        raise
    return sock


async def attached(login: Login, client: Callable[[], asyncssh.SSHClient]) -> asyncssh.SSHClientConnection | None:
    """A connection through the kept session of a login; None: there is no such session.

    :raises OSError, asyncssh.Error: it does not answer.
    """
    sock = await connected_socket(name_of(login))
    if sock is None:
        return None
    # who is at the other end of the socket is known from the kernel: there is no key to check, and nothing to prove
    return await asyncssh.connect(
        sock=sock, config=None, known_hosts=None, username="kept", client_keys=None, agent_path=None,
        client_factory=client, encryption_algs=["aes128-gcm@openssh.com"], connect_timeout=login.connect_timeout_s,
        keepalive_interval=login.settings.keepalive_s, keepalive_count_max=3,
    )  # fmt: skip


def write(session: Session) -> None:
    """Keep what is known of a session for others to read."""
    path = os.path.join(folder(), f"{session.name}.json")
    temporary = f"{path}.{os.getpid()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(dataclasses.asdict(session), file)
    os.replace(temporary, path)


def read(name: str) -> Session | None:
    """What is known of a session; None: there never was one, or what is there cannot be read."""
    try:
        with open(os.path.join(folder(), f"{name}.json")) as file:
            return Session(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def known() -> list[Session]:
    """All sessions of this machine of which something is known, latest first."""
    try:
        names = [file.removesuffix(".json") for file in os.listdir(folder()) if file.endswith(".json")]
    except FileNotFoundError:
        return []
    sessions = [session for name in names if (session := read(name)) is not None]
    return sorted(sessions, key=lambda session: session.began, reverse=True)
