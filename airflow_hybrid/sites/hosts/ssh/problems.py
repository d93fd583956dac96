# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What went wrong with an SSH connection, and what to do about it, for people."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import asyncssh

from airflow_hybrid.errors import (
    AuthenticationError,
    HostKeyError,
    HostUnreachableError,
    LoginRefusedError,
    Refusal,
    SiteError,
    UnknownHostError,
)
from airflow_hybrid.printable import moment, printable, shortened
from airflow_hybrid.sites.hosts.ssh.certificates import Certificate
from airflow_hybrid.sites.hosts.ssh.sessions import Session

_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
"""what name servers say; without an answer from one, it is another error"""


@dataclass(frozen=True)
class Attempt:
    """An attempt to connect.

    :ivar name: ``user@host:port``.
    :ivar conn_id: of the Airflow Connection that was used; None: none.
    :ivar worked: the same connection was open before.
    :ivar refusal: what to tell who waits if the login was refused.
    """

    name: str
    conn_id: str | None
    connect_timeout_s: float
    refusal: Refusal
    worked: bool = False
    certificates: Sequence[Certificate] = ()


def explained(error: BaseException, attempt: Attempt) -> SiteError:
    """The error for people, for whatever asyncssh raised."""
    name = attempt.name
    if isinstance(error, asyncssh.HostKeyNotVerifiable) or (
        isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in str(error)
    ):
        return HostKeyError(
            f"the host key of {name} is not trusted ({error})",
            hint="if the host is new: `airflow hybrid check` shows its fingerprint, to be compared with what its"
            " administrators publish, and the line that trusts it. If it was trusted before, ask them: somebody may"
            " be intercepting the connection",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return _refused(error, attempt)
    if isinstance(error, (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, FileNotFoundError, PermissionError)):
        return AuthenticationError(
            f"the key for {name} cannot be used: {error}", hint="check sshKey, its certificate and its passphrase"
        )
    if isinstance(error, asyncssh.ConfigParseError):
        return AuthenticationError(f"the OpenSSH config file for {name} cannot be used: {error}")
    if isinstance(error, asyncio.TimeoutError):
        return HostUnreachableError(
            f"{name} did not answer within {attempt.connect_timeout_s:g} s",
            hint="is it running, and reachable from here?",
        )
    if isinstance(error, socket.gaierror):
        kind = UnknownHostError if error.errno in _NO_SUCH_NAME else HostUnreachableError
        return kind(
            f"no connection to {name}: {error.strerror}",
            hint="check the host name: `hostname` in the hybrid file, or the host of the Airflow Connection",
        )
    reason = str(error)
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        reason = os.strerror(error.errno)  # asyncio says "Connect call failed" and the address, which name has
    return HostUnreachableError(f"no connection to {name}: {reason}", hint="is it running, and reachable from here?")


def _refused(error: asyncssh.PermissionDenied, attempt: Attempt) -> LoginRefusedError:
    message = f"{attempt.name} refused the login: {error}"
    for certificate in attempt.certificates:
        problem = certificate.problem()
        if problem is not None:
            return LoginRefusedError(f"{message}; {problem}", hint=certificate.renewal, refusal=attempt.refusal)
    where = "in its file"
    if attempt.conn_id is not None:
        where = f"in the Connection {attempt.conn_id!r} or in the file that it names"
    if attempt.worked:
        what = "the login has worked before: its certificate, key or password has expired or was changed"
        hint = f"{what}; renew it {where}"
    else:
        hint = (
            "check user name and key: the public key must be in ~/.ssh/authorized_keys there; an encrypted key needs"
            " sshKeyPassphraseFile or ssh-agent. If it has worked before: the certificate, key or password has expired;"
            f" renew it {where}"
        )
    return LoginRefusedError(message, hint=hint, refusal=attempt.refusal)


def needs_person(attempt: Attempt, deployment: str, session: Session | None, question: str) -> LoginRefusedError:
    """The error of a login for which a person is needed.

    :param session: the last one that a person opened on this machine.
    :param question: what the host has asked, which is not to be trusted; empty: not known.
    """
    machine = socket.gethostname()
    message = f"nobody has logged in to {attempt.name} on this machine ({machine})"
    if session is not None and session.ended is not None:
        message = f"the session at {attempt.name}, on this machine ({machine}), ended at {moment(session.ended)}"
    elif session is not None:
        message = f"the process that kept the session at {attempt.name} on this machine ({machine}) has ended"
    if question:
        message += f"; at login it asks {printable(shortened(question.strip(), 200))!r}, which only a person can answer"
    hint = f"as the user of Airflow on {machine}: airflow hybrid login {shlex.quote(deployment)}"
    if attempt.conn_id is not None:
        hint += " (with --user NAME, where each user has a Connection)"
    return LoginRefusedError(message, hint=hint, refusal=attempt.refusal)


def useless(certificate: Certificate, attempt: Attempt) -> LoginRefusedError:
    """The error of a login that is not even tried."""
    return LoginRefusedError(
        f"no login to {attempt.name} was tried: {certificate.problem()}",
        hint=certificate.renewal,
        refusal=attempt.refusal,
    )
