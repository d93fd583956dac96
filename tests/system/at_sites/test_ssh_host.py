# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""SshHost against real sshd: noise, limits, cuts, keys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from airflow_hybrid.errors import AuthenticationError, CommandError, ConfigError, HostKeyError, HostUnreachableError
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings
from tests import needs
from tests.system import sites

pytestmark = [pytest.mark.testbed]


@pytest.fixture
async def cloud() -> AsyncIterator[SshHost]:
    host = sites.host("cloud")
    yield host
    await host.close()


async def test_exit_code_streams_and_stdin_are_those_of_the_command(cloud: SshHost) -> None:
    result = await cloud.run("cat; echo err >&2; exit 3", stdin=b"a\0b\n")
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"a\0b\n", b"err\n")
    assert (await cloud.run("kill -9 $$")).exit_code == 137
    with pytest.raises(CommandError, match="no directory.*exit code 1"):
        (await cloud.run("echo broken >&2; exit 1")).check("no directory")


NASTY = 'it\'s "$HOME" `x` !! \\n %s\t-é\n#*?[a] {b,c} ~ ^ & ; end'


@pytest.mark.parametrize("shell", ["bash", "dash", "csh", "fish", "zsh"])
async def test_text_passes_any_login_shell_unchanged(cloud: SshHost, shell: str) -> None:
    import shlex

    path = inside_shell(shell)
    sites.inside(
        "cloud", f"usermod -s {path} clouduser 2>/dev/null || sed -i '/^clouduser:/s|[^:]*$|{path}|' /etc/passwd"
    )
    try:
        result = await cloud.run(f"printf %s {shlex.quote(NASTY)}; exit 5")
        assert (result.out, result.exit_code) == (NASTY, 5)
        long = f"# {'x' * 200_000}\nprintf %s {shlex.quote(NASTY)}; cat; exit 6"
        result = await cloud.run(long, stdin=b"tail")
        assert (result.out, result.exit_code) == (NASTY + "tail", 6)
    finally:
        sites.inside("cloud", "sed -i '/^clouduser:/s|[^:]*$|/bin/bash|' /etc/passwd")


def inside_shell(shell: str) -> str:
    path = sites.inside("cloud", f"command -v {shell} || :").strip()
    if not path:
        needs.unavailable("this test", shell, f"apt-get install {shell}")
    return path


@contextlib.contextmanager
def noisy(text: str) -> Iterator[None]:
    saved = sites.inside("cloud", "cat /home/clouduser/.bashrc 2>/dev/null || :")
    sites.inside("cloud", f"cat > /home/clouduser/.bashrc <<'X'\n{text}\nX\n")
    try:
        yield
    finally:
        sites.inside("cloud", f"cat > /home/clouduser/.bashrc <<'X'\n{saved}\nX\n")


async def test_a_noisy_bashrc_reaches_neither_stdout_nor_stderr(cloud: SshHost) -> None:
    with noisy("echo Welcome; printf 'no line end'; echo warning >&2"):
        result = await cloud.run("echo out; echo err >&2")
        assert (result.stdout, result.stderr) == (b"out\n", b"err\n")
        async with cloud.stream("cat; echo err >&2; exit 2") as stream:
            await stream.write(b"data")
            assert await stream.read() == b"data"
            closed = await stream.close()
        assert (closed.exit_code, closed.stderr) == (2, b"err\n")
        argv = cloud.pipe_argv("cat; exit 4")
        assert argv is not None
        piped = subprocess.run(argv, input=b"\0data\n", capture_output=True, timeout=120)
        assert (piped.returncode, piped.stdout) == (4, b"\0data\n")


async def test_a_login_shell_that_runs_nothing_is_named(cloud: SshHost) -> None:
    with noisy("echo This account is closed.; exit 1"), pytest.raises(CommandError, match=r"(?s)did not run.*closed"):
        await cloud.run("true")


async def test_many_commands_share_one_connection_and_few_sessions(cloud: SshHost) -> None:
    before = logins("cloud")
    results = await asyncio.gather(*(cloud.run(f"echo {n}; sleep 0.05") for n in range(60)))
    assert [r.out for r in results] == [f"{n}\n" for n in range(60)]
    assert logins("cloud") - before == 1


