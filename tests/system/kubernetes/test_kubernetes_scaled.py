# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Replicas that come and go: a service is scaled while steps of it run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_hybrid.config import Deployment, parse_deployments
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import LineageEntry
from airflow_hybrid.sites.closing import close_all
from airflow_hybrid.sites.connectors import open_connector
from airflow_hybrid.sites.kubernetes import storage
from tests.system.kube import Kube, until
from tests.unit.engine.fragments import Log, execution, spec

TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo "$0" >>/tmp/ran; sleep "$1"; echo done']
requirements:
  ResourceRequirement: {coresMin: 1}
inputs:
  name: {type: string, inputBinding: {position: 1}}
  seconds: {type: int, inputBinding: {position: 2}}
outputs: {out: stdout}
"""
Scale = Callable[[int], list[str]]


@pytest.fixture
def workers(kube: Kube) -> Iterator[Scale]:
    """Scale a set of pods; -> names of those that are ready and stay."""
    name = f"workers-{os.urandom(3).hex()}"
    labels = {"app": "scaled-workers"}
    main = {
        "name": "main",
        "image": kube.tools,
        "command": ["/usr/bin/sleep", "1000"],
        "imagePullPolicy": "IfNotPresent",
    }
    pod = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [main]}}
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}}

    def scale(replicas: int) -> list[str]:
        kube.apply({**made, "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}})

        def ready() -> list[str]:
            pods = [
                p for p in kube.get("pods", "-l", "app=scaled-workers") if not p["metadata"].get("deletionTimestamp")
            ]
            up = [p for p in pods if {"type": "Ready", "status": "True"}.items() <= _ready(p).items()]
            return [p["metadata"]["name"] for p in up] if len(up) == len(pods) == replicas else []

        return list(until(ready))

    yield scale
    kube.kubectl("delete", "deployment", name, "--wait=false")


def _ready(pod: dict[str, Any]) -> dict[str, Any]:
    return next((c for c in pod["status"].get("conditions") or () if c["type"] == "Ready"), {})


@pytest.fixture
async def deployments(
    kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[dict[str, Deployment]]:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_HYBRID__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(storage, "CACHE_S", 0.5)
    service = {"selector": {"app": "scaled-workers"}, "cores": 2}
    config = {"kubeconfig": str(kube.kubeconfig), "namespace": kube.namespace, "services": {"workers": service}}
    yield parse_deployments({"pods": {"type": "kubernetes", "config": config}})
    await close_all()


def placed(lineage: list[LineageEntry]) -> set[str]:
    return {entry.destination.split("/")[3] for entry in lineage if entry.route == "placed"}


async def test_a_step_finds_the_replicas_that_are_there_and_a_retry_does_without_those_that_went(
    deployments: dict[str, Deployment], workers: Scale, tmp_path: Path
) -> None:
    binding = {"target": {"deployment": "pods", "service": "workers"}}
    first = workers(2)

    def run(seconds: int, **identity: Any) -> tuple[Any, Log]:
        jobs = [{"name": f"job{i}", "seconds": seconds} for i in range(4)]
        return execution(spec(tmp_path, deployments, binding, jobs, TOOL, **identity))

    made, log = run(8)
    running = asyncio.ensure_future(made.run())
    while log.text.count(" submitted as ") < 2:
        assert not running.done(), log.text
        await asyncio.sleep(0.2)
    (left,) = await asyncio.to_thread(workers, 1)
    with pytest.raises(HybridError) as caught:
        await asyncio.wait_for(running, 120)
    print(caught.value, caught.value.retryable)
    assert caught.value.retryable
    again, log = run(8, try_number=2)
    outcome = await asyncio.wait_for(again.run(), 120)
    print(log.text)
    connector = open_connector(deployments, "pods")
    (host,) = await connector.hosts("workers")
    ran = (await host.run("cat /tmp/ran")).out.split()
    assert sorted(ran) == [f"job{i}" for i in range(4)], "what ran in the pod that stayed was not run again"
    assert host.location == left and set(first) > {left}
    assert len(outcome.results) == 4
    more = await asyncio.to_thread(workers, 3)
    await asyncio.sleep(0.6)
    new, log = run(1, generation=1)
    assert placed((await new.run()).lineage) == set(more)
