# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Deployments that are a container image: containers that stand for a run, and images in which jobs run."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from typing import Any

from airflow_hybrid.config import Deployment
from airflow_hybrid.config.containers import arguments
from airflow_hybrid.containers import RUNTIMES, Archives
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
from airflow_hybrid.sites.containers.inspect import PROJECT, Container, is_final
from airflow_hybrid.sites.containers.standing import Standing, Wish, of_runs
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.environment import expanding

DEPLOY_TIMEOUT_S = 600


def image_of(reference: str) -> ImageSource:
    """The image that a hybrid file names: a path at the location, or what is pulled."""
    if reference.startswith("/"):
        return ImageSource(image_id=reference, required=True)
    return ImageSource(pull=reference, required=True)


async def image_there(host: Host, runtime: str, source: ImageSource, workdir: str) -> str:
    """For people: whether a runtime has an image at a location, where its own images are below ``workdir``."""
    places = Archives(posixpath.join(workdir, IMAGES))
    text = RUNTIMES[runtime].present(RUNTIMES[runtime].reference(source, places))
    there = (await host.run(text, label="look for the image")).exit_code == 0
    return f"{source.title} is there" if there else f"{source.title} would be pulled"


class ContainerConnector(InContainers):
    """``docker``, ``podman``: one container per replica, made for the run; or external ones, by id or name."""

    async def hosts(self, service: str | None = None) -> list[Host]:
        """The containers that run now.

        :raises EndedError: none of them runs any more.
        """
        outer = await self.outer()
        found = await self._containers(outer)
        running = [c for c in found if c.status == "running"]
        if not running:
            said = "".join(f"\n  {container}" for container in found)
            raise EndedError(
                f"no container of {self.title_of()} runs{said}", where=outer.title, hint=self.missing_hint()
            )
        return [self.host_of(outer, self.deployment.type, c, self._location(c, len(found))) for c in running]

    def _location(self, container: Container, of: int) -> str:
        if self.deployment.external:
            return container.name
        return f"container-{container.number}" if of > 1 else "container"

    async def _containers(self, outer: Host) -> list[Container]:
        if not self.deployment.external:
            return await self._standing(outer).look()
        config = self.deployment.config
        names = [str(name) for name in config.get("containerIds") or [config["containerId"]]]
        try:
            return await Standing(outer, self.deployment.type, {}, ()).named(names)
        except CommandError as error:
            raise SiteError(
                f"{self.title_of()} is the container {', '.join(names)}, which cannot be found: {error.stderr.strip()}",
                where=outer.title,
                hint=f"see `{self.deployment.type} ps -a` there",
            ) from None

    def _standing(self, outer: Host) -> Standing:
        found_by = (f"{LABEL}/token", f"{LABEL}/deployment")
        return Standing(outer, self.deployment.type, self.labels, found_by)

    # --- deploying --------------------------------------------------------------------------------------------------

    async def deploy(self, services: Collection[str]) -> None:
        outer = await self.outer()
        config = self.deployment.config
        await self._bring_image(outer, image_of(str(config["image"])))
        given = {k: v for k, v in config.items() if k != "env"}
        options = (*arguments(given), *(f"--env={item}" for item in config.get("env") or ()))
        command = config.get("command")
        wish = Wish(str(config["image"]), options, None if command is None else tuple(map(str, command)))
        replicas = int(config.get("replicas") or 1)
        names = [self.deployed_name if i == 0 else f"{self.deployed_name}-{i + 1}" for i in range(replicas)]
        timeout_s = float(config.get("deployTimeout") or DEPLOY_TIMEOUT_S)
        await self._standing(outer).bring_up(names, wish, timeout_s)

    async def _bring_image(self, outer: Host, source: ImageSource) -> None:
        """:raises DeployError: the engine is not there, or cannot get the image."""
        assert self.inner is not None
        await self._engine(outer)
        places = Archives(posixpath.join(await self.inner.workdir(outer), IMAGES))
        try:
            await obtain(outer, RUNTIMES[self.deployment.type], source, places)
        except SiteError as error:
            raise DeployError(
                error.message, where=error.where, hint=error.hint, retryable=not is_final(error.message)
            ) from None

    async def _engine(self, outer: Host) -> str:
        """Name and version of the engine.

        :raises DeployError: it is not there, or does not answer.
        """
        kind = self.deployment.type
        detected = await find_runtime(outer, ContainerSettings(kind))
        if detected.runtime is None:
            reasons = "; ".join(f"{name} {why}".rstrip() for name, why in detected.unusable)
            raise DeployError(
                f"{self.title_of()} is of type {kind}, which cannot be used: {reasons}",
                where=outer.title,
                hint=f"install {kind} there and let this user use it, or write another type (docker, podman)",
                retryable=False,
            )
        return f"{kind} {'.'.join(map(str, detected.version))}" + (", rootless" if detected.rootless else "")

    async def deployable(self) -> str:
        outer = await self.outer()
        engine = await self._engine(outer)
        there = await image_there(outer, self.deployment.type, image_of(str(self.deployment.config["image"])), "")
        return f"{engine} at {outer.title}, {there}"

    async def undeploy(self) -> None:
        await self._standing(await self.outer()).remove()

    async def deployed(self) -> list[Deployed]:
        found: dict[str, list[Container]] = {}
        for container in await of_runs(await self.outer(), self.deployment.type, f"{LABEL}/token"):
            token, name = (container.labels.get(f"{LABEL}/{key}", "") for key in ("token", "deployment"))
            if TOKEN.fullmatch(token) and name == self.deployment.name and PROJECT not in container.labels:
                found.setdefault(token, []).append(container)
        return [
            Deployed(token, f"{len(these)} container", these[0].labels.get(f"{LABEL}/run", ""))
            for token, these in found.items()
        ]


