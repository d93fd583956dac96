# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Charts that are installed for a DAG run, by Helm itself: used as a place, removed, whatever goes wrong."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_hybrid.config import for_run, parse_deployments
from airflow_hybrid.errors import ConfigError, DeployError, HostKeyError, SiteError
from airflow_hybrid.model import JobState
from airflow_hybrid.sites.check import FAIL, OK, check
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.connectors.helm import HelmConnector
from tests.needs import unavailable
from tests.system.kube import Kube, until
from tests.unit.sites.shell_hosts import batch

CHART = Path(__file__).parents[1] / "charts" / "box"
FIRST, SECOND = "ah-0a1b2c-0000000011", "ah-0a1b2c-0000000012"
Deploy = Callable[..., HelmConnector]


@pytest.fixture(autouse=True)
def _helm() -> None:
    if importlib.util.find_spec("helm_python") is None:
        unavailable("a chart", "Helm's library", "pip install 'airflow-hybrid[helm]'")


@pytest.fixture
async def release(kube: Kube) -> AsyncIterator[Deploy]:
    """The connector of a chart's release for a run's token; what it deploys is removed at the end."""
    made: list[HelmConnector] = []

    def make(token: str, values: dict[str, Any] | None = None, **config: Any) -> HelmConnector:
        config = {
            "kubeconfig": str(kube.kubeconfig), "chart": str(CHART), "timeout": 60,
            "values": {"image": kube.tools, **(values or {})}, **config,
        }  # fmt: skip
        parsed = parse_deployments({"box": {"type": "helm3", "config": config}})
        connector = open_connector(for_run(parsed, token, f"dag {token[-1]}"), "box")
        assert isinstance(connector, HelmConnector)
        made.append(connector)
        return connector

    yield make
    for connector in made:
        await connector.undeploy()
    await close_all()


def left(kube: Kube, token: str) -> list[str]:
    """What is there of a run: its namespaces, and all in them; releases in other namespaces."""
    found = [item["metadata"]["name"] for item in kube.get("ns", "-l", f"airflow-hybrid/token={token}")]
    records = kube.get("secrets", "--all-namespaces", "-l", f"airflow-hybrid/token={token}")
    everything = kube.get("pods,configmaps,deployments,jobs", "--all-namespaces")
    return found + [
        item["metadata"]["name"] for item in [*records, *everything] if token in json.dumps(item["metadata"])
    ]


async def test_each_run_has_a_release_and_a_namespace_of_its_own(kube: Kube, release: Deploy, tmp_path: Path) -> None:
    (tmp_path / "values.yml").write_text("mood: from the file\nreplicas: 3\n")
    first = release(FIRST, yamlValues=[str(tmp_path / "values.yml")], commandLineValues="replicas=2")
    second = release(SECOND)
    await asyncio.gather(first.deploy(["main"]), second.deploy(["main"]))
    await first.deploy(["main"])  # again: it is there
    assert len(await first.hosts("main")) == 2
    (host, *_) = await first.hosts("main")
    queue = first.queue(host, "main")
    seen = "tr '\\0' '\\n' </proc/1/environ | grep -x 'MOOD=from the file'"
    made = batch(f"{await first.workdir(host)}/T/a1", 1, lambda i: ("sh", "-c", seen))
    await queue.submit(made)
    results = await asyncio.wait_for(queue.wait(made.directory), 120)
    assert [r.state for r in results] == [JobState.COMPLETED]
    found = {item.token: item for item in await first.deployed()}
    assert {FIRST, SECOND} <= set(found) and found[FIRST].run == "dag 1"
    await first.undeploy()
    until(lambda: not left(kube, FIRST))
    assert left(kube, SECOND)
    await first.undeploy()  # nothing is there: no error
    with pytest.raises(SiteError, match="no pod of deployment 'box'"):
        await first.hosts("main")


async def test_in_a_given_namespace_a_release_is_found_and_not_taken_from_another_run(
    kube: Kube, release: Deploy
) -> None:
    first = release(FIRST, namespace=kube.namespace, releaseName="box")
    await first.deploy([])
    assert "1 release" in {item.token: item for item in await first.deployed()}[FIRST].summary
    second = release(SECOND, namespace=kube.namespace, releaseName="box")
    with pytest.raises(DeployError) as caught:
        await second.deploy([])
    assert str(caught.value) == (
        f"Kubernetes ({kube.kubeconfig}/{kube.namespace}): the release 'box' exists already and does not belong to this"
        " run\n  -> leave out `releaseName` or `namespace`, and each run has its own; or allow one run at a time"
        " (`dag: {max_active_runs: 1}`)"
    )
    await second.undeploy()
    assert len(await first.hosts("main")) == 1
    outside = parse_deployments({"box": {"type": "helm", "external": True, "config": {
        "kubeconfig": str(kube.kubeconfig), "chart": "x", "namespace": kube.namespace, "releaseName": "box",
    }}})  # fmt: skip
    assert len(await open_connector(outside, "box").hosts("main")) == 1
    await first.undeploy()
    until(lambda: not left(kube, FIRST))


