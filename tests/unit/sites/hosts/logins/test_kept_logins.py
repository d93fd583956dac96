# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""One-time passwords: a person logs in, a process keeps the connection, and Airflow's processes work through it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from airflow_hybrid.cli import logins as commands
from airflow_hybrid.errors import ConfigError, HostUnreachableError, LoginRefusedError
from airflow_hybrid.sites.hosts.ssh import sessions
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings
from airflow_hybrid.sites.logins import with_logins
from tests.raising import raising
from tests.unit.sites.hosts.logins.one_time import Bed, Log, OneTimeSite, Person, own_folders, serving, until

MACHINE = socket.gethostname()
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


@pytest.fixture
async def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bed]:
    with own_folders(monkeypatch, tmp_path), serving(OneTimeSite({"111", "222", "333"})) as site:
        config = {"username": "anna", "login": "interactive", "host_key": site.host_key}
        file = tmp_path / "hybrid.yml"
        lines = [f"      {key}: {value}" for key, value in config.items()]
        file.write_text(
            "version: v1.0\nworkflows: {}\ndeployments:\n  cluster:\n    type: ssh\n    config:\n"
            + "\n".join([*lines, f"      nodes: ['127.0.0.1:{site.port}']"])
            + "\n  queue: {type: slurm, wraps: cluster}\n"
        )
        settings = SshSettings(
            host="127.0.0.1", port=site.port, username="anna", host_key=site.host_key, interactive=True
        )
        yield Bed(site, file, Person(monkeypatch), settings)
        for session in sessions.known():
            await commands._end(session.name)


async def test_a_run_waits_for_a_person_makes_no_attempt_and_goes_on(bed: Bed, capsys: Any) -> None:
    host, log = bed.host(), Log()
    waiting = asyncio.ensure_future(with_logins(lambda: host.run("echo done"), log))
    await until(lambda: log.lines)
    await asyncio.sleep(0.3)
    assert bed.site.logins == 0
    assert re.sub(MOMENT, "MOMENT", log.lines[0]) == (
        f"cluster ({bed.name}): echo done: nobody has logged in to {bed.name} on this machine ({MACHINE})\n"
        f"  -> as the user of Airflow on {MACHINE}: airflow hybrid login cluster\n"
        "  The task waits since MOMENT, until MOMENT, without using retries, and goes on by itself as soon as the login"
        " works. If it should not wait: mark it as failed"
    )
    await bed.log_in("secret", "111", site="queue")
    assert (await asyncio.wait_for(waiting, 120)).out == "done\n"
    assert bed.person.asked == [f"{bed.name} asks: Password: ", f"{bed.name} asks: Verification code: "]
    assert capsys.readouterr().out == (
        f"| Two things are needed\n{bed.name}: logged in, for Airflow's processes on {MACHINE}\n"
    )
    assert bed.site.logins == 1 and bed.site.tried == [["secret", "111"]]
    # another process, and a second login
    other = bed.host()
    assert (await other.run("echo other")).out == "other\n"
    await bed.log_in()
    assert re.sub(MOMENT, "MOMENT", capsys.readouterr().out) == f"{bed.name}: logged in since MOMENT; nothing to do\n"
    assert bed.site.logins == 1
    await host.close()
    await other.close()


async def test_the_end_of_a_session_is_told_with_its_time(bed: Bed) -> None:
    await bed.log_in("secret", "111")
    host = bed.host()
    assert (await host.run("echo 1")).out == "1\n"
    bed.site.end_connections()
    (session,) = sessions.known()
    await until(lambda: (sessions.read(session.name) or session).ended)

    async def run() -> None:
        with pytest.raises(LoginRefusedError) as caught:
            while True:
                try:
                    await host.run("echo 2")
                except HostUnreachableError:
                    await asyncio.sleep(0.1)
        assert re.sub(MOMENT, "MOMENT", str(caught.value)) == (
            f"cluster ({bed.name}): echo 2: the session at {bed.name}, on this machine ({MACHINE}), ended at MOMENT\n"
            f"  -> as the user of Airflow on {MACHINE}: airflow hybrid login cluster"
        )

    await asyncio.wait_for(run(), 120)
    assert bed.site.logins == 1 and bed.site.tried == [["secret", "111"]]
    await bed.log_in("secret", "222")
    assert (await with_logins(lambda: host.run("echo 3"), Log())).out == "3\n"
    await host.close()