class ImageConnector(Connector):
    """An image in which the jobs of another deployment run: each in a container of its own, made by the job itself.

    Locations, files, queue and services are those of what it wraps (this machine, if nothing).
    """

    def __init__(self, deployment: Deployment, inner: Connector | None = None) -> None:
        super().__init__(deployment, inner or LocalConnector(Deployment(name=LOCAL_DEPLOYMENT, type="local")))
        self._image: ImageSource | None = None

    @property
    def around(self) -> Connector:
        """What it wraps."""
        assert self.inner is not None
        return self.inner

    def _service(self, service: str | None) -> str | None:
        """A binding may name a service of what is wrapped."""
        return service or self.deployment.wraps_service

    async def hosts(self, service: str | None = None) -> list[Host]:
        return await self.around.hosts(self._service(service))

    def scheduler(self) -> Scheduler:
        return self.around.scheduler()

    def queue(self, host: Host, service: str | None = None) -> JobQueue:
        return self.around.queue(host, self._service(service))

    def options(self, service: str | None = None) -> Mapping[str, Any]:
        return self.around.options(self._service(service))

    @property
    def containers(self) -> JsonValue:
        config = self.deployment.config
        own = self.deployment.containers or {}
        return {
            "runtime": self.deployment.type,
            "options": [*arguments(config), *(own.get("options") or ())],
            "network": True,
        }

    async def image(self, host: Host, service: str | None = None) -> ImageSource:
        """The image; ``~`` and ``$NAME`` in a path are the location's own.

        :raises ConfigError: the jobs there are in containers already.
        """
        if self.queue(host, service).makes_containers:
            raise ConfigError(
                f"the jobs of what {self.title} wraps are in containers already",
                hint="give the image to the service of the wrapped deployment, and bind steps to that",
            )
        if self._image is None:
            given = str(self.deployment.config["image"])
            if given.startswith(("~", "$")):
                result = await host.run(f"printf %s {expanding(given)}", label="path of the image")
                given = result.check(f"the image {given!r} cannot be resolved").out
            self._image = image_of(given)
        return self._image

    @property
    def title(self) -> str:
        """For messages."""
        return f"deployment {self.deployment.name!r}"
