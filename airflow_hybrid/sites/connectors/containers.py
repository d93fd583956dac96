# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Deployments that are a container image: containers that run for a DAG run, and images in which jobs run."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from typing import Any

from airflow_hybrid import settings
from airflow_hybrid.config import Deployment
from airflow_hybrid.config.containers import arguments
from airflow_hybrid.containers import RUNTIMES, ImagePaths
from airflow_hybrid.errors import CommandError, ConfigError, DeployError, EndedError, SiteError
from airflow_hybrid.model import LOCAL_DEPLOYMENT, JsonValue
from airflow_hybrid.model.containers import ImageSource
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.sites.batches.queue import JobQueue
from airflow_hybrid.sites.connectors.base import LABEL, TOKEN, Connector, Deployed
from airflow_hybrid.sites.connectors.hosts import LocalConnector
from airflow_hybrid.sites.connectors.inside import InContainers
from airflow_hybrid.sites.containers.images import FOLDER as IMAGES
from airflow_hybrid.sites.containers.images import ContainerSettings, find_runtime, obtain
from airflow_hybrid.sites.containers.inspect import PROJECT, InspectedContainer, is_final
from airflow_hybrid.sites.containers.running import ContainerSpec, RunningContainers, labelled
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.environment import expanding


def image_of(reference: str) -> ImageSource:
    """The image that a hybrid file names: a path at the location, or a name to pull."""
    if reference.startswith("/"):
        return ImageSource(image_id=reference, required=True)
    return ImageSource(pull=reference, required=True)


async def image_there(host: Host, runtime: str, source: ImageSource, workdir: str) -> str:
    """For people: whether a runtime has an image at a location. Images of this package are below ``workdir``."""
    paths = ImagePaths(posixpath.join(workdir, IMAGES))
    text = RUNTIMES[runtime].present(RUNTIMES[runtime].reference(source, paths))
    is_present = (await host.run(text, label="look for the image")).exit_code == 0
    return f"{source.title} is there" if is_present else f"{source.title} would be pulled"


class ContainerConnector(InContainers):
    """``docker``, ``podman``: one container per replica, started for the run; or external ones, by id or name."""

    async def hosts(self, service: str | None = None) -> list[Host]:
        """The containers that run now.

        :raises EndedError: none of them is running.
        """
        engine_host = await self.engine_host()
        containers = await self._containers(engine_host)
        running = [c for c in containers if c.status == "running"]
        if not running:
            states = "".join(f"\n  {container}" for container in containers)
            raise EndedError(
                f"no container of {self.title_of()} is running{states}",
                where=engine_host.title,
                hint=self.missing_hint(),
            )
        return [self.host_of(engine_host, self.deployment.type, c, self._location(c, len(containers))) for c in running]

    def _location(self, container: InspectedContainer, of: int) -> str:
        if self.deployment.external:
            return container.name
        return f"container-{container.number}" if of > 1 else "container"

    async def _containers(self, engine_host: Host) -> list[InspectedContainer]:
        if not self.deployment.external:
            return await self._running_containers(engine_host).look()
        config = self.deployment.config
        names = [str(name) for name in config.get("containerIds") or [config["containerId"]]]
        try:
            return await RunningContainers(engine_host, self.deployment.type, {}, ()).named(names)
        except CommandError as error:
            raise SiteError(
                f"{self.title_of()}: there is no container {', '.join(names)}: {error.stderr.strip()}",
                where=engine_host.title,
                hint=f"see `{self.deployment.type} ps -a` there",
            ) from None

    def _running_containers(self, engine_host: Host) -> RunningContainers:
        found_by = (f"{LABEL}/token", f"{LABEL}/deployment")
        return RunningContainers(engine_host, self.deployment.type, self.labels, found_by)

    # --- deploying --------------------------------------------------------------------------------------------------

    async def deploy(self, services: Collection[str]) -> None:
        engine_host = await self.engine_host()
        config = self.deployment.config
        await self._bring_image(engine_host, image_of(str(config["image"])))
        run_options = {k: v for k, v in config.items() if k != "env"}
        options = (*arguments(run_options), *(f"--env={variable}" for variable in config.get("env") or ()))
        command = config.get("command")
        spec = ContainerSpec(str(config["image"]), options, None if command is None else tuple(map(str, command)))
        replicas = int(config.get("replicas") or 1)
        names = [self.deployed_name if i == 0 else f"{self.deployed_name}-{i + 1}" for i in range(replicas)]
        timeout_s = float(config.get("deployTimeout") or settings.current().deploy_timeout)
        await self._running_containers(engine_host).bring_up(names, spec, timeout_s)

    async def _bring_image(self, engine_host: Host, source: ImageSource) -> None:
        """:raises DeployError: the engine is unavailable, or cannot get the image."""
        assert self.wrapped is not None
        await self._engine(engine_host)
        paths = ImagePaths(posixpath.join(await self.wrapped.workdir(engine_host), IMAGES))
        try:
            await obtain(engine_host, RUNTIMES[self.deployment.type], source, paths)
        except SiteError as error:
            raise DeployError(
                error.message, where=error.where, hint=error.hint, retryable=not is_final(error.message)
            ) from None

    async def _engine(self, engine_host: Host) -> str:
        """Name and version of the engine.

        :raises DeployError: it is unavailable.
        """
        kind = self.deployment.type
        detected = await find_runtime(engine_host, ContainerSettings(kind))
        if detected.runtime is None:
            reasons = "; ".join(f"{name} {why}".rstrip() for name, why in detected.unusable)
            raise DeployError(
                f"{self.title_of()} is of type {kind}, which cannot be used: {reasons}",
                where=engine_host.title,
                hint=f"install {kind} there and let this user use it, or choose another type (docker, podman)",
                retryable=False,
            )
        return f"{kind} {'.'.join(map(str, detected.version))}" + (", rootless" if detected.rootless else "")

    async def deployable(self) -> str:
        engine_host = await self.engine_host()
        engine = await self._engine(engine_host)
        presence = await image_there(
            engine_host, self.deployment.type, image_of(str(self.deployment.config["image"])), ""
        )
        return f"{engine} at {engine_host.title}, {presence}"

    async def undeploy(self) -> None:
        await self._running_containers(await self.engine_host()).remove()

    async def deployed(self) -> list[Deployed]:
        containers_by_token: dict[str, list[InspectedContainer]] = {}
        for container in await labelled(await self.engine_host(), self.deployment.type, f"{LABEL}/token"):
            token, name = (container.labels.get(f"{LABEL}/{key}", "") for key in ("token", "deployment"))
            if TOKEN.fullmatch(token) and name == self.deployment.name and PROJECT not in container.labels:
                containers_by_token.setdefault(token, []).append(container)
        return [
            Deployed(token, f"{len(containers)} container", containers[0].labels.get(f"{LABEL}/run", ""))
            for token, containers in containers_by_token.items()
        ]


