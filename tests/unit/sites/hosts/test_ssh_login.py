# Licensed under the Apache License, Version 2.0; see the LICENSE file.
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncssh
import pytest

from airflow_hybrid.errors import AuthenticationError, ConfigError, HostKeyError
from airflow_hybrid.sites.hosts.ssh import login as ssh_login
from airflow_hybrid.sites.hosts.ssh.login import Login, connect_options, from_connection, read_login
from airflow_hybrid.sites.hosts.ssh.openssh import openssh_argv
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings
from tests.raising import raising

KEY = asyncssh.generate_private_key("ssh-ed25519")
PUBLIC = KEY.export_public_key().decode().strip()


def connection(**fields: Any) -> Any:
    extra = fields.pop("extra", {})
    values = {"host": "example.org", "port": None, "login": "me", "password": None, "extra_dejson": extra, **fields}
    return SimpleNamespace(**values)


def test_a_connection_fills_in_what_the_file_leaves_open() -> None:
    conn = connection(port=2222, password="s3cret", extra={"host_key": PUBLIC, "conn_timeout": "5", "key_file": "/k"})
    login = from_connection(SshSettings(conn_id="c"), conn)
    assert (login.settings.host, login.settings.port, login.settings.username) == ("example.org", 2222, "me")
    assert (login.settings.host_key, login.settings.key_files, login.connect_timeout_s) == (PUBLIC, ("/k",), 5.0)
    own = from_connection(SshSettings(conn_id="c", host="other", username="you"), conn)
    assert (own.settings.host, own.settings.username) == ("other", "you")


def test_secrets_are_not_shown() -> None:
    login = from_connection(SshSettings(conn_id="c"), connection(password="s3cret", extra={"private_key": "PEM"}))
    assert "s3cret" not in repr(login) and "PEM" not in repr(login)
    assert "s3cret" not in str(SshSettings(conn_id="c"))


@pytest.mark.parametrize("key", ["no_host_key_check", "ignore_hostkey_verification", "allow_host_key_change"])
def test_a_connection_cannot_switch_the_host_key_check_off(key: str) -> None:
    message = (
        f"Airflow Connection 'c' has {key}: true, which is not supported here\n"
        "  -> put the key of the host (`ssh-keyscan -t ed25519 HOST`, compared once) in the extra host_key"
    )
    with raising(HostKeyError, message):
        from_connection(SshSettings(conn_id="c"), connection(extra={key: "true"}))
    from_connection(SshSettings(conn_id="c"), connection(extra={key: "false"}))


def test_an_inline_key_is_used_alone_and_never_given_to_openssh(tmp_path: Path) -> None:
    pem = KEY.export_private_key(passphrase="pw").decode()
    extra = {"private_key": pem, "private_key_passphrase": "pw"}
    login = from_connection(SshSettings(conn_id="c"), connection(extra=extra))
    options = connect_options(login)
    assert options["client_keys"][0].public_data == KEY.public_data and options["agent_path"] is None
    assert openssh_argv([login], str(tmp_path)) is None and not list(tmp_path.iterdir())
    wrong = from_connection(SshSettings(conn_id="c"), connection(extra={**extra, "private_key_passphrase": "no"}))
    with raising(AuthenticationError, "the private key of me@example.org cannot be decrypted: Incorrect passphrase"):
        connect_options(wrong)


def test_disabled_algorithms_and_ciphers_hold() -> None:
    extra = {"disabled_algorithms": {"kex": ["a", "b"], "unknown": ["c"]}, "ciphers": ["aes256-ctr"]}
    options = connect_options(from_connection(SshSettings(conn_id="c"), connection(extra=extra)))
    assert options["kex_algs"] == "-a,b" and options["encryption_algs"] == ["aes256-ctr"]


@pytest.mark.parametrize(
    "text", [PUBLIC, PUBLIC + " comment", PUBLIC.split()[1]], ids=["public key", "with comment", "without type"]
)
def test_a_host_key_is_read_in_the_forms_of_the_ssh_provider(text: str) -> None:
    assert ssh_login.parse_host_key(text).public_data == KEY.public_data


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 nonsense", "AAAA", "ssh-dss AAAA"])
def test_what_is_no_host_key_is_refused(text: str) -> None:
    message = "host_key is not a public key in OpenSSH's format\n  -> for example: ssh-ed25519 AAAAC3Nza..."
    with raising(ConfigError, message):
        ssh_login.parse_host_key(text)


async def test_files_of_secrets_are_read_when_connecting(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("open sesame\n")
    login = await read_login(SshSettings(host="x", password_file=str(tmp_path / "pw")))
    assert login.password == "open sesame"
    nowhere = tmp_path / "nowhere"
    with raising(AuthenticationError, f"cannot read the secret in {nowhere}: No such file or directory"):
        await read_login(SshSettings(host="x", passphrase_file=str(nowhere)))


async def test_airflow_connections_are_read_by_their_id(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"conn_type": "ssh", "host": "example.org", "login": "me", "password": "pw", "extra": {"conn_timeout": 3}}
    monkeypatch.setenv("AIRFLOW_CONN_MY_HPC", json.dumps(value))
    login = await read_login(SshSettings(conn_id="my_hpc"))
    assert (login.settings.host, login.password, login.connect_timeout_s) == ("example.org", "pw", 3.0)
    message = (
        "the Airflow Connection 'nothing' does not exist\n"
        "  -> airflow connections add nothing --conn-type ssh --conn-host HOST --conn-login USER ..."
    )
    with raising(ConfigError, message):
        await read_login(SshSettings(conn_id="nothing"))


def test_openssh_gets_a_private_config_that_always_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    inner = SshSettings(host="inner", port=2200, username="me", key_files=("/a key%",), host_key=PUBLIC)
    chain = [Login(inner), Login(SshSettings(host="jump", known_hosts=("/kh",)))]
    argv = openssh_argv(chain, str(tmp_path))
    assert argv is not None
    shown = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True).stdout
    lines = set(shown.splitlines())
    assert {"hostname inner", "port 2200", "user me", "identityfile /a key%%", "batchmode yes"} <= lines
    assert {"stricthostkeychecking true", "proxyjump airflow-hybrid-1"} <= lines
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert files and all(os.stat(path).st_mode & 0o777 == 0o600 for path in files)


def test_the_users_config_file_cannot_loosen_what_openssh_checks(tmp_path: Path) -> None:
    config = tmp_path / "c"
    config.write_text("Host hpc\n  HostName real.example\nHost *\n  StrictHostKeyChecking no\n  ForwardAgent yes\n")
    argv = openssh_argv([Login(SshSettings(host="hpc", ssh_config=str(config)))], str(tmp_path))
    assert argv is not None
    shown = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"hostname real.example", "stricthostkeychecking true", "forwardagent no"} <= set(shown)


def test_a_config_file_without_known_hosts_is_refused(tmp_path: Path) -> None:
    settings = SshSettings(host="hpc", ssh_config=str(tmp_path / "c"))
    with raising(ConfigError, f"no such file: ssh_config {tmp_path}/c"):
        ssh_login.known_hosts_files(settings, None)
    (tmp_path / "c").write_text("")
    message = (
        f"{tmp_path}/c has `UserKnownHostsFile none` for hpc\n"
        "  -> host keys are always checked: name a known_hosts file there, or set known_hosts or host_key"
    )
    with raising(HostKeyError, message):
        ssh_login.known_hosts_files(settings, None)
    with raising(ConfigError, "no such file: known_hosts /nowhere"):
        ssh_login.known_hosts_files(SshSettings(host="x", known_hosts=("/nowhere",)), ())
