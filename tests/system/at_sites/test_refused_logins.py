# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Credentials that end while a job runs: it goes on, its task waits, and takes its result when it can log in again."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.engine import FragmentOutcome
from airflow_hybrid.sites import logins
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.hosts.ssh import refusals
from airflow_hybrid.sites.logins import with_logins
from tests.system import sites
from tests.testbed.fixture import Testbed
from tests.unit.engine.fragments import Log, execution, spec

TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo x >>"$1"; until [ -e "$1.end" ]; do sleep 0.2; done; wc -l <"$1"', sh]
inputs: {note: {type: string, inputBinding: {}}}
outputs: {out: stdout}
"""


async def test_a_job_outlives_its_credentials_and_is_not_run_again(
    testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(refusals, "REFUSED_FOR_S", 2.0)
    monkeypatch.setattr(logins, "AGAIN_S", 0.5)
    cloud = testbed.sites["cloud"]
    keys, note = f"{cloud.home}/.ssh/authorized_keys", f"{cloud.home}/note-{secrets.token_hex(4)}"
    node = {"hostname": cloud.host, "username": cloud.user, "sshKey": str(cloud.key)}
    config = {"nodes": [node], "known_hosts": [str(testbed.known_hosts)], "cores": 4}
    deployments = {"cloud": Deployment("cloud", "ssh", config, workdir=f"~/refused-{secrets.token_hex(4)}")}
    made, log = spec(tmp_path, deployments, {"target": "cloud"}, [{"note": note}], TOOL), Log()

    def run() -> asyncio.Future[FragmentOutcome]:
        return asyncio.ensure_future(execution(made)[0].run())

    async def until(command: str) -> None:
        for _ in range(240):
            if testbed.exec("cloud", "sh", "-c", f"{command} && echo yes || :").strip() == "yes":
                return
            await asyncio.sleep(0.5)
        raise TimeoutError(command)

    task = asyncio.ensure_future(with_logins(run, log))
    try:
        await until(f"test -s {note}")
        testbed.exec("cloud", "mv", keys, f"{keys}.expired")
        sites.end_sessions("cloud")
        while "refused the login" not in log.text:
            await asyncio.sleep(0.5)
        testbed.exec("cloud", "touch", f"{note}.end")  # the job ends while nobody can look
        assert not task.done()
        testbed.exec("cloud", "mv", f"{keys}.expired", keys)
        outcome = await asyncio.wait_for(task, 120)
    finally:
        task.cancel()
        testbed.exec("cloud", "sh", "-c", f"[ ! -e {keys}.expired ] || mv {keys}.expired {keys}")
        await close_all()
    assert [result.status for result in outcome.results] == ["success"]
    assert testbed.exec("cloud", "cat", note) == "x\n", "the job ran once"
    assert "the login works again, after" in log.text
