# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``airflow hybrid login``: a person logs in to a site, and a process keeps the connection for Airflow."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_hybrid.cli.accounts import deployments_for
from airflow_hybrid.cli.cleanup import scopes
from airflow_hybrid.config import Deployment
from airflow_hybrid.config.reading.messages import choices
from airflow_hybrid.config.users import check_usable
from airflow_hybrid.errors import ConfigError, HybridError, error_from_json
from airflow_hybrid.printable import moment, printable, quoted_lines, shortened
from airflow_hybrid.sites.hosts.ssh import sessions
from airflow_hybrid.sites.hosts.ssh.keeper import Request
from airflow_hybrid.sites.hosts.ssh.login import Login, read_login
from airflow_hybrid.sites.hosts.ssh.sessions import Session
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings, nodes_of

_END_S = 10.0
"""for a process to end after SIGTERM"""


def log_in(site: str, files: Sequence[str], user: str | None) -> None:
    """Log in to the hosts of a deployment, one after the other; those with a kept login are left as they are.

    :param files: hybrid files; none: those of all hybrid DAGs in the DAGs folder.
    :raises HybridError: there is no such deployment, or a host refuses.
    """
    hosts = _hosts(site, files, user)
    _check_owner()
    sessions.made_folder()
    for settings in hosts:
        logins = asyncio.run(_read(settings))
        name = sessions.name_of(logins[0][1])
        sessions.socket_path(name)
        if _open(name):
            session = sessions.read(name)
            since = f" since {moment(session.began)}" if session is not None else ""
            print(f"{logins[0][1].settings.name}: logged in{since}; nothing to do")
            continue
        if not sys.stdin.isatty():
            raise ConfigError("a login asks on the terminal, and there is none")
        for session in _keep(Request(site, settings, logins)):
            print(f"{printable(session.at)}: logged in, for Airflow's processes on {socket.gethostname()}")


def _hosts(site: str, files: Sequence[str], user: str | None) -> list[SshSettings]:
    """The hosts of a deployment of type ``ssh``, or of the one that it wraps, in all files that have it."""
    hosts: dict[SshSettings, None] = {}
    known: dict[str, Deployment] = {}
    for file in files or (None,):
        for scope in scopes(file):
            deployments = deployments_for(scope.deployments, user)
            known.update(deployments)
            if site in deployments:
                deployment = _with_hosts(deployments, site)
                check_usable(deployment)
                hosts.update(dict.fromkeys(nodes_of(deployment.config).values()))
    if not hosts:
        where = "in the hybrid files" if files else "in the DAGs of the DAGs folder"
        raise ConfigError(f"there is no deployment `{site}` {where}", hint=choices(site, known) if known else None)
    return list(hosts)


def _with_hosts(deployments: Mapping[str, Deployment], site: str) -> Deployment:
    deployment = deployments[site]
    while deployment.type != "ssh":
        if deployment.wraps is None:
            raise ConfigError(f"deployment `{site}` is not reached by SSH: nobody has to log in")
        deployment = deployments[deployment.wraps]
    return deployment


def _check_owner() -> None:
    """:raises ConfigError: Airflow belongs to another user, who could not use the login."""
    path = sessions.folder()
    while not os.path.exists(path):
        path = os.path.dirname(path)
    owner = os.stat(path).st_uid
    if owner != os.geteuid():
        raise ConfigError(
            f"{path} belongs to another user (number {owner}): Airflow could not use a login of yours",
            hint="call the command as the user of Airflow: sudo -u USER airflow hybrid login ...",
        )


async def _read(settings: SshSettings) -> tuple[tuple[SshSettings, Login], ...]:
    """The logins of a host and of its jump hosts, with what their Connections have."""
    logins = []
    hop: SshSettings | None = settings
    while hop is not None:
        logins.append((hop, await read_login(hop)))
        hop = logins[-1][1].settings.tunnel
    return tuple(logins)


def _open(name: str) -> bool:
    async def connected() -> bool:
        sock = await sessions.connected_socket(name)
        if sock is not None:
            sock.close()
        return sock is not None

    return asyncio.run(connected())


def _keep(request: Request) -> list[Session]:
    """Start the process that logs in, and answer its questions.

    :return: the logins that it keeps from now on.
    :raises HybridError: it could not log in.
    """
    keeper = subprocess.Popen(
        [sys.executable, "-m", "airflow_hybrid.sites.hosts.ssh.keeper"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert keeper.stdin is not None and keeper.stdout is not None
    with keeper.stdin, keeper.stdout, contextlib.suppress(BrokenPipeError):
        _send(keeper.stdin, request.to_json())
        for line in keeper.stdout:
            message = json.loads(line)
            if "kept" in message:
                keeper.returncode = 0  # it stays: nobody waits for it
                return [Session(**session) for session in message["kept"]]
            if "error" in message:
                raise error_from_json(message["error"])
            _send(keeper.stdin, _answers(message["ask"]))
    raise HybridError(f"the process that should keep the login has ended (exit code {keeper.wait()})")


def _send(stream: Any, value: Any) -> None:
    stream.write(json.dumps(value) + "\n")
    stream.flush()


def _answers(question: Mapping[str, Any]) -> list[str] | None:
    """Ask a person what a host asks; None: the person gives up (end of input).

    A host may send any text: it is made printable, and shown as the host's.
    """
    for text in (question["title"], question["instructions"]):
        for line in quoted_lines(text, most=20) if text.strip() else ():
            print(line)
    answers = []
    try:
        for prompt, shown in question["prompts"]:
            label = f"{question['at']} asks: {printable(shortened(prompt.strip(), 300))} "
            answers.append(input(label) if shown else getpass.getpass(label))
    except EOFError:
        return None
    return answers


def table() -> Iterator[str]:
    """Lines for people: the logins that are or were kept on this machine."""
    known = sessions.known()
    if not known:
        yield f"nobody has logged in on this machine ({socket.gethostname()})"
        return
    rows = [("DEPLOYMENT", "HOST", "SINCE", "STATE")]
    for session in known:
        state = "open" if _open(session.name) else "ended"
        if state == "ended" and session.ended is not None:
            state = f"ended at {moment(session.ended)}"
        rows.append((printable(session.deployment), printable(session.at), moment(session.began), state))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[3]])


def end(site: str) -> None:
    """End the kept logins of a deployment.

    :raises HybridError: there is none, or its process does not end.
    """
    open_names = [session.name for session in sessions.known() if session.deployment == site and _open(session.name)]
    if not open_names:
        raise ConfigError(f"nobody is logged in for `{site}` on this machine ({socket.gethostname()})")
    for name in open_names:
        asyncio.run(_end(name))
    print(f"{site}: ended")


async def _end(name: str) -> None:
    sock = await sessions.connected_socket(name)
    if sock is None:
        return
    # the kernel knows whose socket it is: no other process can be hit
    with sock, contextlib.suppress(ProcessLookupError):
        os.kill(sessions.peer_of(sock).pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_S
    while (left := await sessions.connected_socket(name)) is not None:
        left.close()
        if time.monotonic() > deadline:
            raise HybridError(f"the process that keeps the login has not ended after {_END_S:g} s")
        await asyncio.sleep(0.1)
