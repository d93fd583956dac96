# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The login of a host for OpenSSH's own client, which transfers bulk data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.sites.hosts.ssh.login import Login, config_files, parse_host_key
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings

_FOR_EVERY_HOST = (
    "BatchMode yes",
    "StrictHostKeyChecking yes",
    "UpdateHostKeys no",
    "LogLevel ERROR",
    "ServerAliveInterval 15",
    "ServerAliveCountMax 4",
    "RequestTTY no",
    "ForwardAgent no",
    "ForwardX11 no",
    "ClearAllForwardings yes",
    "PermitLocalCommand no",
    "ControlPath none",
    "Compression no",
    "Ciphers ^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
)


def openssh_argv(chain: Sequence[Login], directory: str) -> list[str] | None:
    """``ssh`` with a private config file for this login; None if OpenSSH cannot get the credentials.

    A password, a passphrase or a key that is only in memory would have to be written to a file or typed.

    :param chain: the host first, then its jump hosts, nearest first.
    :param directory: a private (0700) folder for the files.
    :raises ConfigError: a path cannot be written into an OpenSSH config file.
    """
    if shutil.which("ssh") is None or any(_is_only_ours(login) for login in chain):
        return None
    names = [_name(login, index) for index, login in enumerate(chain)]
    if len(set(names)) < len(names):
        return None
    lines = ["Host *", *_indented(_FOR_EVERY_HOST)]
    for index, login in enumerate(chain):
        jump = names[index + 1] if index + 1 < len(chain) else None
        lines += [f"Host {names[index]}", *_indented(_host_options(login, names[index], jump))]
        lines += _indented(_key_options(login.settings, names[index], index, directory))
    # the user's own files come last: ssh takes the first value that it finds
    included = dict.fromkeys(path for login in chain for path in config_files(login.settings))
    lines += ["Host *", *_indented(f"Include {_quoted(path)}" for path in included)]
    path = os.path.join(directory, "config")
    _write_private(path, "\n".join(lines) + "\n")
    return ["ssh", "-F", path, "-T", "-o", "EscapeChar=none", names[0]]


def _is_only_ours(login: Login) -> bool:
    """Whether the login needs something that only this process has."""
    return bool(login.password or login.passphrase or login.private_key or login.certificate or login.algorithms)


def _name(login: Login, index: int) -> str:
    """A host's name in the config file: its own name if the user's files may have an entry for it."""
    return login.settings.host if config_files(login.settings) else f"airflow-hybrid-{index}"


def _host_options(login: Login, name: str, jump: str | None) -> list[str]:
    """Where the host is, who logs in, and the name of the jump host."""
    settings = login.settings
    options = [f"ConnectTimeout {int(login.connect_timeout_s)}"]
    if name != settings.host:
        options.append(f"HostName {settings.host}")
    if settings.port:
        options.append(f"Port {settings.port}")
    if settings.username:
        options.append(f"User {settings.username}")
    for path in settings.key_files:
        options.append(f"IdentityFile {_quoted(path)}")
    if settings.cert_file:
        options.append(f"CertificateFile {_quoted(settings.cert_file)}")
    if settings.key_files:
        options.append("IdentitiesOnly yes")
    if jump is not None:
        options.append(f"ProxyJump {jump}")
    return options


def _key_options(settings: SshSettings, name: str, index: int, directory: str) -> list[str]:
    """Which key of the host is trusted."""
    if settings.host_key:
        alias, trusted = f"airflow-hybrid-{index}", os.path.join(directory, f"known_hosts.{index}")
        key = parse_host_key(settings.host_key).export_public_key().decode().strip()
        _write_private(trusted, f"{alias} {key}\n")
        return [f"HostKeyAlias {alias}", f"UserKnownHostsFile {_quoted(trusted)}", "GlobalKnownHostsFile none"]
    options = []
    if settings.known_hosts:
        files = " ".join(_quoted(path) for path in settings.known_hosts)
        options += [f"UserKnownHostsFile {files}", "GlobalKnownHostsFile none"]
    if name != settings.host:
        options.append(f"HostKeyAlias {_alias(settings)}")
    return options


def _indented(options: Iterable[str]) -> list[str]:
    return [f"  {option}" for option in options]


def _alias(settings: SshSettings) -> str:
    return settings.host if settings.port in (None, 22) else f"[{settings.host}]:{settings.port}"


def _quoted(path: str) -> str:
    if '"' in path or "\n" in path:
        raise ConfigError(f"OpenSSH cannot be given a path with a quote or a line end: {path!r}")
    return '"' + path.replace("%", "%%") + '"'


def _write_private(path: str, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
