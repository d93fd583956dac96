# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From a deployment of the hybrid file to its locations, work directory and job queues.

A third party adds a type by a subclass of :class:`Connector` and an entry point of the group
``airflow_hybrid.connectors`` named after the type.
"""

from __future__ import annotations

import abc
import asyncio
import json
import os
import posixpath
import weakref
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import ConfigError, SiteError
from airflow_hybrid.hooks.base import Host
from airflow_hybrid.hooks.local import LocalHost
from airflow_hybrid.hooks.queue import JobQueue
from airflow_hybrid.hooks.ssh import SshHost
from airflow_hybrid.hooks.ssh_settings import nodes_of
from airflow_hybrid.model import LOCAL_DEPLOYMENT
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.schedulers.process import ProcessScheduler
from airflow_hybrid.schedulers.slurm import SlurmScheduler

ENTRY_POINT_GROUP = "airflow_hybrid.connectors"
FOLDER = "airflow_hybrid"
"""name of the work directory where the hybrid file gives none"""


class Connector(abc.ABC):
    """One deployment in this process and event loop.

    :param deployment: its values.
    :param inner: the connector of the deployment that it wraps; None for this machine, or where it wraps nothing.
    """

    def __init__(self, deployment: Deployment, inner: Connector | None = None) -> None:
        self.deployment = deployment
        self.inner = inner
        self._workdirs: dict[str, asyncio.Task[str]] = {}
        self._queues: dict[tuple[str, str | None], JobQueue] = {}

    @property
    def storage(self) -> str:
        """Name of the deployment whose files these are: that of the innermost one."""
        return self.inner.storage if self.inner is not None else self.deployment.name

    @abc.abstractmethod
    async def hosts(self, service: str | None = None) -> list[Host]:
        """The locations of a service (or of the deployment), always the same objects; no connection is made."""

    @abc.abstractmethod
    def scheduler(self) -> Scheduler:
        """Who runs the jobs there."""

    def options(self, service: str | None = None) -> Mapping[str, Any]:
        """What the hybrid file says about the jobs of a service, for :class:`airflow_hybrid.hooks.queue.Batch`.

        Native options of the scheduler by their names in the file, and ``template``: the text of the service's
        Jinja2 template (that of no service where it has none of its own).
        """
        templates = self.deployment.templates
        template = templates.get(service) if service is not None else None
        template = templates.get("") if template is None else template
        return {} if template is None else {"template": template}

    def queue(self, host: Host, service: str | None = None) -> JobQueue:
        """The queue of jobs at a location; always the same object."""
        key = (host.location, service)
        if key not in self._queues:
            self._queues[key] = JobQueue(host, self.scheduler())
        return self._queues[key]

    def shares(self, path: str) -> bool:
        """Whether all locations of the deployment see the same file at ``path``."""
        return self.inner.shares(path) if self.inner is not None else False

    async def workdir(self, host: Host, service: str | None = None) -> str:
        """Absolute path of the folder for jobs and data at a location; resolved there once.

        ``~`` and ``$NAME`` in the hybrid file are the location's own.

        :raises SiteError: the location was not reached, or has no such folder.
        """
        if host.location not in self._workdirs or self._workdirs[host.location].cancelled():
            self._workdirs[host.location] = asyncio.ensure_future(self._resolve_workdir(host))
        task = self._workdirs[host.location]
        try:
            return await asyncio.shield(task)
        except (SiteError, ConfigError):
            self._workdirs.pop(host.location, None)
            raise

    async def _resolve_workdir(self, host: Host) -> str:
        if self.deployment.workdir is None and self.inner is not None:
            return await self.inner.workdir(host)
        given = self.deployment.workdir or self.default_workdir()
        if given.startswith("/") and "$" not in given:
            return posixpath.normpath(given)
        result = await host.run(f"printf %s {_expanding(given)}", label="work directory")
        path = result.check(f"the work directory {given!r} cannot be resolved").out
        if not path.startswith("/"):
            raise ConfigError(
                f"the workdir {given!r} of deployment {self.deployment.name!r} is {path!r} at {host.title}",
                hint="give an absolute path, or one that begins with ~ or a variable that is set there",
            )
        return posixpath.normpath(path)

    def default_workdir(self) -> str:
        """Where the jobs go when the hybrid file does not say."""
        return f"$HOME/{FOLDER}"

    async def close(self) -> None:
        """Release connections; the connector may be used again."""
        for host in await self.hosts():
            await host.close()


def _expanding(path: str) -> str:
    """A shell word in which ``~`` and ``$NAME`` or ``${NAME}`` are expanded, and nothing else."""
    if path == "~" or path.startswith("~/"):
        path = "$HOME" + path[1:]
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$(", "\\$(") + '"'


class LocalConnector(Connector):
    """The machine that Airflow's process runs on."""

    async def hosts(self, service: str | None = None) -> list[Host]:
        if not hasattr(self, "_host"):
            self._host = LocalHost(self.deployment.name, cores=self.deployment.config.get("cores"))
        return [self._host]

    def scheduler(self) -> Scheduler:
        return ProcessScheduler()

    def default_workdir(self) -> str:
        home = os.environ.get("AIRFLOW_HOME") or os.path.expanduser("~/airflow")
        return os.path.join(os.path.abspath(home), FOLDER, self.deployment.name)


