# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Certificates of SSH keys, which are valid for hours or a day: where they are, and from when to when they are valid.

Source: PROTOCOL.certkeys of OpenSSH.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from airflow_hybrid.printable import moment
from airflow_hybrid.sites.hosts.ssh.login import Login, key_paths


@dataclass(frozen=True)
class Certificate:
    """A certificate that a login may use.

    :ivar name: for people: its file, or the Connection that has it.
    :ivar renewal: how to renew it.
    :ivar needed: the login was given this certificate by name: without it, there is no attempt.
    :ivar begins, ends: when it is valid, in seconds since the epoch; None: it cannot be read, or its kind is unknown.
    :ivar missing: its file does not exist.
    """

    name: str
    renewal: str
    needed: bool
    begins: float | None = None
    ends: float | None = None
    missing: bool = False

    def problem(self) -> str | None:
        """Why it is of no use now; None: it may be of use."""
        if self.missing:
            return f"there is no {self.name}"
        if self.ends is not None and self.has_ended:
            return f"{self.name} expired at {moment(self.ends)}"
        if self.begins is not None and time.time() < self.begins:
            return f"{self.name} is not valid before {moment(self.begins)}"
        return None

    @property
    def is_over(self) -> bool:
        """Whether an attempt is useless, whatever the clock of the site says."""
        return self.needed and (self.missing or self.has_ended)

    @property
    def has_ended(self) -> bool:
        return self.ends is not None and time.time() >= self.ends


def certificates_of(login: Login, configured: Sequence[str] = ()) -> list[Certificate]:
    """The certificates that a login may use; those that exist, and those that it was given by name.

    :param configured: those of the OpenSSH config file.
    """
    found: list[Certificate] = []
    if login.certificate is not None:
        conn_id = login.settings.conn_id
        found.append(
            _read(
                login.certificate.encode(),
                f"the certificate in the Airflow Connection {conn_id!r}",
                f"put the new one into the extra `certificate` of the Connection {conn_id!r}",
            )
        )
    if login.settings.cert_file is not None:
        found.append(_in_file(login.settings.cert_file, needed=True))
    beside = [f"{path}-cert.pub" for path in key_paths(login)]
    for path in dict.fromkeys([*map(os.path.expanduser, configured), *beside]):
        if os.path.exists(path):
            found.append(_in_file(path, needed=False))
    return found


def _in_file(path: str, *, needed: bool) -> Certificate:
    name = f"certificate {path}"
    renewal = "renew it in this file, with the site's own tool"
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 20)
    except FileNotFoundError:
        return Certificate(name, renewal, needed, missing=True)
    except OSError:
        return Certificate(name, renewal, needed)  # asyncssh says what is wrong with it
    return _read(data, f"the {name}", renewal, needed=needed)


def _read(data: bytes, name: str, renewal: str, *, needed: bool = True) -> Certificate:
    try:
        identity = load_ssh_public_identity(data.strip())
    except (ValueError, UnsupportedAlgorithm):
        return Certificate(name, renewal, needed)
    if not isinstance(identity, SSHCertificate):
        return Certificate(name, renewal, needed)
    return Certificate(name, renewal, needed, float(identity.valid_after), float(identity.valid_before))
