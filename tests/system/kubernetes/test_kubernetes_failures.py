# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Kubernetes: what goes wrong there, by name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import SubmitError
from airflow_hybrid.model import JobState, Resources
from airflow_hybrid.sites import check
from airflow_hybrid.sites.batches.poller import Progress
from tests.system.kube import Kube, until
from tests.system.kubernetes.benches import WAIT_S


async def test_a_job_over_its_memory_is_out_of_memory(bench: Callable[..., Any]) -> None:
    made = await bench()
    needs = Resources(ram_mib=24, explicit=frozenset({"ram_mib"}))
    eat = ("sh", "-c", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done")
    (result,) = await made.run(made.batch("a1", 1, lambda i: eat, resources=needs))
    assert result.state is JobState.OUT_OF_MEMORY
    assert "OOMKilled" in result.reason


async def test_an_evicted_pod_is_begun_again_from_the_start(kube: Kube, bench: Callable[..., Any]) -> None:
    kube.need_double()
    made = await bench()
    text = f"echo x >>{made.folder}/tries; [ -e left ] && exit 9; : >left; sleep 6"
    one = made.batch("a1", 1, lambda i: ("sh", "-c", text))
    (report,) = await made.queue.submit(one)
    waiting = asyncio.ensure_future(made.queue.wait(one.directory))
    while not (await made.host.run(f"cat {made.folder}/tries 2>/dev/null")).out:
        await asyncio.sleep(0.3)
    (pod,) = kube.get("pods", "-l", f"job-name={report.scheduler_ids[0]}")
    kube.control(f"evict/{kube.namespace}/{pod['metadata']['name']}", message="The node was low on resource: memory.")
    (result,) = await asyncio.wait_for(waiting, WAIT_S)
    assert (result.state, result.exit_code) == (JobState.COMPLETED, 0)
    assert (await made.host.run(f"cat {made.folder}/tries")).out == "x\nx\n"


@pytest.mark.long
async def test_an_image_that_is_not_there_fails_the_batch_with_its_name(kube: Kube, bench: Callable[..., Any]) -> None:
    image = "registry.invalid/no/such:1"
    made = await bench({"image": image, "startTimeout": 3})
    heard: list[Progress] = []
    (result,) = await made.run(made.batch("a1", 1), heard.append)
    assert result.state is JobState.FAILED
    assert image in result.reason and ("ImagePull" in result.reason)
    until(lambda: not [p for p in kube.batches("pods") if p["spec"]["containers"][0]["image"] == image])


async def test_a_pod_that_finds_no_node_says_why_while_it_waits(bench: Callable[..., Any]) -> None:
    made = await bench({"nodeSelector": {"no.such/label": "x"}})
    heard: list[Progress] = []
    one = made.batch("a1", 1)
    running = asyncio.ensure_future(made.run(one, heard.append))
    while not any("Unschedulable" in reason for p in heard for reason in p.reasons):
        await asyncio.sleep(0.3)
        assert not running.done()
    assert "node" in str(heard[-1]) and heard[-1].pending == 1
    await made.queue.cancel(made.folder)
    assert (await running)[0].state is JobState.CANCELLED


@pytest.mark.long
async def test_a_configuration_that_is_not_there_fails_the_batch(bench: Callable[..., Any]) -> None:
    reference = [{"secretRef": {"name": "no-such-secret"}}]
    made = await bench({"envFrom": reference, "startTimeout": 3})
    (result,) = await made.run(made.batch("a1", 1))
    assert result.state is JobState.FAILED
    assert "CreateContainerConfigError" in result.reason and "no-such-secret" in result.reason


async def test_a_quota_that_one_pod_exceeds_refuses_the_batch(kube: Kube, bench: Callable[..., Any]) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
             "spec": {"hard": {"requests.memory": "2Gi"}}}  # fmt: skip
    made = await bench()
    await made.host.run("true")
    kube.apply(quota)
    try:
        needs = Resources(ram_mib=4096, explicit=frozenset({"ram_mib"}))
        with pytest.raises(SubmitError, match="exceeded quota: small, requested: requests.memory=4Gi") as caught:
            await made.queue.submit(made.batch("a1", 1, resources=needs))
        assert not caught.value.retryable
        assert (await made.host.run(f"ls {made.folder}")).out.split() == ["lock"]
    finally:
        kube.kubectl("delete", "resourcequota", "small")


@pytest.mark.long
async def test_pods_wait_for_a_quota_that_others_use_up_and_say_so(kube: Kube, bench: Callable[..., Any]) -> None:
    made = await bench(pack_s=0.0)
    await made.host.run("true")
    others = len([p for p in kube.get("pods") if p["status"].get("phase") in ("Running", "Pending")])
    kube.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
                "spec": {"hard": {"pods": str(others + 1)}}})  # fmt: skip
    heard: list[Progress] = []
    try:
        results = await made.run(made.batch("a1", 2, lambda i: ("sleep", "4")), heard.append)
    finally:
        kube.kubectl("delete", "resourcequota", "few")
    assert {r.state for r in results} == {JobState.COMPLETED}
    assert any("exceeded quota: few" in reason for p in heard for reason in p.reasons)


async def test_a_check_tells_pods_quotas_and_nodes_or_that_it_may_not_see_them(
    kube: Kube, bench: Callable[..., Any]
) -> None:
    kube.need_double()  # which refuses what a role may not
    made = await bench()
    await made.host.run("true")
    deployments = {"kube": Deployment("kube", "kubernetes", config=kube.config())}
    kube.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "many"},
                "spec": {"hard": {"pods": "50", "requests.cpu": "8"}}})  # fmt: skip
    try:
        findings = await check.check(deployments)
        for resource in ("pods", "resourcequotas", "nodes"):
            why = f'{resource} is forbidden: User "u" cannot list resource "{resource}" in API group ""'
            kube.control("refuse", method="LIST", resource=resource, count=1, code=403, message=why)
        blind = await check.check(deployments)
    finally:
        kube.control("reset")
        kube.kubectl("delete", "resourcequota", "many")
    assert not check.fails(findings) and not check.fails(blind)
    figures = {name: value for finding in findings for name, value in finding.figures.items()}
    counts = re.fullmatch(r"(\d+) pods? runs? \((\d+) ours\), \d+ wait \(\d+ ours\)", figures["queue"])
    assert counts and int(counts[1]) >= int(counts[2]) >= 1, figures
    assert figures["quota many"] == f"pods {counts[1]} of 50, requests.cpu 0 of 8"
    assert re.fullmatch(r"[\d.]+ of 8", figures["free cores"]) and figures["free nodes"] == "0 of 1"
    seen = {finding.what: finding for finding in blind if finding.what in ("queue", "capacity")}
    assert seen["queue"].detail == "the account may not list pods; quotas: may not list resource quotas"
    assert seen["queue"].figures == {"queue": "may not list pods", "quotas": "may not list resource quotas"}
    assert seen["capacity"].detail == "the account may not list nodes: how many are free is not known"
    assert seen["capacity"].figures == {"free nodes": "may not list nodes"}


async def test_a_manifest_that_the_cluster_refuses_is_a_clear_message(bench: Callable[..., Any]) -> None:
    made = await bench({"serviceAccountName": "no-such-account"})
    with pytest.raises(SubmitError, match="no-such-account") as caught:
        await made.queue.submit(made.batch("a1", 1))
    assert not caught.value.retryable
