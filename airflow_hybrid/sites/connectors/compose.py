# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""``docker-compose``: the containers of a compose file. A service has one location per container."""

from __future__ import annotations

import json
import posixpath
import shlex
import tarfile
from collections.abc import Collection, Sequence
from io import BytesIO
from pathlib import Path

from airflow_hybrid import settings
from airflow_hybrid.config import Deployment
from airflow_hybrid.errors import ConfigError, SiteError
from airflow_hybrid.removal import shell as removal
from airflow_hybrid.sites.connectors.base import TOKEN, Connector, Deployed
from airflow_hybrid.sites.connectors.inside import InContainers
from airflow_hybrid.sites.containers.compose import ComposeProject, Engine, find_engine, project_folder, projects
from airflow_hybrid.sites.hosts.base import Host
from airflow_hybrid.sites.hosts.local import LocalHost

MAX_FOLDER_MIB = 64
"""largest size of a compose file's folder that is sent to another machine"""
_UP_FLAGS = {
    "alwaysRecreateDeps": "--always-recreate-deps",
    "build": "--build",
    "forceRecreate": "--force-recreate",
    "noBuild": "--no-build",
    "noRecreate": "--no-recreate",
    "renewAnonVolumes": "--renew-anon-volumes",
}
"""StreamFlow's keys, and what compose calls them"""


