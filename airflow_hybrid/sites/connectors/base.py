# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a connector is: a deployment's locations, work directory and job queues."""

from __future__ import annotations

import abc
import asyncio
import hashlib
import posixpath
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import ConfigError, SiteError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.containers import ImageSource
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.environment import expanding

FOLDER = "airflow_hybrid"
"""name of the work directory where the hybrid file gives none"""


LABEL = "airflow-hybrid"
"""prefix of the labels on what is deployed: ``airflow-hybrid/token``, ``.../deployment``, ``.../run``"""
TOKEN = re.compile(r"ah-[0-9a-f]{6}-[0-9a-f]{10}")
"""a DAG run's token: the Airflow that it belongs to (:func:`airflow_hybrid.operators.base.instance_id`), the run"""
NAME_LENGTH = 53
"""of a Helm release, the shortest of the names that are made"""


@dataclass(frozen=True)
class Deployed:
    """What is there of a deployment, of some DAG run, as found by its labels or its name.

    :ivar token: of that run (:data:`TOKEN`).
    :ivar what: for people: ``2 containers``; ``run``: the DAG and the run, as far as that can be told.
    """

    token: str
    what: str
    run: str = ""


class Connector(abc.ABC):
    """One deployment in this process and event loop.

    A connector that can be *deployed* sets ``managed``. An Airflow setup task then calls :meth:`deploy` before the
    first step bound to it, and a teardown task :meth:`undeploy` after the last, unless the deployment is external.
    Nothing is handed from one to the other or to the steps but the run's token (``deployment.token``): whatever was
    deployed carries it in a label or its name and is found again by it, so that no kill of Airflow loses it.

    :cvar managed: whether it can be deployed.

    :param deployment: its values.
    :param inner: the connector of the deployment that it wraps; None for this machine, or where it wraps nothing.
    """

    managed: ClassVar[bool] = False

    def __init__(self, deployment: Deployment, inner: Connector | None = None) -> None:
        self.deployment = deployment
        self.inner = inner
        self._workdirs: dict[str, asyncio.Task[str]] = {}
        self._queues: dict[tuple[str, str | None], JobQueue] = {}

    @property
    def storage(self) -> str:
        """Name of the deployment whose files these are: that of the innermost one."""
        return self.inner.storage if self.inner is not None else self.deployment.name

    @property
    def owns_hosts(self) -> bool:
        """Whether its hosts, and their connections, are its own and not those of what it wraps."""
        return self.inner is None

    @abc.abstractmethod
    async def hosts(self, service: str | None = None) -> list[Host]:
        """The locations of a service (or of the deployment), always the same objects; no connection is made."""

    @abc.abstractmethod
    def scheduler(self) -> Scheduler:
        """Who runs the jobs there."""

    def options(self, service: str | None = None) -> Mapping[str, Any]:
        """What the hybrid file says about the jobs of a service, for :class:`airflow_hybrid.sites.batches.queue.Batch`.

        Native options of the scheduler by their names in the file, and ``template``: the text of the service's
        Jinja2 template (that of no service where it has none of its own).
        """
        options: dict[str, Any] = {}
        templates = self.deployment.templates
        template = templates.get(service or "", templates.get(""))
        if template is not None:
            options["template"] = template
        mpi = self.deployment.config.get("mpi")
        if mpi:
            options["mpi"] = mpi
        return options

    @property
    def containers(self) -> JsonValue:
        """What the hybrid file says about its containers (``{runtime, options}``), or about those of what it wraps."""
        own: JsonValue = self.deployment.containers
        return own if own or self.inner is None else self.inner.containers

    async def image(self, host: Host, service: str | None = None) -> ImageSource | None:
        """The image in which jobs of a service run that ask for none; None: they run without a container.

        What runs it is said by :attr:`containers`.
        """
        return None

    def queue(self, host: Host, service: str | None = None) -> JobQueue:
        """The queue of jobs at a location; always the same object."""
        key = (host.location, service)
        if key not in self._queues or self._queues[key].host is not host:  # a container that was made anew
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
            path = posixpath.normpath(given)
            return path if self.deployment.workdir else await own_folder(host, path)
        result = await host.run(f"printf %s {expanding(given)}", label="work directory")
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

    # --- deploying ------------------------------------------------------------------------------------------------

    @property
    def deployed_name(self) -> str:
        """Name of what is deployed for this run."""
        return self.name_for(self.deployment.token)

    def name_for(self, token: str) -> str:
        """Name of what is deployed for a run: its token and the deployment's name, in ``[a-z0-9-]``.

        Two deployments of a run whose names differ in other characters only get two names, by a digest.
        """
        name = self.deployment.name
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        room = NAME_LENGTH - len(token) - 1
        if slug != name or len(slug) > room:
            digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:6]
            slug = f"{slug[: room - 7].strip('-')}-{digest}".strip("-")
        return f"{token}-{slug}"

    @property
    def labels(self) -> dict[str, str]:
        """By which what is deployed is found again. The value of ``run`` is free text."""
        return {
            f"{LABEL}/token": self.deployment.token,
            f"{LABEL}/deployment": self.deployment.name,
            f"{LABEL}/run": self.deployment.run,
        }

    async def deploy(self, services: Collection[str]) -> None:  # noqa: B027 - most are there already
        """Bring the deployment up for its run, and return when every service of it can run a job.

        What is up already stays as it is, so it may be called again at any time. After a failure
        :meth:`undeploy` is called, so a half-made deployment is of no concern here.

        :param services: those that steps are bound to.
        :raises ConfigError: it has no such service; nothing was deployed.
        :raises DeployError: in the tool's own words.
        """

    async def undeploy(self) -> None:  # noqa: B027
        """Take away everything that :meth:`deploy` made for the run; what is not there is no error.

        :raises DeployError: something is still there.
        """

    async def deployable(self) -> str:
        """Whether what :meth:`deploy` needs is there; for people, such as ``podman 4.9.3``. Nothing is changed.

        :raises HybridError: it is not.
        """
        return ""

    async def where(self) -> str:
        """Where it is deployed, for people: what it wraps."""
        inner = self.inner
        return (await inner.hosts(self.deployment.wraps_service))[0].title if inner is not None else "this machine"

    async def deployed(self) -> list[Deployed]:
        """What is there of this deployment for any run of any Airflow; it is listed by ``airflow hybrid cleanup``."""
        return []

    async def close(self) -> None:
        """Release connections; the connector may be used again."""
        for host in await self.hosts():
            await host.close()


async def own_folder(host: Host, path: str) -> str:
    """A folder of a fixed name where everybody may make folders (``/tmp``), as long as it is ours.

    :raises SiteError: another user was there first.
    """
    text = (
        f'ah_f={shlex.quote(path)}; mkdir -m 700 -- "$ah_f" 2>/dev/null; '
        '[ -d "$ah_f" ] && [ ! -h "$ah_f" ] && [ -O "$ah_f" ]'
    )
    if posixpath.dirname(path) == "/tmp" and (await host.run(text, label="work directory")).exit_code != 0:
        raise SiteError(
            f"{path} is not a folder of this user's own",
            where=host.title,
            hint="somebody else has made it: give the deployment a `workdir`",
        )
    return path
