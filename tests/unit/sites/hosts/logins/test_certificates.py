# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Certificates that are valid for a day: a real sshd, which accepts nothing else, and certificates of ssh-keygen."""

from __future__ import annotations

import asyncio
import dataclasses
import getpass
import json
import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_hybrid.errors import LoginRefusedError
from airflow_hybrid.sites import logins
from airflow_hybrid.sites.hosts.ssh import refusals
from airflow_hybrid.sites.hosts.ssh.certificates import Certificate
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings
from airflow_hybrid.sites.logins import with_logins
from tests.needs import program
from tests.raising import raising
from tests.unit.sites.hosts.logins.one_time import Log, until

VALID, ENDED, FUTURE = "-1h:+52w", "-2d:-1d", "+1d:+2d"
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


def keygen(*args: str | Path) -> None:
    subprocess.run([program("ssh-keygen"), "-q", *map(str, args)], check=True, capture_output=True)


@dataclass
class Site:
    """A real sshd that trusts a certificate authority and no key. ``attempts``: connections that it has seen."""

    folder: Path
    settings: SshSettings
    key: Path

    @property
    def certificate(self) -> Path:
        return Path(f"{self.key}-cert.pub")

    @property
    def attempts(self) -> int:
        return (self.folder / "log").read_text().count("Connection from")

    def sign(self, validity: str, to: Path | None = None) -> Path:
        """A new certificate, beside the key or elsewhere."""
        keygen("-s", self.folder / "ca", "-I", "me", "-n", getpass.getuser(), "-V", validity, f"{self.key}.pub")
        if to is not None:
            self.certificate.replace(to)
        return to or self.certificate

    def host(self, **changes: object) -> SshHost:
        return SshHost("site", "node", dataclasses.replace(self.settings, **changes))  # type: ignore[arg-type]


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(refusals, "LOOK_S", 0.05)
    monkeypatch.setattr(logins, "AGAIN_S", 0.05)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    for name in ("ca", "host", "key"):
        keygen("-t", "ed25519", "-N", "", "-f", tmp_path / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nPidFile none\nLogLevel VERBOSE\nUsePAM no\n"
        f"StrictModes no\nTrustedUserCAKeys {tmp_path}/ca.pub\nAuthorizedKeysFile none\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin yes\nPerSourcePenalties no\n"
    )
    config = (tmp_path / "sshd_config").read_text()
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", 0o755, exist_ok=True)  # as sshd's own service does
    sshd = program("sshd")
    test = subprocess.run([sshd, "-t", "-f", tmp_path / "sshd_config"], capture_output=True, text=True)
    if "PerSourcePenalties" in test.stderr:  # an older sshd has none
        (tmp_path / "sshd_config").write_text(config.replace("PerSourcePenalties no\n", ""))
    command = [sshd, "-D", "-f", str(tmp_path / "sshd_config"), "-E", str(tmp_path / "log")]
    daemon = await asyncio.create_subprocess_exec(*command)
    log = tmp_path / "log"
    for _ in range(1200):
        if log.exists() and "listening on" in log.read_text():
            break
        await asyncio.sleep(0.1)
    else:
        raise TimeoutError(log)
    settings = SshSettings(
        host="127.0.0.1", port=port, username=getpass.getuser(), key_files=(str(tmp_path / "key"),),
        host_key=(tmp_path / "host.pub").read_text().strip(), login_wait_s=600.0,
    )  # fmt: skip
    yield Site(tmp_path, settings, tmp_path / "key")
    daemon.terminate()
    await daemon.wait()