class ComposeConnector(InContainers):
    """A compose file's services, on this machine or on the first location of the wrapped deployment.

    Each DAG run has a project of its own, named after the run's token. An external deployment is the project
    ``projectName`` (default, as in compose: the folder's name). A service's containers are its locations.
    """

    managed = True

    def __init__(self, deployment: Deployment, wrapped: Connector | None = None) -> None:
        super().__init__(deployment, wrapped)
        self._engine: Engine | None = None

    # --- locations --------------------------------------------------------------------------------------------------

    async def hosts(self, service: str | None = None) -> list[Host]:
        """The containers of a service that run now; a container that was recreated is a new object.

        :raises ConfigError: no such service. SiteError: none of its containers is running.
        """
        project = await self._project()
        containers = await project.containers()
        names = sorted({container.service for container in containers})
        if service is None and len(names) == 1:
            service = names[0]
        if service is not None and containers and service not in names:
            raise ConfigError(
                f"deployment {self.deployment.name!r} has no service {service!r}", hint=f"it has: {', '.join(names)}"
            )
        running = [c for c in containers if c.service == (service or c.service) and c.status == "running"]
        if not running:
            raise SiteError(
                f"no container of {self.title_of(service)} is running (project {project.name})",
                where=project.host.title,
                hint=self.missing_hint(),
            )
        program = project.engine.program
        return [self.host_of(project.host, program, c, f"{c.service}-{c.number}") for c in running]

    async def _project(self) -> ComposeProject:
        host = await self.engine_host()
        if self._engine is None:
            self._engine = await find_engine(host, self.deployment.config.get("composeCommand"))
        return ComposeProject(host, self._engine, self._project_name())

    def _project_name(self) -> str:
        if self.deployment.token:
            return self.deployed_name
        config = self.deployment.config
        folder = posixpath.basename(project_folder(config["files"], config.get("projectDirectory")))
        return str(config.get("projectName") or "".join(c for c in folder.lower() if c.isalnum() or c in "_-"))

    # --- deploying --------------------------------------------------------------------------------------------------

    async def deploy(self, services: Collection[str]) -> None:
        project = await self._project()
        if project.engine.compose is None:
            await find_engine(project.host, "docker compose")  # raises the error that there is none
        files, folder = await self._bring(project.host)
        names = await project.check(files, folder, services)
        files = [*files, await self._labelled(project.host, names)]
        options = [flag for key, flag in _UP_FLAGS.items() if self.deployment.config.get(key)]
        timeout_s = float(self.deployment.config.get("deployTimeout") or settings.current().deploy_timeout)
        await project.up(files, folder, options, timeout_s)

    async def deployable(self) -> str:
        project = await self._project()
        if project.engine.compose is None:
            await find_engine(project.host, "docker compose")  # raises the error that there is none
        files: Sequence[str] = self.deployment.config["files"]
        for file in files:
            if not Path(file).is_file():
                raise ConfigError(f"there is no compose file {file}")
        engine = f"{project.engine} at {project.host.title}"
        if not isinstance(project.host, LocalHost):
            return engine  # the files are sent when it is deployed
        names = await project.check(files, project_folder(files, self.deployment.config.get("projectDirectory")), ())
        return f"{engine}, services: {', '.join(names)}"

    async def undeploy(self) -> None:
        project = await self._project()
        await project.down()
        text = removal.functions() + removal.remove(await self._folder(project.host), below=2)
        removed = await project.host.run(text, label="remove the copy of the compose file")
        removed.check("the copy of the compose file's folder could not be removed")

    async def deployed(self) -> list[Deployed]:
        host = await self.engine_host()
        deployed = []
        for name, contents in (await projects(host, (await self._project()).engine, "ah-")).items():
            match = TOKEN.match(name)
            if match and name == self.name_for(match[0]):
                kinds = [f"{contents.count(kind)} {kind}" for kind in sorted(set(contents))]
                deployed.append(Deployed(match[0], ", ".join(kinds)))
        return deployed

    async def _folder(self, host: Host) -> str:
        """The folder at the engine's location with this run's copies of the compose files."""
        assert self.wrapped is not None
        return posixpath.join(await self.wrapped.workdir(host), "deployments", self.deployed_name)

    async def _bring(self, host: Host) -> tuple[list[str], str]:
        """The compose files and the folder they are read in, as paths at the engine's location."""
        files: Sequence[str] = self.deployment.config["files"]
        folder = project_folder(files, self.deployment.config.get("projectDirectory"))
        if isinstance(host, LocalHost):
            return list(files), folder
        archive = pack(Path(folder), [Path(file) for file in files])
        folder_there = await self._folder(host)
        target = posixpath.join(folder_there, "project")
        text = f"umask 77\n{removal.functions()}{removal.make(folder_there)} && "
        text += f"mkdir -p {shlex.quote(target)} && tar -x -f - -C {shlex.quote(target)}"
        result = await host.run(text, stdin=archive, timeout_s=300, label="send the compose file's folder")
        result.check("the compose file's folder could not be sent")
        return [posixpath.join(target, Path(file).relative_to(folder).as_posix()) for file in files], target

    async def _labelled(self, host: Host, services: Sequence[str]) -> str:
        """Write another compose file that labels every container with the run; -> its path there."""
        folder = await self._folder(host)
        text = json.dumps({"services": {name: {"labels": self.labels} for name in services}})
        path = posixpath.join(folder, "labels.yml")
        command = f"umask 77\n{removal.functions()}{removal.make(folder)} && cat > {shlex.quote(path)}"
        result = await host.run(command, stdin=text.replace("$", "$$").encode(), label="write the labels")
        result.check("the labels could not be written")
        return path


def pack(folder: Path, files: Sequence[Path]) -> bytes:
    """A tar archive of a compose file's folder (with env files, build contexts, configurations).

    :raises ConfigError: a compose file is outside of the folder, or the folder is too large.
    """
    for file in files:
        if not file.is_relative_to(folder):
            raise ConfigError(
                f"the compose file {file} is not below {folder}, the only folder that is sent",
                hint="keep the files in one folder, or name their common folder as `projectDirectory`",
            )
    limit, total = MAX_FOLDER_MIB << 20, 0

    def bounded(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        nonlocal total
        total += entry.size
        if total > limit:
            raise ConfigError(
                f"the compose file's folder {folder} has more than {MAX_FOLDER_MIB} MiB",
                hint="keep data out of it: the workflow's files are brought to where they are needed anyway",
            )
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    buffer = BytesIO()
    try:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(folder, arcname=".", filter=bounded)
    except OSError as error:
        raise ConfigError(f"the compose file's folder cannot be read: {error}") from None
    return buffer.getvalue()
