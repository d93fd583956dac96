# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A login that is refused: who waits, how often the host is asked, and what goes on when the credentials work again."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from airflow_hybrid.config import parse_deployments
from airflow_hybrid.errors import LoginRefusedError, Refusal
from airflow_hybrid.operators.base import HybridTask
from airflow_hybrid.operators.identity import REFUSED
from airflow_hybrid.sites import logins
from airflow_hybrid.sites.hosts.ssh import refusals
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from airflow_hybrid.sites.hosts.ssh.settings import SshSettings, nodes_of
from airflow_hybrid.sites.logins import with_logins
from tests.unit.sites.hosts.logins.one_time import Log, until


@dataclass
class Site:
    """A real SSH server of one account; its password may change. ``attempts``: the passwords that were tried."""

    settings: SshSettings
    password_file: Path
    password: str = "right"
    attempts: list[str] = field(default_factory=list)

    def host(self, login_wait_s: float = 60.0) -> SshHost:
        values = {**vars(self.settings), "login_wait_s": login_wait_s}
        return SshHost("site", "node", SshSettings(**values))


async def _run(process: asyncssh.SSHServerProcess[bytes]) -> None:
    shell = await asyncio.create_subprocess_exec("/bin/sh", "-c", process.command or "", stdout=-1, stderr=-1, stdin=-1)
    out, err = await shell.communicate(b"")
    process.stdout.write(out)
    process.stderr.write(err)
    process.exit(shell.returncode or 0)


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(refusals, "LOOK_S", 0.05)
    monkeypatch.setattr(logins, "AGAIN_S", 0.05)
    monkeypatch.setenv("HOME", str(tmp_path))
    key = asyncssh.generate_private_key("ssh-ed25519")
    held: list[Site] = []

    class Account(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def kbdint_auth_supported(self) -> bool:
            return False

        def validate_password(self, username: str, password: str) -> bool:
            held[0].attempts.append(password)
            return password == held[0].password

    server = await asyncssh.create_server(
        Account, "127.0.0.1", 0, server_host_keys=[key], process_factory=_run, encoding=None
    )
    file = tmp_path / "password"
    file.write_text("expired")
    (trusted,) = (key.export_public_key().decode().strip(),)
    settings = SshSettings(
        host="127.0.0.1", port=server.get_port(), username="anna", password_file=str(file), host_key=trusted
    )
    held.append(Site(settings, file))
    yield held[0]
    server.close()
    await server.wait_closed()


async def test_many_wait_with_one_attempt_and_go_on_when_the_credentials_are_renewed(site: Site) -> None:
    host, log, results = site.host(), Log(), []

    async def work() -> None:
        results.append((await host.run("echo done")).out)

    waiting = [asyncio.ensure_future(with_logins(work, log)) for _ in range(5)]
    await until(lambda: len(log.lines) == 5)
    for _ in range(20):  # while they ask again and again, the host is left alone
        await asyncio.sleep(0.05)
    assert site.attempts == ["expired"] and results == []
    site.password_file.write_text("right")
    await asyncio.wait_for(asyncio.gather(*waiting), 120)
    assert site.attempts == ["expired", "right"] and results == ["done\n"] * 5
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    port = site.settings.port
    at = rf"anna@127\.0\.0\.1:{port}"
    assert re.fullmatch(
        rf"site \({at}\): echo done: {at} refused the login: Permission denied.*\n"
        r"  -> check user name and key: .* If it has worked before: the certificate, key or password has expired;"
        r" renew it in its file\n"
        rf"  The task waits since {moment}, until {moment}, without using retries, and goes on by itself as soon as the"
        r" login works\. If it should not wait: mark it as failed",
        log.lines[0],
    )
    assert [re.sub(r"\d+ s", "n s", line) for line in log.lines[5:]] == ["the login works again, after n s"] * 5
    await host.close()


async def test_a_login_that_was_lost_while_it_was_used_is_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "REFUSED_FOR_S", 0.2)  # the same password works again: nothing has changed here
    site.password_file.write_text("right")
    host, log = site.host(), Log()
    assert (await host.run("echo 1")).out == "1\n"
    site.password = "renewed elsewhere"
    lost = await host._connection.connected()
    lost.abort()
    await lost.wait_closed()  # a command that was running would end with the connection
    waiting = asyncio.ensure_future(with_logins(lambda: host.run("echo 2"), log))
    await until(lambda: log.lines)
    assert (
        "\n  -> the login has worked before: its certificate, key or password has expired or was changed;"
        in log.lines[0]
    )
    site.password = "right"
    assert (await asyncio.wait_for(waiting, 120)).out == "2\n"
    await host.close()


async def test_waiting_can_be_off_and_ends_at_an_age(site: Site) -> None:
    with pytest.raises(LoginRefusedError) as caught:
        await with_logins(lambda: site.host(0.0).run("echo"), Log())
    assert "wait_for_login" not in str(caught.value)
    with pytest.raises(LoginRefusedError) as caught:
        await with_logins(lambda: site.host(0.2).run("echo"), Log())
    assert re.search(r" \(since [\d:-]+ [\d:]+ UTC: `wait_for_login` is over\)\n  -> ", str(caught.value))


def test_the_hybrid_file_says_for_how_long() -> None:
    def waits(**config: Any) -> float:
        deployment = parse_deployments({"s": {"type": "ssh", "config": {"nodes": ["h"], **config}}})["s"]
        return nodes_of(deployment.config)["h"].login_wait_s

    assert [waits(), waits(wait_for_login="off"), waits(wait_for_login="36h")] == [259200.0, 0.0, 129600.0]


# --- in a worker -----------------------------------------------------------------------------------------------------


class Refused(HybridTask):
    wait_s = 600.0

    def run_task(self, context: Any) -> Any:
        async def again() -> None: ...

        raise LoginRefusedError("refused", refusal=Refusal(time.time(), self.wait_s, again))


class Store(dict[str, Any]):
    """The task's state store."""

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        del self[key]


def run(store: Mapping[str, Any], **attributes: Any) -> None:
    task = Refused(task_id="t")
    for name, value in attributes.items():
        setattr(task, name, value)
    ti: Any = type("Ti", (), {"try_number": 1, "max_tries": 0})
    task.execute({"ti": ti, "task_state_store": store})  # type: ignore[typeddict-item]


def test_a_task_in_a_worker_is_started_again_later_in_the_same_try() -> None:
    store = Store()
    with pytest.raises(AirflowRescheduleException) as caught:
        run(store)
    assert 200 < caught.value.reschedule_date.timestamp() - time.time() <= 300
    began = time.time() - 500
    store[REFUSED] = [began, time.time() - 301]
    with pytest.raises(AirflowRescheduleException):
        run(store)
    assert store[REFUSED][0] == began
    store[REFUSED] = [began - 200, time.time() - 301]
    with pytest.raises((SystemExit, AirflowFailException)):
        run(store)
    # an earlier wait does not count
    store[REFUSED] = [began - 9000, time.time() - 5000]
    with pytest.raises(AirflowRescheduleException):
        run(store)


@pytest.mark.parametrize("attributes", [{"wait_s": 0.0}, {"waits": False}])
def test_a_task_that_may_not_wait_fails(attributes: dict[str, Any]) -> None:
    store = Store()
    with pytest.raises((SystemExit, AirflowFailException)):
        run(store, **attributes)
    assert REFUSED not in store
