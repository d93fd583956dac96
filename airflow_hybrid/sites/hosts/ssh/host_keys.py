# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What to tell a person about the key of a host that is not trusted. Nothing here trusts a key."""

from __future__ import annotations

from dataclasses import dataclass

import asyncssh

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.sites.hosts.ssh.login import Login, known_hosts_files, parse_host_key
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings

DEFAULT_PORT = 22


@dataclass(frozen=True)
class PresentedKey:
    """The key that a host shows, and what is known about the host so far.

    :ivar host: as it is connected to, after the OpenSSH config file.
    :ivar key: ``ssh-ed25519 AAAA...``.
    :ivar fingerprint: ``SHA256:...``.
    :ivar trusted: type and fingerprint of each key that is trusted for this host; none: the host is new.
    :ivar conn_id: of the Airflow Connection whose extras have the host's key; None: it stands in the hybrid file.
    """

    host: str
    port: int
    key: str
    fingerprint: str
    trusted: tuple[str, ...] = ()
    conn_id: str | None = None

    def advice(self) -> str:
        """Lines for a person: fingerprint, what has to be compared, and the line that trusts the key."""
        kind = self.key.split()[0]
        lines = [f"{self.host} shows the key {kind} {self.fingerprint}"]
        if self.trusted:
            lines.append(
                f"trusted is another one: {', '.join(self.trusted)}. Somebody may be intercepting the connection: ask"
                " the administrator of the host whether its key was changed before you trust the new one"
            )
        else:
            lines.append(
                "a check cannot know whether that is the right key: compare the fingerprint with the one that you have"
                " from the administrator of the host, or from the site's web page"
            )
        lines.append(f"if it is the right one, {self._line()}")
        return "\n".join(lines)

    def _line(self) -> str:
        if self.conn_id is not None:
            return f'add it to the extras of the Airflow Connection {self.conn_id!r}: "host_key": "{self.key}"'
        name = self.host if self.port == DEFAULT_PORT else f"[{self.host}]:{self.port}"
        return (
            f"add it to the host in the hybrid file: host_key: {self.key}\nor to ~/.ssh/known_hosts: {name} {self.key}"
        )


def presented(
    settings: SshSettings, login: Login, resolved: asyncssh.SSHClientConnectionOptions, key: asyncssh.SSHKey
) -> PresentedKey:
    """Say what is known of a host that shows ``key``.

    :param settings: from the hybrid file; ``login``: with what its Connection has; ``resolved``: with what the OpenSSH
        config file has.
    """
    host, port = str(resolved.host), int(resolved.port or DEFAULT_PORT)
    key_type, blob = key.export_public_key("openssh").decode().split()[:2]
    return PresentedKey(
        host,
        port,
        f"{key_type} {blob}",
        key.get_fingerprint(),
        trusted=tuple(f"{k.get_algorithm()} {k.get_fingerprint()}" for k in _trusted(login, resolved, host, port)),
        conn_id=settings.conn_id if settings.host_key is None else None,
    )


def _trusted(
    login: Login, resolved: asyncssh.SSHClientConnectionOptions, host: str, port: int
) -> list[asyncssh.SSHKey]:
    if login.settings.host_key:
        try:
            return [parse_host_key(login.settings.host_key)]
        except ConfigError:
            return []
    files = known_hosts_files(login.settings, resolved.known_hosts)
    if not files:
        return []
    name = str(resolved.host_key_alias or host)
    keys = asyncssh.match_known_hosts(files, name, "", None if port == DEFAULT_PORT else port)[0]
    return list(keys)
