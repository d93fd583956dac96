# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""`airflow hybrid check` and the Connection form's Test button on real sites."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from airflow_hybrid.config import Deployment, Link
from airflow_hybrid.sites import check
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.hosts.ssh.host import SshHost
from tests.system import sites as system_sites
from tests.system.airflow_stack import AirflowStack
from tests.testbed.fixture import Testbed


@pytest.fixture
async def sites(testbed: Testbed) -> AsyncIterator[dict[str, Deployment]]:
    def ssh(name: str, site: str, **changes: Any) -> Deployment:
        there = testbed.sites[site]
        config = {
            "nodes": [{"hostname": there.host, "username": there.user, "sshKey": str(there.key)}],
            "known_hosts": [str(testbed.known_hosts)],
        }
        return Deployment(name, "ssh", {**config, **changes}, workdir=f"{there.home}/check dir")

    yield {
        "login": ssh("login", "hpc"),
        "hpc": Deployment("hpc", "slurm", wraps="login"),
        "cloud": ssh("cloud", "cloud"),
        "edge": ssh("edge", "edge"),
    }
    await close_all()


def by(found: list[check.Finding]) -> dict[tuple[str, str], check.Finding]:
    return {(f.where, f.what): f for f in found}


async def test_sites_that_are_fine(sites: dict[str, Deployment], testbed: Testbed) -> None:
    moments = {name: testbed.sshd_log_bytes(name) for name in ("hpc", "cloud", "edge")}
    links = (Link("hpc", "edge"), Link("edge", "login"), Link("cloud", "edge", address="edge"))
    found = await check.check(sites, links)
    assert not check.fails(found), found
    seen = by(found)
    assert "slurm" in seen["hpc", "scheduler"].detail and "22." in seen["hpc", "scheduler"].detail
    assert seen["login", "host key"].detail.startswith("ssh-ed25519 SHA256:")
    assert seen["cloud", "login"].detail == "clouduser at cloud"
    assert "check dir" in seen["edge", "workdir"].detail and "free" in seen["edge", "workdir"].detail
    assert re.fullmatch(r"\d+ jobs? runs? and \d+ wait, of which ours: \d+ and \d+.*", seen["hpc", "queue"].detail)
    assert re.fullmatch(r"[1-9]\d* SSH connections? (is|are) open there as this user, from everywhere, with [1-9]\d* "
                        r"sessions? \(the one of this check, too\)", seen["login", "connections"].detail)  # fmt: skip
    figures = {name: value for f in found if f.where == "hpc" for name, value in f.figures.items()}
    assert sorted(figures) == ["SSH", "free cores", "free nodes", "free space", "queue"]
    assert re.fullmatch(r"\d+ of 12", figures["free cores"]) and re.fullmatch(r"\d+ of \d+", figures["free nodes"])
    assert re.fullmatch(r"\d+ run \(\d+ ours\), \d+ wait \(\d+ ours\)", figures["queue"])
    assert {f.where for f in found if f.what == "link"} == {"hpc -> edge", "edge -> login", "cloud -> edge"}
    assert [seen[name, "locks"].detail for name in ("login", "hpc")] == ["two connections led to one host, hpc"] * 2
    # deployments of one host share its one connection; the link from edge is one more, and the test of locks two
    assert testbed.login_since("hpc", moments["hpc"]).connections == 4
    for site in ("hpc", "cloud", "edge"):
        assert testbed.run(site, "ls -A | grep -c 'check dir' || :").strip() == "0", "a check leaves nothing behind"
        assert testbed.run(site, "ls -A /tmp | grep -c airflow-hybrid || :").strip() == "0"


async def test_one_of_the_addresses_of_a_name_is_reached_with_the_key_of_the_name(testbed: Testbed) -> None:
    # nothing resolves the name, which known_hosts has
    host = SshHost("hpc", "hpc", system_sites.settings("hpc", host="hpc", address=testbed.sites["hpc"].host))
    try:
        assert (await host.run("uname -n")).out == "hpc\n"
    finally:
        await host.close()