async def test_commands_work_as_on_a_connection_of_ones_own(bed: Bed) -> None:
    await bed.log_in("secret", "111")
    host = bed.host()
    data = os.urandom(3_000_000)
    result = await host.run("cat; echo error >&2; exit 7", stdin=data)
    assert (result.stdout, result.stderr, result.exit_code) == (data, b"error\n", 7)
    results = await asyncio.gather(*(host.run(f"sleep 0.1; echo {n}") for n in range(30)))
    assert [each.out for each in results] == [f"{n}\n" for n in range(30)]
    assert (await host.run("kill -KILL $$")).exit_code == 137
    async with host.stream("wc -c") as stream:
        await stream.write(data)
        assert (await stream.close()).exit_code == 0
    assert host.pipe_argv("true") is None, "OpenSSH cannot log in"
    fingerprint = asyncssh.import_public_key(bed.site.host_key).get_fingerprint()
    assert await host.host_key() == f"ssh-ed25519 {fingerprint}"
    assert bed.site.logins == 1
    await host.close()


async def test_a_command_that_is_given_up_is_killed_there(bed: Bed, tmp_path: Path) -> None:
    await bed.log_in("secret", "111")
    host = bed.host()
    mark = tmp_path / "pid"
    running = asyncio.ensure_future(host.run(f"echo $$ >{mark}; sleep 1000"))
    await until(lambda: mark.exists() and mark.read_text())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    def gone() -> bool:
        try:
            os.kill(int(mark.read_text()), 0)
        except ProcessLookupError:
            return True
        return False

    await until(gone)
    await host.close()


async def test_commands_that_are_given_up_while_they_start_do_not_go_on(bed: Bed, tmp_path: Path) -> None:
    await bed.log_in("secret", "111")
    host = bed.host()
    await host.run("true")
    for number in range(20):
        running = asyncio.ensure_future(host.run(f"echo $$ >{tmp_path}/{number}; sleep 1000"))
        await asyncio.sleep(number * 0.003)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(1.0)

    def all_are_gone() -> bool:
        return not any(Path(f"/proc/{file.read_text().strip() or '0'}").exists() for file in tmp_path.glob("[0-9]*"))

    await until(all_are_gone)
    await host.close()


async def test_a_site_that_is_not_marked_is_not_asked_again_when_it_wants_a_person(bed: Bed, tmp_path: Path) -> None:
    host = bed.host(interactive=False)
    message = (
        f"cluster ({bed.name}): echo: nobody has logged in to {bed.name} on this machine ({MACHINE})\n"
        f"  -> as the user of Airflow on {MACHINE}: airflow hybrid login cluster"
    )
    with raising(LoginRefusedError, message):
        await host.run("echo")
    assert (bed.site.logins, bed.site.tried) == (1, [])
    # also after the pause that other refusals have
    host._connection._refusals.forget()
    with raising(LoginRefusedError, message):
        await host.run("echo")
    assert (bed.site.logins, bed.site.tried) == (1, [])
    (tmp_path / "pw").write_text("secret")
    host = bed.host(interactive=False, password_file=str(tmp_path / "pw"))
    asks = "; at login it asks 'Password:', which only a person can answer\n"
    with raising(LoginRefusedError, message.replace("\n", asks, 1)):
        await host.run("echo")
    assert bed.site.tried == []
    # a login for the site as it is marked is another one
    await bed.log_in("secret", "111")
    host = bed.host(interactive=False)
    assert (await host.run("echo in")).out == "in\n"
    await host.close()


async def test_wrong_answers_are_told_and_not_sent_again(bed: Bed) -> None:
    with pytest.raises(LoginRefusedError) as caught:
        await bed.log_in("secret", "no", "secret", "no", "secret", "no")
    assert str(caught.value).startswith(f"{bed.name} refused the login: Permission denied")
    assert bed.site.logins == 1 and len(bed.site.tried) <= 3 and sessions.known() == []


async def test_a_gateway_with_one_time_passwords_is_gone_through(bed: Bed, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(tmp_path / "key"))
    with serving(OneTimeSite(set(), key=key)) as inner:
        gateway = dataclasses.replace(bed.settings)
        behind = SshSettings(
            host="127.0.0.1", port=inner.port, username="ben", host_key=inner.host_key,
            key_files=(str(tmp_path / "key"),), tunnel=gateway,
        )  # fmt: skip
        host = SshHost("inner", "node", behind)
        with pytest.raises(LoginRefusedError, match="nobody has logged in to anna@"):
            await host.run("echo")
        await bed.log_in("secret", "111")
        assert (await with_logins(lambda: host.run("echo through"), Log())).out == "through\n"
        assert (bed.site.logins, inner.logins) == (1, 1)
        await host.close()


