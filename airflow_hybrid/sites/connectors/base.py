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
"""name of the default work directory"""


LABEL = "airflow-hybrid"
"""prefix of the labels on what is deployed: ``airflow-hybrid/token``, ``.../deployment``, ``.../run``"""
TOKEN = re.compile(r"ah-[0-9a-f]{6}-[0-9a-f]{10}")
"""a DAG run's token: its Airflow (:func:`airflow_hybrid.operators.context.run.instance_id`) and the run"""
NAME_LENGTH = 53
"""limit for a Helm release, the shortest limit of all names that are made"""


@dataclass(frozen=True)
class Deployed:
    """What exists of a deployment for some DAG run, found by labels or by name.

    :ivar token: of that run (:data:`TOKEN`).
    :ivar summary: what there is, for people: ``2 containers``; ``run``: the DAG and the run, as far as known.
    """

    token: str
    summary: str
    run: str = ""


class Connector(abc.ABC):
    """One deployment in this process and event loop.

    A connector that can be *deployed* sets ``managed``. Unless the deployment is external, an Airflow setup task then
    calls :meth:`deploy` before the first step bound to it, and a teardown task calls :meth:`undeploy` after the last.
    Only the run's token (``deployment.token``) is passed between these tasks and to the steps. Whatever was deployed
    has the token in a label or in its name and is found by it, so that killing Airflow loses nothing.

    :cvar managed: whether it can be deployed.

    :param deployment: its values.
    :param wrapped: the connector of the deployment that it wraps; None for this machine, or if it wraps nothing.
    """

    managed: ClassVar[bool] = False

    def __init__(self, deployment: Deployment, wrapped: Connector | None = None) -> None:
        self.deployment = deployment
        self.wrapped = wrapped
        self._workdirs: dict[str, asyncio.Task[str]] = {}
        self._queues: dict[tuple[str, str | None], JobQueue] = {}

    @property
    def storage(self) -> str:
        """Name of the deployment whose files these are: the last one in the chain of ``wraps``."""
        return self.wrapped.storage if self.wrapped is not None else self.deployment.name

    @property
    def owns_hosts(self) -> bool:
        """Whether its hosts and their connections are its own, not those of the wrapped deployment."""
        return self.wrapped is None

    @property
    def personal(self) -> bool:
        """Whether its account is that of the person who triggered the run."""
        return self.deployment.personal or (self.wrapped is not None and self.wrapped.personal)

    @abc.abstractmethod
    async def hosts(self, service: str | None = None) -> list[Host]:
        """The locations of a service (or of the deployment), always the same objects; it opens no connection."""

    @abc.abstractmethod
    def scheduler(self) -> Scheduler:
        """The scheduler that runs the jobs there."""

    def options(self, service: str | None = None) -> Mapping[str, Any]:
        """What the hybrid file says about the jobs of a service, for :class:`airflow_hybrid.sites.batches.queue.Batch`.

        The scheduler's native options by their names in the file, and ``template``: the text of the service's Jinja2
        template (the deployment's, if the service has none).
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
        """``containers`` in the hybrid file (``{runtime, options}``), its own or those of the wrapped deployment."""
        settings: JsonValue = self.deployment.containers
        return settings if settings or self.wrapped is None else self.wrapped.containers

    async def image(self, host: Host, service: str | None = None) -> ImageSource | None:
        """The image for jobs of a service that ask for no container; None: they run without one.

        :attr:`containers` says which runtime is used.
        """
        return None

    def queue(self, host: Host, service: str | None = None) -> JobQueue:
        """The queue of jobs at a location; always the same object."""
        key = (host.location, service)
        if key not in self._queues or self._queues[key].host is not host:  # a container that was recreated
            self._queues[key] = JobQueue(host, self.scheduler())
        return self._queues[key]

    def shares(self, path: str) -> bool:
        """Whether all locations of the deployment see the same file at ``path``."""
        return self.wrapped.shares(path) if self.wrapped is not None else False

    async def workdir(self, host: Host, service: str | None = None) -> str:
        """Absolute path of the folder for jobs and data at a location; resolved there once.

        The location expands ``~`` and ``$NAME``.

        :raises SiteError: the location cannot be reached, or has no such folder.
        """
        if host.location not in self._workdirs or self._workdirs[host.location].cancelled():
            self._workdirs[host.location] = asyncio.ensure_future(self._resolve_workdir(host))
        task = self._workdirs[host.location]
        try:
            return await asyncio.shield(task)
        except (SiteError, ConfigError):
            self._workdirs.pop(host.location, None)
            raise

    async def check_own(self, host: Host, workdir: str) -> None:
        """Check that nobody else's files are in a work directory, where several people use the deployment.

        :raises ConfigError: it belongs to another account.
        """
        if not self.personal or not host.is_login:
            return
        folder = shlex.quote(workdir)
        result = await host.run(f"[ ! -e {folder} ] || [ -O {folder} ]", label="work directory")
        if result.exit_code != 0:
            raise ConfigError(
                f"the work directory {workdir} of deployment {self.deployment.name!r} belongs to another account",
                where=host.title,
                hint="each account needs a work directory of its own: begin `workdir` with ~ or use a variable that is"
                " set there, such as /scratch/$USER/hybrid",
            )

    async def _resolve_workdir(self, host: Host) -> str:
        path = await self._expanded_workdir(host)
        await self.check_own(host, path)
        return path

    async def _expanded_workdir(self, host: Host) -> str:
        if self.deployment.workdir is None and self.wrapped is not None:
            return await self.wrapped.workdir(host)
        configured = self.deployment.workdir or self.default_workdir()
        if configured.startswith("/") and "$" not in configured:
            path = posixpath.normpath(configured)
            return path if self.deployment.workdir else await own_folder(host, path)
        result = await host.run(f"printf %s {expanding(configured)}", label="work directory")
        path = result.check(f"the work directory {configured!r} cannot be resolved").out
        if not path.startswith("/"):
            raise ConfigError(
                f"the workdir {configured!r} of deployment {self.deployment.name!r} is {path!r} at {host.title}",
                hint="use an absolute path, or one that begins with ~ or with a variable that is set there",
            )
        return posixpath.normpath(path)

    def default_workdir(self) -> str:
        """The work directory if the hybrid file names none."""
        return f"$HOME/{FOLDER}"

    # --- deploying ------------------------------------------------------------------------------------------------

    @property
    def deployed_name(self) -> str:
        """Name of what is deployed for this run."""
        return self.name_for(self.deployment.token)

    def name_for(self, token: str) -> str:
        """Name of what is deployed for a run: the token and the deployment's name, in ``[a-z0-9-]``.

        A digest keeps the names of two deployments apart that differ only in other characters.
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
        """Labels by which what was deployed is found again. The value of ``run`` is free text."""
        return {
            f"{LABEL}/token": self.deployment.token,
            f"{LABEL}/deployment": self.deployment.name,
            f"{LABEL}/run": self.deployment.run,
        }

    async def deploy(self, services: Collection[str]) -> None:  # noqa: B027 - most deployments exist already
        """Start the deployment for its run, and return when each of its services can run a job.

        Whatever runs already stays as it is, so this may be called again at any time. After a failure
        :meth:`undeploy` is called, so nothing needs to be cleaned up here.

        :param services: those that steps are bound to.
        :raises ConfigError: it has no such service; nothing was deployed.
        :raises DeployError: in the tool's own words.
        """

    async def undeploy(self) -> None:  # noqa: B027
        """Remove everything that :meth:`deploy` made for the run; it is no error if nothing is there.

        :raises DeployError: something is still there.
        """

    async def deployable(self) -> str:
        """Check that what :meth:`deploy` needs is there; -> what was found, for people (``podman 4.9.3``).

        Nothing is changed.

        :raises HybridError: something is missing.
        """
        return ""

    async def where(self) -> str:
        """Where it is deployed, for people: the wrapped deployment's first location."""
        wrapped = self.wrapped
        return (await wrapped.hosts(self.deployment.wraps_service))[0].title if wrapped is not None else "this machine"

    async def deployed(self) -> list[Deployed]:
        """What exists of this deployment, for any run of any Airflow; ``airflow hybrid cleanup`` lists it."""
        return []

    async def close(self) -> None:
        """Release connections; the connector may be used again."""
        for host in await self.hosts():
            await host.close()


async def own_folder(host: Host, path: str) -> str:
    """A folder with a fixed name in a folder that everybody may write to (``/tmp``), as long as it is ours.

    :raises SiteError: it belongs to another user.
    """
    text = (
        f'ah_f={shlex.quote(path)}; mkdir -m 700 -- "$ah_f" 2>/dev/null; '
        '[ -d "$ah_f" ] && [ ! -h "$ah_f" ] && [ -O "$ah_f" ]'
    )
    if posixpath.dirname(path) == "/tmp" and (await host.run(text, label="work directory")).exit_code != 0:
        raise SiteError(
            f"{path} does not belong to this user",
            where=host.title,
            hint="somebody else made it: give the deployment a `workdir`",
        )
    return path