class SshConnector(Connector):
    """One or more hosts that run jobs themselves."""

    def __init__(self, deployment: Deployment, inner: Connector | None = None) -> None:
        super().__init__(deployment, inner)
        cores = deployment.config.get("cores")
        self._hosts: list[Host] = [
            SshHost(deployment.name, name, settings, cores) for name, settings in nodes_of(deployment.config).items()
        ]
        self._shared = [posixpath.normpath(path) for path in deployment.config.get("sharedPaths") or ()]

    @property
    def storage(self) -> str:
        return self.deployment.name

    async def hosts(self, service: str | None = None) -> list[Host]:
        return self._hosts

    def scheduler(self) -> Scheduler:
        return ProcessScheduler()

    def shares(self, path: str) -> bool:
        return any(path == shared or path.startswith(shared.rstrip("/") + "/") for shared in self._shared)


class SlurmConnector(Connector):
    """A Slurm cluster: its commands run on the first location of what it wraps (this machine, if nothing)."""

    def __init__(self, deployment: Deployment, inner: Connector | None = None) -> None:
        super().__init__(deployment, inner or LocalConnector(Deployment(name=LOCAL_DEPLOYMENT, type="local")))

    async def hosts(self, service: str | None = None) -> list[Host]:
        assert self.inner is not None
        return (await self.inner.hosts(self.deployment.wraps_service))[:1]

    def scheduler(self) -> Scheduler:
        return SlurmScheduler()

    def options(self, service: str | None = None) -> Mapping[str, Any]:
        config = self.deployment.config
        services: Mapping[str, Any] = config.get("services") or {}
        native = {key: value for key, value in (services.get(service or "") or {}).items() if key != "file"}
        limits = {key: config[key] for key in ("maxConcurrentJobs", "pollingInterval") if config.get(key) is not None}
        return {**native, **limits, **super().options(service)}


_BUILT_IN: Mapping[str, type[Connector]] = {"local": LocalConnector, "ssh": SshConnector, "slurm": SlurmConnector}
_OPEN: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[int, dict[str, Connector]]] = (
    weakref.WeakKeyDictionary()
)
"""per event loop: the process that owns it, and its connectors by content. A fork inherits none."""


def open_connector(deployments: Mapping[str, Deployment], name: str) -> Connector:
    """The connector of deployment ``name``, shared by everything in this process and event loop.

    Two deployments of the same content are one connector, whichever DAG they come from.

    :param deployments: by name; ``local`` is always there.
    :raises ConfigError: no such deployment, or no connector for its type.
    """
    loop = asyncio.get_running_loop()
    owner, connectors = _OPEN.get(loop, (0, {}))
    if owner != os.getpid():
        connectors = {}
        _OPEN[loop] = (os.getpid(), connectors)
    return _open(connectors, deployments, name, ())


def _open(
    connectors: dict[str, Connector], deployments: Mapping[str, Deployment], name: str, outer: tuple[str, ...]
) -> Connector:
    deployment = deployments.get(name)
    if deployment is None and name == LOCAL_DEPLOYMENT:
        deployment = Deployment(name=LOCAL_DEPLOYMENT, type="local")
    if deployment is None:
        raise ConfigError(f"there is no deployment {name!r}", hint=f"there are: {', '.join(sorted(deployments))}")
    if name in outer:
        raise ConfigError(f"deployment {name!r} wraps itself: {' -> '.join([*outer, name])}")
    chain: list[Any] = []
    inner: Deployment | None = deployment
    while inner is not None and len(chain) <= len(deployments):
        chain.append(inner.to_json())
        inner = deployments.get(inner.wraps) if inner.wraps else None
    key = json.dumps(chain, sort_keys=True, default=str)
    if key not in connectors:
        wrapped = _open(connectors, deployments, deployment.wraps, (*outer, name)) if deployment.wraps else None
        connectors[key] = connector_class(deployment)(deployment, wrapped)
    return connectors[key]


def connector_class(deployment: Deployment) -> type[Connector]:
    """The class for a deployment's type: ours, or that of an entry point.

    :raises ConfigError: neither.
    """
    if deployment.type in _BUILT_IN:
        return _BUILT_IN[deployment.type]
    found = list(entry_points(group=ENTRY_POINT_GROUP, name=deployment.type))
    if not found:
        raise ConfigError(
            f"deployment {deployment.name!r} has type {deployment.type!r}, for which there is no connector",
            hint=f"built in are {', '.join(_BUILT_IN)}; a package may add others by the entry point group"
            f" {ENTRY_POINT_GROUP}",
        )
    loaded = found[0].load()
    if not (isinstance(loaded, type) and issubclass(loaded, Connector)):
        raise ConfigError(f"the entry point {found[0].value!r} for type {deployment.type!r} is not a Connector")
    return loaded


async def close_all() -> None:
    """Close the connections of this event loop; to be called before it ends."""
    _, connectors = _OPEN.get(asyncio.get_running_loop(), (0, {}))
    for connector in list(connectors.values()):
        if connector.inner is None or isinstance(connector, SshConnector):
            await connector.close()