async def test_the_connection_to_a_gateway_is_kept_for_others_behind_it(bed: Bed, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(tmp_path / "key"))
    with serving(OneTimeSite(set(), key=key)) as inner:
        gateway = {"hostname": f"127.0.0.1:{bed.site.port}", "username": "anna", "login": "interactive"}
        node = {"hostname": f"127.0.0.1:{inner.port}", "username": "ben", "sshKey": "key", "host_key": inner.host_key}
        tunnel = {**gateway, "host_key": bed.site.host_key}
        behind = {name: {"type": "ssh", "config": {"nodes": [{**node, "username": name}], "tunnel": tunnel}}
                  for name in ("ben", "carla")}  # fmt: skip
        bed.file.write_text(json.dumps({"version": "v1.0", "workflows": {}, "deployments": behind}))
        await bed.log_in("secret", "111", site="ben")
        assert sorted(session.at for session in sessions.known()) == [bed.name, f"ben@127.0.0.1:{inner.port}"]
        (settings,) = commands._hosts("carla", [str(bed.file)], None)
        host = SshHost("carla", "node", settings)
        assert (await host.run("echo through")).out == "through\n"
        assert (bed.site.logins, inner.logins) == (1, 2)
        await host.close()


async def test_sessions_are_listed_and_ended(bed: Bed, capsys: Any) -> None:
    assert list(commands.table()) == [f"nobody has logged in on this machine ({MACHINE})"]
    await bed.log_in("secret", "111")

    async def shown() -> list[str]:
        lines = await asyncio.to_thread(lambda: list(commands.table()))
        return [re.sub(" +", " ", re.sub(MOMENT, "MOMENT", line)) for line in lines]

    assert await shown() == ["DEPLOYMENT HOST SINCE STATE", f"cluster {bed.name} MOMENT open"]
    capsys.readouterr()
    await asyncio.to_thread(commands.end, "cluster")
    assert capsys.readouterr().out == "cluster: ended\n"
    (session,) = sessions.known()
    await until(lambda: (sessions.read(session.name) or session).ended)
    assert await shown() == ["DEPLOYMENT HOST SINCE STATE", f"cluster {bed.name} MOMENT ended at MOMENT"]
    with raising(ConfigError, f"nobody is logged in for `cluster` on this machine ({MACHINE})"):
        await asyncio.to_thread(commands.end, "cluster")


async def test_a_folder_that_others_may_enter_is_refused(bed: Bed) -> None:
    await bed.log_in("secret", "111")
    os.chmod(sessions.folder(), 0o750)
    message = (
        f"the folder of kept logins {sessions.folder()} is open to other users\n"
        "  -> it must belong to the user of Airflow, with mode 0700: see `login_dir` in docs/reference/configuration.md"
    )
    with raising(ConfigError, message):
        await bed.host().run("echo")
    with raising(ConfigError, message):
        await bed.log_in()
    os.chmod(sessions.folder(), 0o700)


async def test_the_socket_of_another_user_is_not_used(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    await bed.log_in("secret", "111")
    (session,) = sessions.known()
    path = sessions.socket_path(session.name)
    message = (
        f"the socket {path} is that of another user's process\n"
        "  -> it must belong to the user of Airflow, with mode 0700: see `login_dir` in docs/reference/configuration.md"
    )
    with monkeypatch.context() as other:
        other.setattr(sessions, "peer_of", lambda sock: sessions.Peer(1, os.geteuid() + 1))
        with raising(ConfigError, message):
            await bed.host().run("echo")


async def test_a_folder_with_a_long_path_keeps_nobody_from_logging_in(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__LOGIN_DIR", str(long))
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(tmp_path / "key"))
    with serving(OneTimeSite(set(), key=key)) as site:
        settings = SshSettings(
            host="127.0.0.1", port=site.port, username="ben", host_key=site.host_key, key_files=(str(tmp_path / "key"),)
        )
        host = SshHost("site", "node", settings)
        assert (await host.run("echo in")).out == "in\n"
        await host.close()
    path = re.escape(f"{long}/{MACHINE}/")
    with pytest.raises(ConfigError, match=f"the path of a kept login is too long for a socket: {path}"):
        await bed.log_in("secret", "111")