async def test_what_fails_is_named_and_the_rest_is_tried(sites: dict[str, Deployment], testbed: Testbed) -> None:
    edge = sites["edge"]
    (node,) = edge.config["nodes"]
    changed: dict[str, dict[str, Any]] = {
        "stranger": {"nodes": [{**node, "username": "nobody"}]},
        "imposter": {"host_key": testbed.sites["cloud"].host_key, "known_hosts": []},
        "gone": {"nodes": [{**node, "hostname": testbed.sites["edge"].host[:-2] + "99"}], "connectTimeout": 2},
        "moved": {"conn_id": "no_such_connection"},
    }
    for name, change in changed.items():
        sites[name] = dataclasses.replace(edge, name=name, config={**edge.config, **change})
    sites["full"] = dataclasses.replace(edge, name="full", workdir="/sys/airflow_hybrid")
    # no site but edge may be reached from cloud
    found = await check.check(sites, (Link("cloud", "hpc"),))
    seen = by(found)
    assert {(f.where, f.what) for f in found if f.result == "FAIL"} == {
        ("stranger", "login"),
        ("imposter", "host key"),
        ("gone", "reach"),
        ("moved", "reach"),
        ("full", "workdir"),
        ("cloud -> hpc", "link"),
    }
    assert all(f.hint for f in found if f.result == "FAIL")
    assert "refused the login" in seen["stranger", "login"].detail
    assert testbed.sites["edge"].host_key in seen["imposter", "host key"].hint
    assert "timed out" in seen["cloud -> hpc", "link"].detail
    assert seen["edge", "login"].result == "ok"


async def test_a_service_that_the_queue_does_not_take_fails(sites: dict[str, Deployment]) -> None:
    services = {"good": {"partition": "main", "account": "proj"}, "bad": {"partition": "nowhere", "account": "proj"}}
    sites["hpc"] = dataclasses.replace(sites["hpc"], config={"services": services})
    good, bad = sorted(
        (f for f in await check.check(sites, names=["hpc"]) if f.what == "service"),
        key=lambda f: f.detail,
        reverse=True,
    )
    assert good.result == "ok" and "good: a small job would start in about" in good.detail
    assert bad.result == "FAIL" and "bad: " in bad.detail and "partition" in bad.detail and bad.hint


async def test_a_queue_that_does_not_answer_fails(sites: dict[str, Deployment], testbed: Testbed) -> None:
    testbed.exec("hpc", "slurmsite", "stop", "slurmctld")
    try:
        found = by(await check.check(sites, names=["hpc"]))
    finally:
        testbed.exec("hpc", "slurmsite", "start", "slurmctld")
    assert found["hpc", "workdir"].result == "ok" and ("hpc", "queue") not in found
    assert found["hpc", "scheduler"].result == "FAIL" and "controller" in found["hpc", "scheduler"].hint


def test_the_test_button_tries_what_steps_need(airflow: AirflowStack, testbed: Testbed) -> None:
    site = testbed.sites["hpc"]

    def press(**fields: Any) -> dict[str, Any]:
        extra = {"key_file": str(site.key), "host_key": site.host_key, **fields.pop("extra", {})}
        body = {"connection_id": "tried", "conn_type": "hybrid-ssh", "host": site.host, "login": site.user}
        answer = airflow.api.call("POST", "/connections/test", json={**body, **fields, "extra": json.dumps(extra)})
        return dict(answer)

    good = press()
    assert good["status"], good
    assert "hpcuser at hpc" in good["message"] and "slurm" in good["message"] and "free" in good["message"]
    bad = press(extra={"host_key": testbed.sites["cloud"].host_key})
    assert not bad["status"] and bad["message"].startswith("host key: the host key of ")
    bad = press(login="nobody")
    assert not bad["status"] and "authorized_keys" in bad["message"]
