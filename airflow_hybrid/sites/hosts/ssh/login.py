# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Secrets of an SSH login: read when a connection is opened, and passed to asyncssh or to OpenSSH.

They come from files or from an Airflow Connection, are kept in memory only, and have no ``repr``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import dataclasses
import glob
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from airflow_hybrid import settings as airflow_settings
from airflow_hybrid.errors import AuthenticationError, ConfigError, HostKeyError
from airflow_hybrid.sites.hosts.airflow_connection import read_connection
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings, check_name

_ALGORITHMS = {"kex": "kex_algs", "ciphers": "encryption_algs", "macs": "mac_algs", "keys": "server_host_key_algs",
               "pubkeys": "signature_algs"}  # fmt: skip


def _connect_timeout_s() -> float:
    return airflow_settings.current().ssh_connect_timeout


@dataclass(frozen=True, repr=False)
class Login:
    """A login with its secrets: settings with the fields of the Airflow Connection filled in."""

    settings: SshSettings
    connect_timeout_s: float = field(default_factory=_connect_timeout_s)
    password: str | None = None
    passphrase: str | None = None
    private_key: str | None = None
    certificate: str | None = None
    look_for_keys: bool = True
    algorithms: Mapping[str, Any] = field(default_factory=dict)


async def read_login(settings: SshSettings) -> Login:
    """Resolve the Airflow Connection and the files that ``settings`` names.

    :raises ConfigError: there is no such Connection, or it disables the host key check.
    :raises AuthenticationError: a password or passphrase file cannot be read.
    """
    login = Login(settings)
    if settings.conn_id:
        login = from_connection(
            settings, await read_connection(settings.conn_id, "ssh", "--conn-host HOST --conn-login USER ...")
        )
    password = await asyncio.to_thread(_secret, settings.password_file)
    passphrase = await asyncio.to_thread(_secret, settings.passphrase_file)
    return dataclasses.replace(
        login,
        password=password or login.password,
        passphrase=passphrase or login.passphrase,
        connect_timeout_s=settings.connect_timeout_s or login.connect_timeout_s,
    )


def credentials_on_disk(login: Login) -> tuple[tuple[str, int, int], ...]:
    """The files of keys and certificates that a login uses, with time and size: it changes if one is renewed."""
    files = []
    for name in credential_files(login):
        with contextlib.suppress(OSError):
            state = os.stat(name)
            files.append((name, state.st_mtime_ns, state.st_size))
    return tuple(files)


def credential_files(login: Login) -> list[str]:
    """The files of keys and certificates that a login uses; some may be missing."""
    names = set(key_paths(login))
    names.update([f"{name}-cert.pub" for name in names])
    if login.settings.cert_file is not None:
        names.add(login.settings.cert_file)
    return sorted(names)


def key_paths(login: Login) -> list[str]:
    """The files of the private keys that a login may use."""
    if login.settings.key_files or login.private_key is not None:
        return list(login.settings.key_files)
    names = glob.glob(os.path.expanduser("~/.ssh/id_*"))
    return sorted(name for name in names if not name.endswith(".pub"))


def from_connection(settings: SshSettings, connection: Any) -> Login:
    """Fill in what ``settings`` leaves open from an ``ssh`` Connection; the extras are those of SSHHook.

    :param connection: has host, port, login, password and ``extra_dejson``.
    :raises ConfigError: the Connection has no host, or a name in it is not valid.
    :raises HostKeyError: the Connection disables the host key check.
    """
    extra: Mapping[str, Any] = connection.extra_dejson
    for key in ("no_host_key_check", "ignore_hostkey_verification", "allow_host_key_change"):
        if _true(extra.get(key)) and not (settings.host_key or extra.get("host_key")):
            raise HostKeyError(
                f"Airflow Connection {settings.conn_id!r} has {key}: true, which is not supported here",
                hint="put the key of the host (`ssh-keyscan -t ed25519 HOST`, compared once) in the extra host_key",
            )
    host = settings.host or connection.host or ""
    if not host:
        raise ConfigError(f"the Airflow Connection {settings.conn_id!r} has no host")
    check_name("hostname", host)
    check_name("username", connection.login)
    key_file, cert_file = extra.get("key_file"), extra.get("cert_file")
    filled = dataclasses.replace(
        settings,
        host=host,
        port=settings.port or connection.port,
        username=settings.username or connection.login or None,
        key_files=settings.key_files or ((os.path.expanduser(key_file),) if key_file else ()),
        cert_file=settings.cert_file or (os.path.expanduser(cert_file) if cert_file else None),
        host_key=settings.host_key or extra.get("host_key"),
        interactive=settings.interactive or _for_a_person(settings.conn_id, extra),
    )
    algorithms: dict[str, Any] = {
        _ALGORITHMS[kind]: "-" + ",".join(names)
        for kind, names in (extra.get("disabled_algorithms") or {}).items()
        if kind in _ALGORITHMS
    }
    if extra.get("ciphers"):
        algorithms["encryption_algs"] = extra["ciphers"]
    return Login(
        filled,
        connect_timeout_s=float(extra.get("conn_timeout") or _connect_timeout_s()),
        password=(connection.password or "").strip() or None,
        # SSHHook uses the password for an encrypted key_file; private_key has a passphrase of its own
        passphrase=extra.get("private_key_passphrase") or (connection.password if key_file else None) or None,
        private_key=extra.get("private_key") or None,
        certificate=extra.get("certificate") or None,
        look_for_keys=str(extra.get("look_for_keys", True)).lower() != "false",
        algorithms=algorithms,
    )