async def test_a_certificate_beside_the_key_or_elsewhere_or_in_an_openssh_config_is_used(site: Site) -> None:
    config = site.folder / "ssh_config"
    config.write_text(f"IdentityFile {site.key}\nCertificateFile {site.folder}/elsewhere\n")
    elsewhere = site.sign(VALID, site.folder / "elsewhere")
    for changes in ({"cert_file": str(elsewhere)}, {"ssh_config": str(config), "key_files": ()}):
        host = site.host(**changes)
        assert (await host.run("echo in")).out == "in\n"
        # bulk data goes through OpenSSH, which needs the certificate, too
        argv = host.pipe_argv("echo by openssh")
        assert argv is not None
        assert subprocess.run(argv, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout == b"by openssh\n"
        await host.close()
    site.sign(VALID)
    host = site.host()
    assert (await host.run("echo in")).out == "in\n"
    await host.close()


async def test_a_connection_has_the_key_with_its_certificate(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(validity: str) -> SshHost:
        extra = {"private_key": site.key.read_text(), "certificate": site.sign(validity).read_text()}
        value = {"conn_type": "ssh", "host": "127.0.0.1", "login": getpass.getuser(), "extra": json.dumps(extra)}
        monkeypatch.setenv("AIRFLOW_CONN_SITE", json.dumps(value))
        return site.host(conn_id="site", host="", username=None, key_files=())

    host = connect(VALID)
    assert (await host.run("echo in")).out == "in\n"
    assert host.pipe_argv("true") is None, "nothing of it is written to disk for OpenSSH"
    await host.close()
    before, name = site.attempts, f"{getpass.getuser()}@127.0.0.1:{site.settings.port}"
    with pytest.raises(LoginRefusedError) as caught:
        await connect(ENDED).run("echo")
    assert re.sub(MOMENT, "MOMENT", str(caught.value)) == (
        f"site ({name}): echo: no login to {name} was tried: the certificate in the Airflow Connection"
        " 'site' expired at MOMENT\n"
        "  -> put the new one into the extra `certificate` of the Connection 'site'"
    )
    assert site.attempts == before


async def test_a_run_waits_for_a_new_certificate_without_any_attempt_and_goes_on(site: Site) -> None:
    path = site.sign(ENDED, site.folder / "given")
    host, log = site.host(cert_file=str(path)), Log()
    waiting = asyncio.ensure_future(with_logins(lambda: host.run("echo done"), log))
    for _ in range(1200):
        if log.lines:
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.3)
    assert site.attempts == 0 and not waiting.done()
    name = f"{getpass.getuser()}@127.0.0.1:{site.settings.port}"
    assert re.sub(MOMENT, "MOMENT", log.lines[0]) == (
        f"site ({name}): echo done: no login to {name} was tried: the certificate {path} expired at MOMENT\n"
        "  -> renew it in this file, with the site's own tool\n"
        "  The task waits since MOMENT, until MOMENT, without using retries, and goes on by itself as soon as the login"
        " works. If it should not wait: mark it as failed"
    )
    site.sign(VALID, path)
    assert (await asyncio.wait_for(waiting, 120)).out == "done\n"
    assert re.fullmatch(r"the login works again, after \d+ s", log.lines[1])
    await host.close()


@pytest.mark.parametrize(
    ("validity", "problem"),
    [(ENDED, "the certificate {} expired at MOMENT"), (FUTURE, "the certificate {} is not valid before MOMENT")],
)
async def test_a_refusal_names_the_certificate_beside_the_key(site: Site, validity: str, problem: str) -> None:
    path = site.sign(validity)
    with pytest.raises(LoginRefusedError) as caught:
        await site.host().run("echo")
    name = f"{getpass.getuser()}@127.0.0.1:{site.settings.port}"
    message = re.sub(r"Permission denied[^;]*", "Permission denied", re.sub(MOMENT, "MOMENT", str(caught.value)))
    assert message == (
        f"site ({name}): echo: {name} refused the login: Permission denied; {problem.format(path)}\n"
        "  -> renew it in this file, with the site's own tool"
    )
    assert site.attempts == 1, "the key itself may be accepted: it is tried"


async def test_a_certificate_that_is_not_there_is_waited_for(site: Site) -> None:
    path = site.folder / "nowhere"
    name = f"{getpass.getuser()}@127.0.0.1:{site.settings.port}"
    message = (
        f"site ({name}): echo: no login to {name} was tried: there is no certificate {path}\n"
        "  -> renew it in this file, with the site's own tool"
    )
    host = site.host(cert_file=str(path))
    with raising(LoginRefusedError, message):
        await host.run("echo")
    site.sign(VALID, path)
    assert (await with_logins(lambda: host.run("echo in"), Log())).out == "in\n"
    await host.close()


async def test_after_the_end_of_a_certificate_data_goes_through_the_open_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.sign(VALID)
    host = site.host()
    await host.run("true")
    assert host.pipe_argv("true") is not None
    monkeypatch.setattr(Certificate, "has_ended", property(lambda self: self.ends is not None))
    assert host.pipe_argv("true") is None, "OpenSSH would have to log in"
    assert (await host.run("echo in")).out == "in\n"
    await host.close()


async def test_a_key_that_is_being_written_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "UNUSABLE_FOR_S", 0.2)
    site.sign(ENDED)
    host, log = site.host(), Log()
    waiting = asyncio.ensure_future(with_logins(lambda: host.run("echo done"), log))
    await until(lambda: log.lines)
    key = site.key.read_bytes()
    site.key.write_bytes(key[:60])
    await until(lambda: len(log.lines) > 1 or waiting.done())
    assert log.lines[1].startswith("the renewed credentials cannot be used, and the task waits on: "), waiting
    site.key.write_bytes(key)
    site.sign(VALID)
    assert (await asyncio.wait_for(waiting, 120)).out == "done\n"
    await host.close()
