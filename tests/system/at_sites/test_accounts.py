# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Two people with accounts of their own at one host, at the same time in one process."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_hybrid.config import Deployment, parse_deployments
from airflow_hybrid.config.users import TriggeredBy, deployments_of_user
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import FileRef
from airflow_hybrid.sites.closing import close_all
from tests.testbed.fixture import Testbed
from tests.unit.engine.fragments import execution, spec

ACCOUNTS = {"anna": ("acct_a", 4301), "ben": ("acct_b", 4302)}
ACCOUNT = """
id -u {name} >/dev/null 2>&1 || echo "{name}:x:{uid}:{uid}::/home/{name}:/bin/bash" >>/etc/passwd
mkdir -p /home/{name}/.ssh && cp /home/{like}/.ssh/authorized_keys /home/{name}/.ssh/
chown -R {uid}:{uid} /home/{name} && chmod -R go= /home/{name}
"""
TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'sleep 1; id -un; cat "$1"', sh]
inputs: {shared: {type: File, inputBinding: {}}}
outputs: {out: stdout}
"""


def add_accounts(testbed: Testbed, site: str) -> None:
    """Make the accounts at a site; its own user's key opens them, too."""
    like = testbed.sites[site].user
    for name, uid in ACCOUNTS.values():
        testbed.exec(site, "sh", "-c", ACCOUNT.format(name=name, uid=uid, like=like))


@pytest.fixture
async def deployments(
    testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Mapping[str, Deployment]]:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    add_accounts(testbed, "cloud")
    cloud = testbed.sites["cloud"]
    extra = {"key_file": str(cloud.key), "host_key": cloud.host_key}
    for user, (name, _) in ACCOUNTS.items():
        value = {"conn_type": "ssh", "host": "is.in.the.file", "login": name, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_CLOUD_{user.upper()}", json.dumps(value))
    # the host is the same for all: nothing but the Connection tells the logins apart
    config = {"conn_id": "cloud_{{ triggering_user }}", "nodes": [{"hostname": cloud.host}], "cores": 4}
    yield parse_deployments({"theirs": {"type": "ssh", "config": config, "workdir": "~/hybrid"}})
    await close_all()


async def output_of(deployments: Mapping[str, Deployment], user: str, folder: Path, run: str) -> str:
    """The path at the site of the output of a job of ``user``."""
    folder.mkdir(exist_ok=True)
    (folder / "shared.txt").write_text("same")
    of_user = deployments_of_user(deployments, TriggeredBy(user))
    file = {"class": "File", "location": (folder / "shared.txt").as_uri(), "basename": "shared.txt"}
    made = spec(folder, of_user, {"target": "theirs"}, [{"shared": file}], TOOL, origin=run)
    made = replace(made, reuse=True, reuse_asked=True)
    outcome = await execution(made)[0].run()
    assert [result.status for result in outcome.results] == ["success"]
    (value,) = (result.outputs["out"] for result in outcome.results)
    return FileRef.parse(value["location"]).path


async def test_jobs_and_files_belong_to_the_account_of_each_user(
    deployments: Mapping[str, Deployment], testbed: Testbed, tmp_path: Path
) -> None:
    anna, ben, again = (secrets.token_hex(4) for _ in range(3))
    await output_of(deployments, "anna", tmp_path / "anna", anna)
    # the same task, with the same input, at the same time; the outputs of a run before could be reused
    runs = {"anna": again, "ben": ben}
    paths = await asyncio.gather(*(output_of(deployments, user, tmp_path / user, run) for user, run in runs.items()))
    for path, (name, _) in zip(paths, ACCOUNTS.values(), strict=True):
        assert path.startswith(f"/home/{name}/hybrid/")
        assert testbed.exec("cloud", "cat", path) == f"{name}\nsame"
        assert set(testbed.exec("cloud", "find", f"/home/{name}/hybrid", "-printf", "%u\n").split()) == {name}


async def test_a_work_directory_of_another_account_is_refused(
    deployments: Mapping[str, Deployment], testbed: Testbed, tmp_path: Path
) -> None:
    folder = f"/tmp/shared-{secrets.token_hex(4)}"
    testbed.exec("cloud", "install", "-d", "-m", "1777", "-o", "acct_a", folder)
    config = deployments["theirs"].config
    shared = {"theirs": Deployment("theirs", "ssh", config, workdir=folder)}
    assert (await output_of(shared, "anna", tmp_path / "anna", "a")).startswith(folder)
    with pytest.raises(ConfigError) as caught:
        await output_of(shared, "ben", tmp_path / "ben", "b")
    host = testbed.sites["cloud"].host
    assert str(caught.value) == (
        f"theirs (acct_b@{host}): the work directory {folder} of deployment 'theirs' belongs to another account\n"
        "  -> each account needs a work directory of its own: begin `workdir` with ~ or use a variable that is set"
        " there, such as /scratch/$USER/hybrid"
    )
