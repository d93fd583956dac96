# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Services of a Kubernetes cluster with task directories of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from airflow_hybrid.sites.connectors.kubernetes import KubernetesConnector
from tests.unit.sites.shell_hosts import batch

WAIT_S = 120
Connect = Callable[..., KubernetesConnector]


class Bench:
    """One service of a connector and a task directory of its own."""

    def __init__(self, connector: KubernetesConnector, service: str, task: str, **queue: Any) -> None:
        self.connector, self.service, self.task = connector, service, task
        self.settings = queue

    async def ready(self) -> Bench:
        (self.host,) = await self.connector.hosts(self.service)
        self.queue = self.connector.queue(self.host, self.service)
        for name, value in self.settings.items():
            setattr(self.queue, name, value)
        self.folder = f"{await self.connector.workdir(self.host, self.service)}/{self.task}"
        return self

    def batch(self, token: str = "a1", *args: Any, **more: Any) -> Any:
        options = {**self.connector.options(self.service), **more.pop("options", {})}
        return batch(f"{self.folder}/{token}", *args, options=options, **more)

    async def run(self, made: Any, progress: Any = None) -> Any:
        await self.queue.submit(made)
        return await asyncio.wait_for(self.queue.wait(made.directory, progress), WAIT_S)