def _for_a_person(conn_id: str | None, extra: Mapping[str, Any]) -> bool:
    """Whether only a person can log in.

    :raises ConfigError: the extra ``login`` is neither ``interactive`` nor ``automatic``.
    """
    way = extra.get("login", "automatic")
    if way not in ("automatic", "interactive"):
        raise ConfigError(
            f"the Airflow Connection {conn_id!r} has login: {way!r}",
            hint="`interactive` (a person logs in: `airflow hybrid login`) or `automatic`",
        )
    return bool(way == "interactive")


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


def _secret(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text().strip("\r\n")
    except OSError as error:
        raise AuthenticationError(f"cannot read the secret in {path}: {error.strerror}") from None


def config_files(settings: SshSettings) -> list[str]:
    """OpenSSH client config files that apply.

    :raises ConfigError: a file that is named does not exist.
    """
    if settings.ssh_config:
        if not os.path.isfile(settings.ssh_config):
            raise ConfigError(f"no such file: ssh_config {settings.ssh_config}")
        return [settings.ssh_config]
    default = os.path.expanduser("~/.ssh/config")
    return [default] if os.path.isfile(default) else []


def parse_host_key(text: str) -> asyncssh.SSHKey:
    """A host key in the forms that SSHHook accepts: ``ssh-ed25519 AAAA... [comment]`` or the base64 part alone.

    :raises ConfigError: it has neither form.
    """
    words = text.split()
    try:
        if len(words) == 1:
            blob = base64.b64decode(words[0], validate=True)
            words.insert(0, blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii"))
        return asyncssh.import_public_key(" ".join(words[:2]))
    except (asyncssh.KeyImportError, ValueError, IndexError, binascii.Error):
        raise ConfigError(
            "host_key is not a public key in OpenSSH's format", hint="for example: ssh-ed25519 AAAAC3Nza..."
        ) from None


def connect_options(login: Login) -> dict[str, Any]:
    """Keyword arguments of ``asyncssh.connect``, except for tunnel and known_hosts."""
    settings = login.settings
    options: dict[str, Any] = {
        "host": settings.host,
        "config": config_files(settings),
        "connect_timeout": login.connect_timeout_s,
        "login_timeout": login.connect_timeout_s,
        "keepalive_interval": settings.keepalive_s,
        "keepalive_count_max": 3,
        # AES-GCM is several times as fast as asyncssh's first choice; the others remain allowed
        "encryption_algs": "^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
        **login.algorithms,
    }
    if settings.port:
        options["port"] = settings.port
    if settings.username:
        options["username"] = settings.username
    if login.passphrase:
        options["passphrase"] = login.passphrase
    options.update(_key_options(login))
    return options


def _key_options(login: Login) -> dict[str, Any]:
    """Which keys and certificates are used."""
    settings = login.settings
    options: dict[str, Any] = {}
    if login.private_key:
        options["client_keys"] = [_private_key(login)]
        options["agent_path"] = None
    elif settings.key_files:
        options["client_keys"] = list(settings.key_files)
        if login.passphrase is None:
            options["ignore_encrypted"] = True  # ssh-agent may hold it
    elif login.password and not login.look_for_keys:
        options["client_keys"] = None
    if login.certificate:
        options["client_certs"] = [_certificate(login)]
    elif settings.cert_file:
        options["client_certs"] = [settings.cert_file]
    return options


def _certificate(login: Login) -> asyncssh.SSHCertificate:
    try:
        return asyncssh.import_certificate(login.certificate or "")
    except asyncssh.KeyImportError as error:
        raise AuthenticationError(f"the certificate for {login.settings.name} cannot be used: {error}") from None


def _private_key(login: Login) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(login.private_key or "", login.passphrase)
    except asyncssh.KeyEncryptionError as error:
        raise AuthenticationError(f"the private key of {login.settings.name} cannot be decrypted: {error}") from None
    except asyncssh.KeyImportError as error:
        raise AuthenticationError(f"the private key of {login.settings.name} cannot be used: {error}") from None


def known_hosts_files(settings: SshSettings, configured: Any) -> list[str]:
    """Files of trusted host keys: those in ``settings``, else those of the OpenSSH config file, else the usual ones.

    :param configured: what asyncssh read from the config file; None if that file disables the check.
    :raises HostKeyError: it does.
    :raises ConfigError: a file that is named does not exist.
    """
    if settings.known_hosts:
        for path in settings.known_hosts:
            if not os.path.isfile(path):
                raise ConfigError(f"no such file: known_hosts {path}")
        return list(settings.known_hosts)
    if configured is None:
        raise HostKeyError(
            f"{', '.join(config_files(settings))} has `UserKnownHostsFile none` for {settings.host}",
            hint="host keys are always checked: name a known_hosts file there, or set known_hosts or host_key",
        )
    usual = [os.path.expanduser("~/.ssh/known_hosts"), "/etc/ssh/ssh_known_hosts"]
    return [str(path) for path in (configured or usual) if os.path.isfile(path)]


async def addresses_of(login: Login) -> list[str]:
    """The addresses of a host's name, behind which may be several hosts; those behind a jump host are not known here.

    :raises OSError: the name is unknown.
    """
    resolved = await asyncssh.SSHClientConnectionOptions.construct(**connect_options(login))
    if login.settings.tunnel or resolved.tunnel or resolved.proxy_command:
        return []
    loop = asyncio.get_running_loop()
    entries = await loop.getaddrinfo(resolved.host, resolved.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


async def connected_socket(address: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to an address, for :func:`asyncssh.connect`, which chooses an address of a name by itself.

    :raises OSError: it cannot be reached; :class:`asyncio.TimeoutError` likewise.
    """
    opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    opened.setblocking(False)
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(opened, (address, port)), timeout_s)
    except BaseException:
        opened.close()
        raise
    return opened
