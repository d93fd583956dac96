# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Manifests that are deployed for a DAG run: applied, waited for, used as a place, removed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_hybrid.config import for_run, parse_deployments
from airflow_hybrid.errors import ConfigError, DeployError, SiteError
from airflow_hybrid.model import JobState
from airflow_hybrid.sites.check import FAIL, OK, check
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.connectors.manifests import ManifestsConnector
from tests.system.kube import Kube, until
from tests.unit.sites.shell_hosts import batch

FIRST, SECOND = "ah-0a1b2c-0000000001", "ah-0a1b2c-0000000002"
Deploy = Callable[..., ManifestsConnector]


def manifests(tools: str, **container: Any) -> list[dict[str, Any]]:
    main = {"name": "main", "image": tools, "command": ["/usr/bin/sleep", "1000"], "imagePullPolicy": "IfNotPresent"}
    more = {"terminationGracePeriodSeconds": 0, "containers": [{**main, **container}]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mood"}, "data": {"mood": "good"}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "worker"}, "spec": more},
    ]


@pytest.fixture
async def deployment(kube: Kube, tmp_path: Path) -> AsyncIterator[Deploy]:
    """The connector of a deployment of some manifests for a run's token; what it deploys is removed at the end."""
    made: list[ManifestsConnector] = []

    def make(token: str, items: list[dict[str, Any]] | None = None, **config: Any) -> ManifestsConnector:
        file = tmp_path / "manifests.yml"
        file.write_text(yaml.safe_dump_all(items or manifests(kube.tools)))
        config = {"kubeconfig": str(kube.kubeconfig), "files": [str(file)], "timeout": 120, **config}
        parsed = parse_deployments({"box": {"type": "kubernetes", "config": config}})
        connector = open_connector(for_run(parsed, token, f"dag {token[-1]}"), "box")
        assert isinstance(connector, ManifestsConnector)
        made.append(connector)
        return connector

    yield make
    for connector in made:
        await connector.undeploy()
    await close_all()


def names(kube: Kube, what: str, token: str) -> list[str]:
    found = kube.get(what, "--all-namespaces", "-l", f"airflow-hybrid/token={token}")
    return [item["metadata"]["name"] for item in found]


async def test_each_run_has_a_namespace_of_its_own_in_which_its_steps_run(kube: Kube, deployment: Deploy) -> None:
    first, second = deployment(FIRST), deployment(SECOND)
    await asyncio.gather(first.deploy(["main"]), second.deploy(["main"]))
    await first.deploy(["main"])  # again: nothing changes
    (host,) = await first.hosts("main")
    queue = first.queue(host, "main")
    made = batch(f"{await first.workdir(host)}/T/a1", 2, lambda i: ("echo", f"job {i}"))
    await queue.submit(made)
    results = await asyncio.wait_for(queue.wait(made.directory), 120)
    assert [r.state for r in results] == [JobState.COMPLETED] * 2
    tokens = {item.token: item for item in await first.deployed()}
    assert {FIRST, SECOND} <= set(tokens) and "1 namespace" in tokens[FIRST].summary and tokens[FIRST].run == "dag 1"
    await first.undeploy()
    until(lambda: not names(kube, "pods", FIRST))
    assert names(kube, "pods", SECOND) == ["worker"]
    await first.undeploy()  # nothing is there: no error
    with pytest.raises(SiteError, match="no pod of deployment 'box'"):
        await first.hosts("main")


async def test_in_a_given_namespace_a_second_run_is_refused_and_takes_nothing_away(
    kube: Kube, deployment: Deploy
) -> None:
    first = deployment(FIRST, namespace=kube.namespace)
    await first.deploy([])
    second = deployment(SECOND, namespace=kube.namespace)
    with pytest.raises(DeployError, match="'mood' exists already: it was deployed for the run dag 1"):
        await second.deploy([])
    await second.undeploy()
    assert names(kube, "pods", FIRST) == ["worker"]
    await first.undeploy()
    assert names(kube, "pods", FIRST) + names(kube, "configmaps", FIRST) == []


