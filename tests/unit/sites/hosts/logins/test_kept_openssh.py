# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A kept login at OpenSSH, with a code that PAM accepts once."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from airflow_hybrid.cli import logins as commands
from airflow_hybrid.errors import LoginRefusedError
from airflow_hybrid.sites.hosts.ssh import sessions
from tests.needs import program, root
from tests.unit.sites.hosts.logins.one_time import Bed, OneTimeSite, Person, own_folders, until

PAM = """auth required pam_exec.so expose_authtok quiet {folder}/code
auth optional pam_permit.so
account required pam_permit.so
session required pam_permit.so
"""
CODE = """#!/bin/sh
read -r code
grep -qxF "$code" {folder}/codes || exit 1
grep -vxF "$code" {folder}/codes >{folder}/left
mv {folder}/left {folder}/codes
"""
SSHD = """ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
LogLevel VERBOSE
StrictModes no
UsePAM yes
AuthorizedKeysFile none
PubkeyAuthentication no
PasswordAuthentication no
KbdInteractiveAuthentication yes
PermitRootLogin yes
"""


@pytest.fixture
async def openssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bed]:
    """A real sshd whose PAM accepts the code 111 once. ``site`` is only its port."""
    with own_folders(monkeypatch, tmp_path):
        root("give sshd a PAM configuration of its own")
        unshare, sshd, keygen = program("unshare"), program("sshd"), program("ssh-keygen")
        os.makedirs("/run/sshd", 0o755, exist_ok=True)  # as sshd's own service does
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "host"], check=True)
        for name, text in (("pam", PAM), ("code", CODE), ("sshd_config", SSHD)):
            (tmp_path / name).write_text(text.format(folder=tmp_path))
        (tmp_path / "code").chmod(0o700)
        (tmp_path / "codes").write_text("111\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        serve = f"exec {sshd} -D -p {port} -f {tmp_path}/sshd_config -E {tmp_path}/log"
        serve = f"mount --bind {tmp_path}/pam /etc/pam.d/sshd && {serve}"
        daemon = await asyncio.create_subprocess_exec(unshare, "-m", "/bin/sh", "-c", serve)
        log = tmp_path / "log"
        await until(lambda: log.exists() and "listening on" in log.read_text())
        key = " ".join((tmp_path / "host.pub").read_text().split()[:2])
        node = {"hostname": f"127.0.0.1:{port}", "username": getpass.getuser(), "login": "interactive", "host_key": key}
        file = tmp_path / "hybrid.yml"
        cluster = {"type": "ssh", "config": {"nodes": [node]}}
        file.write_text(json.dumps({"version": "v1.0", "workflows": {}, "deployments": {"cluster": cluster}}))
        (settings,) = commands._hosts("cluster", [str(file)], None)
        yield Bed(OneTimeSite(set(), port=port), file, Person(monkeypatch), settings)
        for session in sessions.known():
            await commands._end(session.name)
        daemon.terminate()
        await daemon.wait()


async def test_openssh_with_a_code_of_pam(openssh: Bed, tmp_path: Path) -> None:
    await openssh.log_in("111")
    name = f"{getpass.getuser()}@127.0.0.1:{openssh.site.port}"
    assert openssh.person.asked == [f"{name} asks: Password: "]
    host = openssh.host()
    data = os.urandom(300_000)
    result = await host.run("cat; exit 5", stdin=data)
    assert (result.stdout, result.exit_code) == (data, 5)
    assert (await host.run("kill -TERM $$")).exit_code == 143
    results = await asyncio.gather(*(host.run(f"echo {n}") for n in range(20)))
    assert [each.out for each in results] == [f"{n}\n" for n in range(20)]
    await host.close()
    assert (tmp_path / "log").read_text().count("Accepted keyboard-interactive/pam") == 1
    await asyncio.to_thread(commands.end, "cluster")
    (tmp_path / "log").write_text("")
    with pytest.raises(LoginRefusedError, match="the session at .* ended at"):
        await openssh.host().run("echo")
    assert (tmp_path / "log").read_text().count("Connection from") == 0
    with pytest.raises(LoginRefusedError, match="refused the login"):
        await openssh.log_in("111", "111", "111")  # it was accepted once
    # a password that a host asks for by this way is sent once; if it is wrong, that is what is told
    (tmp_path / "password").write_text("wrong")
    host = openssh.host(interactive=False, password_file=str(tmp_path / "password"))
    with pytest.raises(LoginRefusedError, match="refused the login: Permission denied"):
        await host.run("echo")