class ImageConnector(Connector):
    """An image in which the jobs of another deployment run: each job starts a container of its own.

    Locations, files, queue and services are those of the wrapped deployment (default: this machine).
    """

    def __init__(self, deployment: Deployment, wrapped: Connector | None = None) -> None:
        super().__init__(deployment, wrapped or LocalConnector(Deployment(name=LOCAL_DEPLOYMENT, type="local")))
        self._image: ImageSource | None = None

    @property
    def job_connector(self) -> Connector:
        """The wrapped connector, which has the locations and queues for the jobs."""
        assert self.wrapped is not None
        return self.wrapped

    def _service(self, service: str | None) -> str | None:
        """The wrapped deployment's service: a binding may name one."""
        return service or self.deployment.wraps_service

    async def hosts(self, service: str | None = None) -> list[Host]:
        return await self.job_connector.hosts(self._service(service))

    def scheduler(self) -> Scheduler:
        return self.job_connector.scheduler()

    def queue(self, host: Host, service: str | None = None) -> JobQueue:
        return self.job_connector.queue(host, self._service(service))

    def options(self, service: str | None = None) -> Mapping[str, Any]:
        return self.job_connector.options(self._service(service))

    @property
    def containers(self) -> JsonValue:
        config = self.deployment.config
        settings = self.deployment.containers or {}
        return {
            "runtime": self.deployment.type,
            "options": [*arguments(config), *(settings.get("options") or ())],
            "network": True,
        }

    async def image(self, host: Host, service: str | None = None) -> ImageSource:
        """The image; the location expands ``~`` and ``$NAME`` in a path.

        :raises ConfigError: the jobs there run in containers already.
        """
        if self.queue(host, service).makes_containers:
            raise ConfigError(
                f"the jobs of the deployment that {self.title} wraps run in containers already",
                hint="name the image in the service of the wrapped deployment, and bind steps to that",
            )
        if self._image is None:
            reference = str(self.deployment.config["image"])
            if reference.startswith(("~", "$")):
                result = await host.run(f"printf %s {expanding(reference)}", label="path of the image")
                reference = result.check(f"the image {reference!r} cannot be resolved").out
            self._image = image_of(reference)
        return self._image

    @property
    def title(self) -> str:
        """For messages."""
        return f"deployment {self.deployment.name!r}"