@pytest.mark.parametrize(
    ("change", "services", "error", "words"),
    [
        ({"image": "localhost/no-such-image:1"}, ["main"], DeployError, ["not ready: Pod worker", "no-such-image"]),
        ({"command": "sleep"}, ["main"], DeployError, ["the cluster refuses Pod 'worker'", "command"]),
        ({}, ["mian"], ConfigError, ["has no service 'mian'", "it has: main"]),
    ],
)
async def test_what_cannot_be_deployed_is_said_in_the_clusters_words(  # noqa: PLR0913 - fixtures and cases
    kube: Kube,
    deployment: Deploy,
    change: dict[str, Any],
    services: list[str],
    error: type[Exception],
    words: list[str],
) -> None:
    connector = deployment(FIRST, manifests(kube.tools, **change))
    with pytest.raises(error) as caught:
        await connector.deploy(services)
    for word in words:
        assert word in str(caught.value)
    await connector.undeploy()  # as the setup task does
    until(lambda: not names(kube, "namespaces", FIRST) + names(kube, "pods", FIRST))


async def test_a_quota_that_others_use_up_is_said_at_once_and_waited_for(
    kube: Kube, deployment: Deploy, caplog: pytest.LogCaptureFixture
) -> None:
    pod = manifests(kube.tools)[1]
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}}
    template = {"metadata": {"labels": {"app": "worker"}}, "spec": pod["spec"]}
    selector = {"matchLabels": {"app": "worker"}}
    workers = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "workers"},
        "spec": {"replicas": 1, "selector": selector, "template": template},
    }  # fmt: skip
    kube.apply({**pod, "metadata": {"name": "other"}})
    kube.apply(quota)
    connector = deployment(FIRST, [workers], namespace=kube.namespace)
    deploying = asyncio.ensure_future(connector.deploy([]))
    try:
        while "waiting for Deployment workers (" not in caplog.text:
            await asyncio.sleep(0.1)
        assert "exceeded quota: one" in caplog.text and not deploying.done()
        kube.kubectl("delete", "pod", "other")
        await asyncio.wait_for(deploying, 240)
    finally:
        deploying.cancel()
        kube.kubectl("delete", "resourcequota", "one")
        kube.kubectl("delete", "pod", "other", "--ignore-not-found")


async def test_a_check_reads_the_manifests_and_asks_the_cluster_and_makes_nothing(kube: Kube, tmp_path: Path) -> None:
    good, bad = tmp_path / "manifests.yml", tmp_path / "bad.yml"
    good.write_text(yaml.safe_dump_all(manifests(kube.tools)))
    bad.write_text("kind: [")
    away = tmp_path / "away"
    away.write_text(re.sub(r"server: .*", "server: https://127.0.0.1:1", kube.kubeconfig.read_text()))
    odd = tmp_path / "odd.yml"
    mood, worker = manifests(kube.tools, command="sleep")
    odd.write_text(yaml.safe_dump_all([{**mood, "metadata": {"name": "worker"}}, worker]))
    own = tmp_path / "own.yml"
    _, worker = manifests(kube.tools)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mine"}}
    own.write_text(yaml.safe_dump_all([account, {**worker, "spec": {**worker["spec"], "serviceAccountName": "mine"}}]))
    strange = tmp_path / "strange.yml"
    strange.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Podd", "metadata": {"name": "p"}}))
    for kubeconfig, file, namespace, result, words in (
        (kube.kubeconfig, good, None, OK, ", 2 objects"),
        (kube.kubeconfig, good, kube.namespace, OK, ", 2 objects"),
        (kube.kubeconfig, bad, None, FAIL, "the manifest is not valid YAML"),
        (kube.kubeconfig, own, kube.namespace, OK, ", 2 objects"),
        (kube.kubeconfig, odd, kube.namespace, FAIL, "the cluster refuses Pod 'worker': "),
        (kube.kubeconfig, strange, None, FAIL, "the cluster has no kind 'Podd'"),
        (away, good, None, FAIL, "127.0.0.1:1"),
    ):
        config = {
            "kubeconfig": str(kubeconfig),
            "files": [str(file)],
            **({"namespace": namespace} if namespace else {}),
        }
        (finding,) = await check(parse_deployments({"box": {"type": "kubernetes", "config": config}}), names=["box"])
        assert finding.result == result and words in finding.detail, finding
    assert not [pod for pod in kube.get("pods") if pod["metadata"]["name"] == "worker"]
    await close_all()


async def test_a_manifest_that_is_none_is_said_with_its_file(deployment: Deploy, tmp_path: Path) -> None:
    connector = deployment(FIRST)
    (tmp_path / "manifests.yml").write_text("kind: [")
    with pytest.raises(ConfigError, match=r"manifests\.yml: the manifest is not valid YAML"):
        await connector.deploy([])
