# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How a host is reached by SSH, from the hybrid file: values only, no secrets.

Secrets are only named, by an Airflow Connection (``conn_id``) or as files; they are read when the connection is opened
(:mod:`airflow_hybrid.sites.hosts.ssh.login`).
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid import settings as airflow_settings
from airflow_hybrid.errors import ConfigError

LOGIN_WAIT_S = 3 * 86400.0
"""how long a run waits for credentials that work: over a long weekend"""

_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")
_USER = re.compile(r"[^\s\"'\\-][^\s\"'\\]*")


def _most_sessions() -> int:
    """Sessions at a time per connection."""
    return airflow_settings.current().ssh_max_sessions


@dataclass(frozen=True)
class SshSettings:
    """One host and how to reach it.

    :ivar host: name, address, or alias from an OpenSSH config file; empty if the Airflow Connection has it.
    :ivar conn_id: an Airflow Connection of type ``ssh``, with the fields that SSHHook of apache-airflow-providers-ssh
        reads; the other settings take precedence over it.
    :ivar key_files: private keys; none means ssh-agent and the usual ``~/.ssh/id_*``.
    :ivar cert_file: the certificate of a key, where it is not beside it as ``<key>-cert.pub``.
    :ivar known_hosts: files of trusted host keys; none means those of the OpenSSH config file, or
        ``~/.ssh/known_hosts`` and ``/etc/ssh/ssh_known_hosts``.
    :ivar host_key: the only trusted key (``ssh-ed25519 AAAA...``), in place of known_hosts.
    :ivar ssh_config: an OpenSSH client config file; none means ``~/.ssh/config``, if it exists.
    :ivar tunnel: the jump host (ProxyJump), which may have one of its own.
    :ivar interactive: only a person can log in; Airflow makes no attempts.
    :ivar login_wait_s: how long a run waits while the host refuses the login; 0: not at all.
    :ivar max_sessions: commands at a time, at most the setting ``ssh_max_sessions``.
    :ivar address: which of the addresses of the host's name is meant; empty: any.
    """

    host: str = ""
    port: int | None = None
    username: str | None = None
    conn_id: str | None = None
    key_files: tuple[str, ...] = ()
    cert_file: str | None = None
    passphrase_file: str | None = None
    password_file: str | None = None
    known_hosts: tuple[str, ...] = ()
    host_key: str | None = None
    ssh_config: str | None = None
    tunnel: SshSettings | None = None
    interactive: bool = False
    connect_timeout_s: float | None = None
    keepalive_s: float = 10.0
    max_sessions: int = field(default_factory=_most_sessions)
    login_wait_s: float = LOGIN_WAIT_S
    address: str = ""

    def __post_init__(self) -> None:
        if not self.host and not self.conn_id:
            raise ConfigError("an SSH node needs a hostname or a conn_id")
        check_name("hostname", self.host)
        check_name("username", self.username)

    @property
    def name(self) -> str:
        """``user@host:port``, as far as known without reading the Connection."""
        host = self.host or f"connection {self.conn_id}"
        user = f"{self.username}@" if self.username else ""
        return f"{user}{host}" + (f":{self.port}" if self.port not in (None, 22) else "")


def check_name(kind: str, value: str | None) -> None:
    """Refuse names that could be read as an option of ssh, or as another line of its config file.

    :raises ConfigError: white space, quotes or a leading dash in a host or user name.
    """
    pattern = _HOST if kind == "hostname" else _USER
    if value and not pattern.fullmatch(value):
        raise ConfigError(f"{kind} {value!r} is not a valid {kind}")


