# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The deployments of a checked hybrid file -> values: inheritance resolved, paths absolute, templates read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any

import jinja2
import jinja2.meta

from airflow_hybrid.config.connectors import CONTAINER_TYPES, HELM_TYPES, INLINE_SSH_KEYS, MANAGED_TYPES
from airflow_hybrid.config.deployments import DeploymentBase
from airflow_hybrid.config.models import HybridModel
from airflow_hybrid.config.native import NATIVE, Native
from airflow_hybrid.config.reading.checks import CONNECTOR_GROUP, SCHEDULER_GROUP, is_queue
from airflow_hybrid.config.reading.document import Path, Problem
from airflow_hybrid.config.users import OF_USERS, REFUSE
from airflow_hybrid.config.values import DEFAULT_POLICY, LOCAL, Deployment
from airflow_hybrid.model import LOCAL_DEPLOYMENT
from airflow_hybrid.model.locations import is_uri, path_or_uri

_FILES = ("sshKey", "cert_file", "sshKeyPassphraseFile", "passwordFile", "ssh_config")
_INHERITED = (*_FILES, "username", "checkHostKey", "connectTimeout", "conn_id", "known_hosts")


@dataclass(frozen=True)
class BaseFolder:
    """The base folder of relative paths in a hybrid file.

    :ivar root: absolute path.
    """

    root: str

    def path(self, path: str) -> str:
        """Absolute path of a file on this machine."""
        return os.path.normpath(os.path.join(self.root, os.path.expanduser(path)))

    def uri(self, reference: str) -> str:
        """Absolute path, or the unchanged URI; a ``#fragment`` is kept."""
        if is_uri(reference):
            return path_or_uri(reference)
        path, hash_, fragment = reference.partition("#")
        return self.path(path) + hash_ + fragment


def workdir_of(
    folder: BaseFolder, kind: str, workdir: str | None, config: Mapping[str, Any] | None = None
) -> str | None:
    """A work directory for values: a path of this machine is made absolute, one of a site is unchanged."""
    if workdir is None or kind != "local":
        return workdir
    is_another_users = bool((config or {}).get("run_as"))
    if is_another_users and workdir.startswith(("~", "$")):
        return workdir
    return folder.path(workdir)


def policy_of(model: HybridModel, name: str | None) -> str | None:
    """The type of the policy that the file declares by a name; otherwise the name is a type."""
    declared = model.scheduling.policies.get(name) if name else None
    return declared.type if declared else name


def policy_config_of(model: HybridModel, name: str | None) -> dict[str, Any]:
    """The configuration of the policy that the file declares by a name."""
    declared = model.scheduling.policies.get(name) if name else None
    return dict(declared.config) if declared else {}


