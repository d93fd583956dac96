# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Connectors to the cluster of a test, and services of theirs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from airflow_hybrid.config import Deployment
from airflow_hybrid.sites.connectors.kubernetes import KubernetesConnector
from tests.system.kube import Kube
from tests.system.kubernetes.benches import Bench, Connect


@pytest.fixture
async def connect(kube: Kube) -> AsyncIterator[Connect]:
    """Makes connectors to the cluster, as different Airflow processes would have them."""
    made: list[KubernetesConnector] = []

    def make(services: dict[str, Any] | None = None, **config: Any) -> KubernetesConnector:
        deployment = Deployment("kube", "kubernetes", config=kube.config(services, **config))
        made.append(KubernetesConnector(deployment))
        return made[-1]

    yield make
    for connector in made:
        await connector.close()


@pytest.fixture
async def bench(connect: Connect) -> AsyncIterator[Callable[..., Any]]:
    opened: list[Bench] = []

    async def make(
        service: dict[str, Any] | None = None, task: str | None = None, connector: Any = None, **queue: Any
    ) -> Bench:
        services = None if service is None else {"small": service}
        made = Bench(connector or connect(services), "small", task or f"T{os.urandom(4).hex()}", **queue)
        opened.append(await made.ready())
        return made

    yield make
    for made in opened:
        await made.queue.cancel(made.folder)
