# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kubernetes: pods as hosts, and who gets in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from airflow_hybrid.errors import AuthenticationError, ConfigError, HostKeyError, SiteError
from tests.system.kube import Kube, until
from tests.system.kubernetes.benches import WAIT_S, Connect
from tests.unit.sites.shell_hosts import batch


async def test_commands_and_bytes_go_through_the_service_pod_unharmed(bench: Callable[..., Any]) -> None:
    host = (await bench()).host
    data = bytes(range(256)) * 5000
    result = await host.run("cat; echo oops >&2; exit 7", stdin=data)
    assert (result.exit_code, result.stdout, result.stderr) == (7, data, b"oops\n")
    # one that does not read its input, one whose text is longer than an argument may be, one with odd characters
    assert (await host.run("echo hi", stdin=data)).out == "hi\n"
    assert (await host.run(f"x='{'y' * 300_000}'; echo ${{#x}}")).out == "300000\n"
    assert (await host.run("printf '%s\\n' \"it's \\$5 & ü\"")).out == "it's $5 & ü\n"
    assert (await host.run("kill -9 $$; sleep 9")).exit_code == 137
    async with host.stream("head -c 3000000 /dev/zero; cat >/dev/null") as stream:
        size = 0
        while size < 3_000_000:
            size += len(await stream.read())
        await stream.write(b"x" * 10)
        assert (await stream.close()).exit_code == 0
    assert size == 3_000_000


async def test_pods_that_run_anyway_are_locations_that_run_jobs(kube: Kube, connect: Connect) -> None:
    name = f"shell-{os.urandom(3).hex()}"
    container = {"name": "main", "image": kube.tools, "command": ["sleep", "600"]}
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{name}-{i}", "labels": {"app": name}},
         "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
        for i in range(2)
    ]  # fmt: skip
    kube.apply(*pods)
    try:
        until(lambda: all(p["status"].get("phase") == "Running" for p in kube.get("pods", "-l", f"app={name}")))
        connector = connect({"shell": {"selector": {"app": name}, "container": "main"}}, storage=None)
        hosts = await connector.hosts("shell")
        assert [host.location for host in hosts] == [f"{name}-0", f"{name}-1"]
        assert await connector.hosts("shell") == hosts
        queue = connector.queue(hosts[1], "shell")
        made = batch("/tmp/T/a1", 3, lambda i: ("sh", "-c", f"uname -n; exit {i}"))
        await queue.submit(made)
        results = await asyncio.wait_for(queue.wait(made.directory), WAIT_S)
        assert [r.exit_code for r in results] == [0, 1, 2]
        assert (await hosts[1].run(f"cat {results[0].stdout_path}")).out.strip() == f"{name}-1"
        with pytest.raises(ConfigError, match="no container 'other'"):
            await connect({"x": {"selector": {"app": name}, "container": "other"}}, storage=None).hosts("x")
    finally:
        kube.kubectl("delete", "pods", "-l", f"app={name}", "--wait=false")
    with pytest.raises(SiteError, match="no pod that is ready"):
        await connect({"x": {"selector": {"app": "nothing-here"}}}, storage=None).hosts("x")


async def test_a_service_pod_that_was_evicted_is_made_again(kube: Kube, bench: Callable[..., Any]) -> None:
    made = await bench()
    await made.host.run("echo kept >keep.txt; pwd")
    await made.host.run(f"mkdir -p {made.folder}; echo kept >{made.folder}/x")
    pods = kube.get("pods", "-l", "airflow-hybrid/role=storage")
    for pod in pods:
        kube.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    assert (await made.host.run(f"cat {made.folder}/x")).out == "kept\n"


async def test_a_certificate_of_another_authority_is_refused(kube: Kube, connect: Connect, tmp_path: Any) -> None:
    import subprocess

    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key", "-out",
         tmp_path / "other.crt", "-subj", "/CN=other", "-days", "2"], check=True, capture_output=True,
    )  # fmt: skip
    config = _changed(kube, tmp_path, cluster={"certificate-authority": str(tmp_path / "other.crt")})
    connector = connect(kubeconfig=config)
    with pytest.raises(HostKeyError, match="certificate is not the expected one") as caught:
        await (await connector.hosts("small"))[0].run("true")
    assert not caught.value.retryable and "certificate-authority" in str(caught.value)


async def test_a_token_that_has_expired_is_refused(kube: Kube, connect: Connect, tmp_path: Any) -> None:
    config = _changed(kube, tmp_path, user={"token": "expired"})
    with pytest.raises(AuthenticationError, match="401") as caught:
        await (await connect(kubeconfig=config).hosts("small"))[0].run("true")
    assert "renew" in str(caught.value)


async def test_a_token_that_was_renewed_in_the_file_is_used(kube: Kube, connect: Connect, tmp_path: Any) -> None:
    config = _changed(kube, tmp_path, user={"token": "expired"})
    connector = connect(kubeconfig=config)
    await connector.cluster.connect()
    with open(config, "w") as file:
        file.write(kube.kubeconfig.read_text())
    assert (await (await connector.hosts("small"))[0].run("echo in")).out == "in\n"


async def test_a_claim_that_is_not_there_is_named(kube: Kube, connect: Connect, monkeypatch: Any) -> None:
    monkeypatch.setattr("airflow_hybrid.sites.kubernetes.storage.START_S", 4.0)
    connector = connect(storage={"claim": "no-such-claim", "image": kube.tools})
    assert connector._storage is not None
    try:
        with pytest.raises(SiteError, match="no-such-claim"):
            await (await connector.hosts("small"))[0].run("true")
    finally:
        await connector._storage.remove()


def _changed(kube: Kube, folder: Any, *, cluster: Any = None, user: Any = None) -> str:
    """A copy of the kubeconfig that says something else."""
    import yaml

    config = yaml.safe_load(kube.kubeconfig.read_text())
    if cluster:
        config["clusters"][0]["cluster"].pop("certificate-authority-data", None)
        config["clusters"][0]["cluster"].update(cluster)
    if user:
        config["users"][0]["user"] = user
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)
