# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The environment of a contract test: a connector in its own event loop, and a folder that is removed afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from airflow_hybrid.errors import HostUnreachableError
from airflow_hybrid.model import JobResult, JobScript
from airflow_hybrid.model.containers import Container, Mount, ReadyImage
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.batches.queue import Batch, JobQueue
from airflow_hybrid.sites.connectors import Connector
from airflow_hybrid.sites.containers.images import ImageStorage, container_settings, ready_image
from airflow_hybrid.sites.hosts.base import CommandResult, Host

MakeConnector = Callable[[], Connector]
LIMIT_S = 300.0
"""limit for a contract test; one that takes longer hangs"""


class Contract:
    """What the parts of the contract share.

    :cvar service: the service to use, if the connector has services.
    :cvar large: number of jobs of the large batch.
    :cvar grace_s: how long the site's own account of a job may lag behind.
    """

    service: str | None = None
    large: int = 200
    grace_s: float = 10.0

    @pytest.fixture
    def make_connector(self) -> MakeConnector:
        """Override this with a function that makes a new connector, as another process would.

        Two connectors that it makes share nothing but the site.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `make_connector` that returns a function which makes a connector"
        )


@dataclass
class Site:
    """One location of a connector.

    :ivar folder: absolute path of the test's own folder, below the work directory; its name contains spaces, quotes
        and more. The first batch creates it.
    """

    connector: Connector
    host: Host
    queue: JobQueue
    folder: str
    service: str | None = None
    image: ReadyImage | None = None
    """the image in which the connector's jobs run; None: they run without a container"""

    @property
    def task(self) -> str:
        """A task directory."""
        return f"{self.folder}/T"

    def batch(
        self, name: str, commands: Sequence[Sequence[str]], *, job: dict[str, Any] | None = None, **more: Any
    ) -> Batch:
        """A batch ``<task>/<name>`` of one job per command; ``job``: further fields of each JobScript."""
        directory = f"{self.task}/{name}"
        keys = tuple(f"{index:05d}" for index in range(len(commands)))
        jobs = tuple(
            self._boxed(JobScript(tuple(command), f"{directory}/{key}/out", f"{directory}/{key}/tmp", **(job or {})))
            for key, command in zip(keys, commands, strict=True)
        )
        options = {**self.connector.options(self.service), **more.pop("options", {})}
        return Batch(directory, "contract", keys, jobs, options=options, **more)

    def _boxed(self, job: JobScript) -> JobScript:
        """The job in a container of the connector's image, which sees the test's folder where it is."""
        if self.image is None:
            return job
        return replace(job, container=Container(self.image, (Mount(self.folder, self.folder, True),), job.outdir))

    async def run(self, batch: Batch) -> list[JobResult]:
        """Submit a batch and wait for it."""
        await self.queue.submit(batch)
        return await self.queue.wait(batch.directory)

    async def sh(self, command: str) -> str:
        """Run shell text that must succeed; its stdout."""
        return (await self.host.run(command)).check("a command of the contract failed").out

    async def read(self, path: str) -> str:
        """The content of a file at the location."""
        return await self.sh(f"cat -- {shlex.quote(path)}")

    @contextlib.contextmanager
    def lost_reply(self) -> Any:
        """Lose the reply to the next command after it ran; -> the commands whose replies were lost."""
        lost: list[str] = []
        host = self.queue.host  # may be a host that also answers questions
        full_run = host.run

        async def run(command: str, **options: Any) -> CommandResult:
            result = await full_run(command, **options)
            if not lost:
                lost.append(result.command)
                raise HostUnreachableError("the connection was lost while a command ran", where=self.host.title)
            return result

        host.run = run  # type: ignore[method-assign]
        try:
            yield lost
        finally:
            host.run = full_run  # type: ignore[method-assign]


@contextlib.asynccontextmanager
async def opened(make_connector: MakeConnector, service: str | None, name: str = "") -> AsyncIterator[Site]:
    """The first location of a new connector; jobs are cancelled and files removed afterwards.

    :param name: of the folder, to use one that another process made; it is then not removed.
    """
    connector = make_connector()
    host = (await connector.hosts(service))[0]
    workdir = await connector.workdir(host, service)
    folder = f"{workdir}/{name or new_folder()}"
    queue = connector.queue(host, service)
    site = Site(connector, host, queue, folder, service)
    created = await host.run(removal.functions() + removal.make(folder))
    created.check("the folder of the contract's tests cannot be made")
    try:
        if source := await connector.image(host, service):
            storage = ImageStorage(workdir, elsewhere=not queue.scheduler.on_host)
            site.image = await ready_image(host, source, container_settings(connector.containers), storage)
        yield site
    finally:
        try:
            if not name:
                await remove(site)
        finally:
            await connector.close()
            for wrapped in _wrapped(connector):
                await wrapped.close()


def _wrapped(connector: Connector) -> list[Connector]:
    return [] if connector.wrapped is None else [connector.wrapped, *_wrapped(connector.wrapped)]


def new_folder() -> str:
    """A name that breaks code without quoting."""
    return f'contract {secrets.token_hex(4)} o\'clock "$HOME" é;&'


async def remove(site: Site) -> None:
    """End the jobs of a site's folder and remove it."""
    if (await site.host.run(f"test -d {shlex.quote(site.folder)}")).exit_code == 0:
        await site.queue.cancel(site.task)
        # jobs that are just being killed may still write
        again = f"for i in 1 2 3 4 5; do {removal.remove(site.folder)} && exit; sleep 1; done; exit 1"
        (await site.host.run(removal.functions() + again)).check(
            "the folder of the contract's tests could not be removed"
        )


def contract(test: Callable[[Any, Site], Awaitable[None]]) -> Callable[..., None]:
    """Turn an asynchronous test into a plain one, with a new event loop and connector."""

    def run(self: Contract, make_connector: MakeConnector) -> None:
        async def body() -> None:
            async with opened(make_connector, self.service) as site:
                site.queue.grace_s = self.grace_s
                await asyncio.wait_for(test(self, site), LIMIT_S)

        asyncio.run(body())

    run.__name__, run.__qualname__, run.__doc__, run.__module__ = (
        test.__name__,
        test.__qualname__,
        test.__doc__,
        test.__module__,
    )
    return run


def in_another_process(make_connector: MakeConnector, work: Callable[[], Awaitable[None]]) -> int:
    """Start a process that does ``work`` in an event loop of its own; -> its id. The caller has to end and reap it."""
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(work())  # type: ignore[arg-type]
        finally:
            os._exit(0)
    return pid