async def test_jump_hosts_that_lead_to_each_other_are_not_followed_without_end(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host one\n  ProxyJump two\nHost two\n  ProxyJump one\n")
    host = SshHost("loop", "one", SshSettings(host="one", username="me", ssh_config=str(config)))
    with pytest.raises(ConfigError) as caught:
        await asyncio.wait_for(host.run("true"), 20)
    assert str(caught.value) == (
        "the connection to two goes through more than 8 jump hosts\n"
        "  -> is there a circle? See `tunnel` in the hybrid file, and ProxyJump in the OpenSSH config"
    )


async def test_an_unknown_host_name_is_said_to_be_one() -> None:
    settings = sites.settings("cloud", host="no-such-host.invalid")
    with pytest.raises(HostUnreachableError) as caught:
        await SshHost("cloud", "x", settings).run("true")
    assert caught.value.message == "no connection to clouduser@no-such-host.invalid: Name or service not known"


def logins(site: str) -> int:
    return sites.inside(site, "grep -c 'Accepted publickey' /var/log/sshd.log || :").count("\n") and int(
        sites.inside(site, "grep -c 'Accepted publickey' /var/log/sshd.log || :")
    )


@contextlib.contextmanager
def sshd(site: str, option: str) -> Iterator[None]:
    restart = f"kill $(cat /run/sshd.pid); sleep 0.3; {sites.START_SSHD}"
    sites.inside(site, f"{restart} {option}")
    try:
        yield
    finally:
        sites.inside(site, restart)


async def test_sessions_that_sshd_refuses_are_waited_for() -> None:
    with sshd("cloud", "-o MaxSessions=2"):
        host = sites.host("cloud")
        results = await asyncio.gather(*(host.run(f"sleep 0.2; echo {n}") for n in range(12)))
        assert [r.exit_code for r in results] == [0] * 12
        await host.close()


async def test_a_command_that_is_too_slow_is_ended_there_too(cloud: SshHost) -> None:
    started = time.monotonic()
    with pytest.raises(CommandError, match="no answer within 0.5 s"):
        await cloud.run("sleep 4321", timeout_s=0.5)
    assert time.monotonic() - started < 3
    await asyncio.sleep(0.3)
    assert (await cloud.run("pgrep -f 'sleep 4321'$")).exit_code == 1


async def test_leaving_a_stream_early_ends_the_command(cloud: SshHost) -> None:
    async with cloud.stream("exec sleep 4322") as stream:
        assert stream
    await asyncio.sleep(0.3)
    assert (await cloud.run("pgrep -f 'sleep 4322'$")).exit_code == 1


async def test_a_lost_connection_is_an_error_of_the_running_command_and_the_next_one_reconnects(cloud: SshHost) -> None:
    running = asyncio.ensure_future(cloud.run("echo once >> lost.log; sleep 30"))
    await asyncio.sleep(0.5)
    sites.end_sessions("cloud")
    with pytest.raises(HostUnreachableError, match="its result is unknown"):
        await running
    assert (await cloud.run("cat lost.log; rm lost.log")).out == "once\n"


async def test_a_cut_is_noticed_and_healed(monkeypatch: pytest.MonkeyPatch) -> None:
    host = sites.host("cloud", keepalive_s=1.0, connect_timeout_s=2.0)
    assert (await host.run("true")).exit_code == 0
    sites.control("cut", "cloud")
    try:
        started = time.monotonic()
        with pytest.raises(HostUnreachableError):
            await host.run("true")
        with pytest.raises(HostUnreachableError, match="did not answer within 2 s"):
            await host.run("true")
        assert time.monotonic() - started < 10
    finally:
        sites.control("heal", "cloud")
    await asyncio.sleep(4.1)  # the pause after three attempts
    assert (await host.run("echo back")).out == "back\n"
    await host.close()


async def test_sshd_that_is_down_is_unreachable() -> None:
    sites.inside("edge", "p=$(cat /run/sshd.pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.02; done")
    try:
        with pytest.raises(HostUnreachableError, match="no connection to"):
            await sites.host("edge").run("true")
    finally:
        sites.inside("edge", sites.START_SSHD)


def public_key(site: str) -> str:
    address = sites.need(site)["sites"][site]["host"]
    for line in Path(sites.need()["known_hosts"]).read_text().splitlines():
        names, key = line.split(" ", 1)
        if address in names.split(","):
            return key
    raise LookupError(site)


async def test_a_host_key_may_be_given_in_place_of_known_hosts() -> None:
    host = sites.host("cloud", known_hosts=(), host_key=public_key("cloud"))
    assert (await host.run("echo ok")).out == "ok\n"
    argv = host.pipe_argv("echo piped")
    assert argv is not None
    assert subprocess.run(argv, capture_output=True, timeout=120, stdin=subprocess.DEVNULL).stdout == b"piped\n"
    await host.close()


@pytest.mark.parametrize("trust", ["another key", "no key"])
async def test_an_untrusted_host_key_is_refused_with_what_to_do(tmp_path: Path, trust: str) -> None:
    if trust == "another key":
        host = sites.host("cloud", known_hosts=(), host_key=public_key("edge"))
    else:
        (tmp_path / "known").write_text("")
        host = sites.host("cloud", known_hosts=(str(tmp_path / "known"),))
    with pytest.raises(HostKeyError, match=r"(?s)clouduser@.*airflow hybrid check") as caught:
        await host.run("true")
    assert not caught.value.retryable


async def test_a_config_file_cannot_switch_the_host_key_check_off(tmp_path: Path) -> None:
    config = tmp_path / "config"
    described = Path(sites.need()["ssh_config"]).read_text()
    lines = [line for line in described.splitlines() if "KnownHosts" not in line and "StrictHost" not in line]
    config.write_text("Host *\n  UserKnownHostsFile none\n  StrictHostKeyChecking no\n" + "\n".join(lines) + "\n")
    host = SshHost("cloud", "cloud", SshSettings(host="cloud", ssh_config=str(config)))
    with pytest.raises(HostKeyError, match="UserKnownHostsFile none"):
        await host.run("true")


async def test_a_refused_key_is_an_authentication_error_and_is_not_tried_over_and_over(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    host = sites.host("cloud", key_files=(str(key),))
    before = sites.inside("cloud", "wc -l < /var/log/sshd.log")
    for _ in range(5):
        with pytest.raises(AuthenticationError, match="clouduser@.*refused the login"):
            await host.run("true")
    assert int(sites.inside("cloud", "wc -l < /var/log/sshd.log")) - int(before) <= 3


async def test_an_encrypted_key_needs_and_takes_its_passphrase_file(tmp_path: Path) -> None:
    key, secret = tmp_path / "key", tmp_path / "secret"
    key.write_bytes(Path(sites.settings("cloud").key_files[0]).read_bytes())
    key.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", str(key)], check=True)
    secret.write_text("open sesame\n")
    host = sites.host("cloud", key_files=(str(key),), passphrase_file=str(secret))
    assert (await host.run("echo in")).out == "in\n"
    assert host.pipe_argv("true") is None
    await host.close()
    with pytest.raises(AuthenticationError):
        await sites.host("cloud", key_files=(str(key),)).run("true")


async def test_an_encrypted_key_may_be_in_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = str(tmp_path / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        while not os.path.exists(socket):
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", sites.settings("cloud").key_files[0]], check=True)
        host = sites.host("cloud", key_files=())
        assert (await host.run("echo in")).out == "in\n"
        argv = host.pipe_argv("echo piped")
        assert argv and subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL).stdout == b"piped\n"
        await host.close()
    finally:
        agent.terminate()
        agent.wait()


async def test_a_host_is_reached_through_another_one() -> None:
    host = sites.host("edge", tunnel=sites.settings("cloud"))
    result = await host.run("hostname; echo $SSH_CLIENT")
    name, client = result.out.splitlines()
    assert name == "edge" and client.startswith(sites.settings("cloud").host + " ")
    argv = host.pipe_argv("hostname")
    assert argv and subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL).stdout == b"edge\n"
    await host.close()


async def test_aliases_and_proxy_jump_of_an_openssh_config_file_hold(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host far\n  ProxyJump cloud\n  HostName {sites.settings('edge').host}\n  User edgeuser\n"
                      f"Match all\nInclude {sites.need()['ssh_config']}\n"
                      f"Host far\n  IdentityFile {sites.settings('edge').key_files[0]}\n"
                      f"  UserKnownHostsFile {sites.need()['known_hosts']}\n")  # fmt: skip
    host = SshHost("edge", "far", SshSettings(host="far", ssh_config=str(config)))
    result = await host.run("hostname; echo $SSH_CLIENT")
    assert result.out.startswith("edge\n" + sites.settings("cloud").host)
    argv = host.pipe_argv("hostname")
    assert argv and subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL).stdout == b"edge\n"
    await host.close()


async def test_a_host_object_serves_another_event_loop(cloud: SshHost) -> None:
    assert (await cloud.run("echo 1")).out == "1\n"

    def other() -> str:
        host = sites.host("cloud")

        async def twice() -> str:
            return (await host.run("echo 2")).out

        first = asyncio.run(twice())
        return first + asyncio.run(twice())

    assert await asyncio.to_thread(other) == "2\n2\n"


async def test_the_private_config_for_openssh_is_private_and_removed(cloud: SshHost) -> None:
    host = sites.host("cloud")
    assert host.pipe_argv("true") is None
    await host.run("true")
    assert host.pipe_argv("true") is not None
    folder = host._private
    assert folder and os.stat(folder).st_mode & 0o777 == 0o700
    assert all(os.stat(os.path.join(folder, name)).st_mode & 0o777 == 0o600 for name in os.listdir(folder))
    await host.close()
    del host
    assert not os.path.exists(folder)