class DeploymentNormalizer:
    """Turns the deployments of one validated model into values.

    :ivar notices: path and text of messages for the user.
    :ivar problems: templates that are missing or wrong.
    :ivar templates: absolute path -> text of every template that was read.
    """

    def __init__(self, model: HybridModel, folder: BaseFolder) -> None:
        self.model = model
        self.folder = folder
        self.notices: list[tuple[Path, str]] = []
        self.problems: list[Problem] = []
        self.templates: dict[str, str] = {}

    def all(self) -> dict[str, Deployment]:
        deployments: dict[str, Deployment] = {}
        if self.model.models:
            self.notices.append((("models",), "deprecated: write `deployments`"))
        for section in ("models", "deployments"):
            for name, value in getattr(self.model, section).items():
                for deployment in self._deployment((section, name), value):
                    if deployment.name in deployments and section == "models":
                        continue
                    deployments[deployment.name] = deployment
        deployments.setdefault(LOCAL_DEPLOYMENT, LOCAL)
        for name, deployment in deployments.items():
            if (
                deployment.type in CONTAINER_TYPES
                and deployment.wraps in deployments
                and is_queue(deployments[deployment.wraps].type)
            ):
                deployments[name] = replace(deployment, managed=False)  # an image for jobs: no container keeps running
        return deployments

    def _deployment(self, path: Path, value: DeploymentBase) -> Iterator[Deployment]:
        name = str(path[-1])
        kind: str = value.type  # type: ignore[attr-defined]
        config: Any = value.config  # type: ignore[attr-defined]
        config = dict(config) if isinstance(config, dict) else config.written_values()
        deployment = Deployment(
            name=name,
            type=kind,
            workdir=workdir_of(self.folder, kind, value.workdir, config),
            wraps=value.wraps.deployment if value.wraps else None,
            wraps_service=value.wraps.service if value.wraps else None,
            external=value.external,
            lazy=value.lazy,
            scheduling_policy=policy_of(self.model, value.scheduling_policy) or DEFAULT_POLICY,
            policy_config=policy_config_of(self.model, value.scheduling_policy),
            price_per_core_hour=value.price_per_core_hour,
            deferrable=value.deferrable,
            managed=not value.external and self._can_be_deployed((*path, "type"), kind, config),
            containers=value.containers.written_values() if value.containers else None,
            reuse=value.reuse,
            fuse=value.fuse,
        )
        config_path = (*path, "config")
        if kind in NATIVE:
            if "hostname" in config:
                wrapped = self._inline_ssh(config_path, name, config)
                yield wrapped
                deployment = replace(deployment, wraps=wrapped.name, wraps_service=None)
            self._native_services(config_path, config, NATIVE[kind])
        elif kind == "ssh":
            config = self._ssh(config_path, config)
        elif kind == "docker-compose":
            self._compose(config_path, config, value.external)
        elif kind == "kubernetes":
            self._kubernetes(config)
        elif kind in HELM_TYPES:
            self._helm(config)
        templates = self._templates(kind, config_path, config) if _has_templates(kind) else {}
        yield replace(deployment, config=config, templates=templates)

    def _can_be_deployed(self, path: Path, kind: str, config: Mapping[str, Any]) -> bool:
        if kind in MANAGED_TYPES:
            key = MANAGED_TYPES[kind]
            return key is None or bool(config.get(key))
        for point in entry_points(group=CONNECTOR_GROUP, name=kind):
            try:
                return bool(getattr(point.load(), "managed", False))
            except (ImportError, AttributeError) as error:
                self.problems.append(Problem(path, f"the connector {point.value!r} cannot be imported: {error}"))
        return False

    def _inline_ssh(self, path: Path, name: str, config: dict[str, Any]) -> Deployment:
        wrapped_name = f"{name}-ssh"  # as in StreamFlow
        while wrapped_name in self.model.deployments or wrapped_name in self.model.models:
            wrapped_name += "-ssh"
        text = f"deprecated: wrap an ssh deployment (it is called `{wrapped_name}` now)"
        self.notices.append(((*path, "hostname"), text))
        config_of_ssh = {key: config.pop(key) for key in INLINE_SSH_KEYS if key in config}
        config_of_ssh["nodes"] = [{"hostname": config.pop("hostname")}]
        return Deployment(wrapped_name, "ssh", self._ssh(path, config_of_ssh))

    def _ssh(self, path: Path, config: dict[str, Any]) -> dict[str, Any]:
        """Copy inherited settings of the deployment to every node, so that each node is complete."""
        _note_users(config)
        if (wait := config.get("wait_for_login")) is not None:
            config["wait_for_login"] = 0.0 if wait == "off" else wait.total_seconds()
        context = {key: config.pop(key) for key in _INHERITED if key in config}
        host_key, way = config.pop("host_key", None), config.pop("login", None)
        tunnel = config.pop("tunnel", None)
        nodes = config.get("nodes") or [{}]
        if host_key and len(nodes) == 1:
            nodes = [{"host_key": host_key, **nodes[0]}]
        if way is not None:
            nodes = [{"login": way, **node} for node in nodes]
        hosts = [self._connection(node, context, tunnel) for node in nodes]
        config["nodes"] = hosts
        if isinstance(transfer := config.get("dataTransferConnection"), dict):
            config["dataTransferConnection"] = self._connection(transfer, context, tunnel)
        if [host.pop("checkHostKey") for host in hosts if "checkHostKey" in host].count(False):
            text = "`false` has no effect: the host key is always checked (known_hosts, or `host_key`)"
            self.notices.append(((*path, "checkHostKey"), text))
        return config

    def _connection(
        self, node: Mapping[str, Any], context: Mapping[str, Any], tunnel: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """StreamFlow's inheritance; a node with a Connection of its own does not inherit that of the deployment."""
        merged = {**context, **node}
        for key in _FILES:
            if merged.get(key) is not None:
                merged[key] = self.folder.path(merged[key])
        if merged.get("known_hosts"):
            merged["known_hosts"] = [self.folder.path(file) for file in merged["known_hosts"]]
        if tunnel_values := merged.pop("tunnel", tunnel):
            # the deployment's Connection is for the host, not for the jump host
            tunnel_context = {k: v for k, v in context.items() if k != "conn_id"}
            merged["tunnel"] = self._connection(tunnel_values, tunnel_context, None)
            merged["tunnel"].pop("checkHostKey", None)
        return merged

    def _compose(self, path: Path, config: dict[str, Any], external: bool) -> None:
        config["files"] = [self.folder.path(file) for file in config["files"]]
        if "projectDirectory" in config:
            config["projectDirectory"] = self.folder.path(config["projectDirectory"])
        if "projectName" in config and not external:
            self.notices.append(((*path, "projectName"), "has no effect: each DAG run has its own project"))

    def _kubernetes(self, config: dict[str, Any]) -> None:
        _note_users(config)
        if config.get("kubeconfig"):
            config["kubeconfig"] = self.folder.path(config["kubeconfig"])
        if config.get("files"):
            config["files"] = [self.folder.path(file) for file in config["files"]]

    def _helm(self, config: dict[str, Any]) -> None:
        self._kubernetes(config)
        if "repo" not in config and "://" not in config["chart"]:
            config["chart"] = self.folder.path(config["chart"])
        config["yamlValues"] = [self.folder.path(file) for file in config.get("yamlValues", ())]
        if config.get("timeout") is not None:
            config["timeout"] = config["timeout"].total_seconds()

    def _native_services(self, path: Path, config: dict[str, Any], native: Native) -> None:
        services = {}
        for name, service in config.get("services", {}).items():
            further = service.get("options")
            options = {native.canonical(key): value for key, value in service.items() if key != "options"}
            # the checks reported wrong types; templates are still read, so that all problems are in one message
            options.update(further if isinstance(further, dict) else {})
            for key, reason in native.not_yours.items():
                if options.pop(key, None) is not None:
                    self.notices.append(((*path, "services", name), f"`{key}` has no effect: {reason}"))
            services[name] = options
        if services:
            config["services"] = services

    def _templates(self, kind: str, path: Path, config: dict[str, Any]) -> dict[str, str]:
        templates: dict[str, str] = {}
        if config.get("file"):
            self.notices.append(((*path, "file"), "deprecated: write `services`"))
            config["file"] = self.folder.path(config["file"])
            templates[""] = self._template(kind, (*path, "file"), config["file"])
        for name, service in config.get("services", {}).items():
            at: Path = (*path, "services", name)
            if isinstance(service, str):
                config["services"][name] = self.folder.path(service)
                templates[name] = self._template(kind, at, config["services"][name])
            elif isinstance(service.get("file"), str):
                service["file"] = self.folder.path(service["file"])
                templates[name] = self._template(kind, (*at, "file"), service["file"])
        return templates

    def _template(self, kind: str, path: Path, file: str) -> str:
        try:
            with open(file, encoding="utf-8") as stream:
                text = stream.read()
            names = jinja2.meta.find_undeclared_variables(jinja2.Environment(autoescape=False).parse(text))
        except (OSError, UnicodeDecodeError) as e:
            reason = e.strerror if isinstance(e, OSError) else "it is not UTF-8 text"
            self.problems.append(Problem(path, f"the template {file} cannot be read: {reason}"))
            return ""
        except jinja2.TemplateSyntaxError as e:
            self.problems.append(
                Problem(path, f"the template {file}, line {e.lineno}, is not valid Jinja2: {e.message}")
            )
            return ""
        # a manifest need not set its container's command
        if "streamflow_command" not in names and kind != "kubernetes":
            hint = "put {{streamflow_command}} where the job's command belongs"
            self.problems.append(Problem(path, f"the template {file} does not use `streamflow_command`", hint))
        self.templates[file] = text
        return text


def _note_users(config: dict[str, Any]) -> None:
    """`users` stands for a ``conn_id``: the deployment's own, or that of whoever triggers the run."""
    if users := config.get("users"):
        if users.get("connections") or users.get("unattended", REFUSE) != REFUSE:
            config.setdefault("conn_id", OF_USERS)
        config["users"] = {**users, "conn_id": config.get("conn_id")}


def _has_templates(kind: str) -> bool:
    """Whether services of a type of deployment may name templates of job scripts or manifests."""
    return kind in ("ssh", "kubernetes", *NATIVE) or any(entry_points(group=SCHEDULER_GROUP, name=kind))