def nodes_of(config: Mapping[str, Any]) -> dict[str, SshSettings]:
    """The nodes of an ``ssh`` deployment by location name, in order.

    :param config: ``deployments.<name>.config`` in StreamFlow's spelling (``sshKey``, ``checkHostKey`` ...) or in
        snake case, with our additions: ``conn_id``, ``known_hosts``, ``host_key``, ``ssh_config``. A node is a name, or
        an object whose properties take precedence over those of the deployment. Without ``nodes``, the deployment is
        one node.
    ``checkHostKey: false`` has no effect: without the check, anybody in between could read data and run jobs.

    :raises ConfigError: there is no node, or there are two of the same name.
    """
    shared = {_snake(key): value for key, value in config.items()}
    nodes = shared.pop("nodes", None)
    if not nodes:
        nodes = [{key: shared[key] for key in ("hostname", "host") if shared.get(key)}]
    shared.pop("hostname", None), shared.pop("host", None)
    settings_by_node: dict[str, SshSettings] = {}
    for node in nodes:
        node_config = {"hostname": node} if isinstance(node, str) else {_snake(k): v for k, v in node.items()}
        name = str(
            node_config.get("name")
            or node_config.get("hostname")
            or node_config.get("host")
            or node_config.get("conn_id")
            or shared.get("conn_id")
        )
        if name in settings_by_node:
            raise ConfigError(f"node {name!r} is listed twice")
        settings_by_node[name] = _settings({**_inherited(shared, node_config), **node_config})
    return settings_by_node


def _inherited(shared: Mapping[str, Any], node_config: Mapping[str, Any]) -> dict[str, Any]:
    """The deployment's properties, without its Connection if the node names another one."""
    drop = {"conn_id"} if node_config.get("conn_id") else set()
    return {key: value for key, value in shared.items() if key not in drop}


def _settings(config: Mapping[str, Any]) -> SshSettings:
    host, port = _split_port(str(config.get("hostname") or config.get("host") or ""))
    port = config.get("port") or port
    tunnel = config.get("tunnel")
    if isinstance(tunnel, str):
        tunnel = {"hostname": tunnel}
    keys = config.get("ssh_key") or config.get("key_files") or ()
    known_hosts = config.get("known_hosts") or ()
    return SshSettings(
        host=host,
        port=int(port) if port else None,
        username=config.get("username"),
        conn_id=config.get("conn_id"),
        key_files=_paths(keys),
        cert_file=_path(config.get("cert_file")),
        passphrase_file=_path(config.get("ssh_key_passphrase_file")),
        password_file=_path(config.get("password_file")),
        known_hosts=_paths(known_hosts),
        host_key=config.get("host_key"),
        ssh_config=_path(config.get("ssh_config")),
        tunnel=_tunnel(tunnel, config) if tunnel else None,
        interactive=config.get("login") == "interactive",
        connect_timeout_s=float(config["connect_timeout"]) if config.get("connect_timeout") else None,
        login_wait_s=float(config.get("wait_for_login", LOGIN_WAIT_S)),
        max_sessions=max(1, min(int(config.get("max_concurrent_sessions") or _most_sessions()), _most_sessions())),
    )


def _tunnel(tunnel: Mapping[str, Any], config: Mapping[str, Any]) -> SshSettings:
    """A tunnel inherits user, keys and trusted host keys (as in StreamFlow), but not host, host key or tunnel."""
    tunnel_config = {_snake(key): value for key, value in tunnel.items()}
    for key in ("username", "ssh_key", "key_files", "cert_file", "ssh_key_passphrase_file", "password_file",
                "known_hosts", "ssh_config", "connect_timeout", "wait_for_login"):  # fmt: skip
        if key in config and "conn_id" not in tunnel_config:
            tunnel_config.setdefault(key, config[key])
    return _settings(tunnel_config)


def jump_hosts(chain: str, settings: SshSettings) -> SshSettings:
    """OpenSSH's ProxyJump (``[user@]host[:port],...``, ssh_config(5)) as nested settings; the last is nearest."""
    hop: SshSettings | None = None
    for part in chain.split(","):
        user, _, address = part.strip().removeprefix("ssh://").rpartition("@")
        host, port = _split_port(address)
        hop = dataclasses.replace(
            settings, host=host, port=port, username=user or None, conn_id=None, key_files=(), cert_file=None,
            passphrase_file=None, password_file=None, host_key=None, interactive=False, tunnel=hop,
        )  # fmt: skip
    assert hop is not None
    return hop


def _split_port(address: str) -> tuple[str, int | None]:
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        return host.strip("[]"), int(port)
    return address.strip("[]"), None


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match.group().lower(), key)


def _path(value: str | None) -> str | None:
    return os.path.abspath(os.path.expanduser(value)) if value else None


def _paths(value: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    paths = [value] if isinstance(value, str) else value
    return tuple(path for path in map(_path, paths) if path)