async def test_a_check_renders_the_chart_and_makes_nothing(kube: Kube) -> None:
    config = {"kubeconfig": str(kube.kubeconfig), "chart": str(CHART)}
    for mood, words, result in (("good", "the chart renders 2 objects", OK), ("", "value `mood` is missing", FAIL)):
        parsed = parse_deployments({"box": {"type": "helm", "config": {**config, "values": {"mood": mood}}}})
        (finding,) = await check(parsed, names=["box"])
        assert words in finding.detail and finding.result == result
    await close_all()


WRONG: dict[str, tuple[dict[str, Any], list[str], type[Exception], list[str]]] = {
    "unknown service": ({}, ["mian"], ConfigError, ["has no service 'mian'", "it has: main"]),
    "no chart": ({"chart": "/nowhere/box"}, ["main"], ConfigError, ["chart cannot be installed", "/nowhere/box"]),
    "no values": ({"yamlValues": ["/nowhere.yml"]}, ["main"], ConfigError, ["/nowhere.yml"]),
    "does not render": ({"values": {"mood": ""}}, ["main"], ConfigError, ["the value `mood` is missing"]),
    "no image": ({"values": {"image": "localhost/no:1"}}, ["main"], DeployError, ["not ready", "localhost/no:1"]),
    "fails half-way": ({"values": {"refused": True}}, ["main"], DeployError, ["helm install", "accessModes"]),
    "a hook fails": ({"values": {"hook": ["false"]}}, ["main"], DeployError, ["helm install", "hook"]),
    "no registry": ({"chart": "oci://127.0.0.1:1/box"}, ["main"], SiteError, ["127.0.0.1:1", "refused"]),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_cannot_be_installed_is_one_message_and_leaves_nothing(
    kube: Kube, release: Deploy, case: str
) -> None:
    config, services, error, words = WRONG[case]
    config = {**config, "timeout": 20}
    connector = release(FIRST, config.pop("values", None), **config)
    with pytest.raises(error) as caught:
        await connector.deploy(services)
    for word in words:
        assert word in str(caught.value)
    assert "Traceback" not in str(caught.value) and "goroutine" not in str(caught.value)
    await connector.undeploy()  # as the setup task does
    until(lambda: not left(kube, FIRST))


@pytest.fixture
def quota(kube: Kube) -> Iterator[None]:
    kube.apply({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": {"hard": {"pods": "0"}},
    })  # fmt: skip
    yield
    kube.kubectl("delete", "resourcequota", "tight")


@pytest.mark.usefixtures("quota")
async def test_a_quota_that_is_used_up_is_said_in_the_clusters_words(kube: Kube, release: Deploy) -> None:
    connector = release(FIRST, namespace=kube.namespace, timeout=300)
    with pytest.raises(
        DeployError, match=r"(?s)not ready:.*exceeded quota: tight.*less than one pod asks for"
    ) as caught:
        await asyncio.wait_for(connector.deploy(["main"]), 240)  # and not only when its time is over
    assert not caught.value.retryable
    await connector.undeploy()
    until(lambda: not left(kube, FIRST))


@pytest.mark.parametrize("kind", ["helm", "kubernetes"])
async def test_a_cluster_with_another_certificate_is_refused(kube: Kube, kind: str, tmp_path: Path) -> None:
    other = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-days", "2"]
    subprocess.run([*other, "-keyout", tmp_path / "key", "-out", tmp_path / "ca"], check=True, capture_output=True)
    described = yaml.safe_load(kube.kubeconfig.read_text())
    described["clusters"][0]["cluster"] = {
        "server": described["clusters"][0]["cluster"]["server"],
        "certificate-authority": str(tmp_path / "ca"),
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(described))
    (tmp_path / "worker.yml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}")
    what = {"chart": str(CHART)} if kind == "helm" else {"files": [str(tmp_path / "worker.yml")]}
    config = {"kubeconfig": str(tmp_path / "kubeconfig"), **what}
    connector = open_connector(for_run(parse_deployments({"box": {"type": kind, "config": config}}), FIRST, "x"), "box")
    for attempt in (connector.deploy([]), connector.undeploy()):
        with pytest.raises(HostKeyError, match="the cluster's certificate is not the expected one") as caught:
            await attempt
        assert not caught.value.retryable and "certificate-authority" in str(caught.value)
    await close_all()


async def test_an_installation_that_is_killed_is_done_again_and_can_be_taken_away(kube: Kube, release: Deploy) -> None:
    slow = release(FIRST, {"hook": ["/usr/bin/sleep", "300"]})
    attempt = asyncio.ensure_future(slow.deploy(["main"]))
    until_there = asyncio.get_running_loop().time() + 60
    while not kube.get("pods", "--all-namespaces", "-l", "batch.kubernetes.io/job-name"):
        assert asyncio.get_running_loop().time() < until_there
        await asyncio.sleep(0.3)
    attempt.cancel()  # ends the process that installs, as a kill of the task does
    await asyncio.gather(attempt, return_exceptions=True)
    again = release(FIRST)
    await again.deploy(["main"])
    assert len(await again.hosts("main")) == 1
    await again.undeploy()
    until(lambda: not left(kube, FIRST))
