# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A checked hybrid file -> values: deprecated spellings and inheritance resolved, paths absolute, templates read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from typing import Any

import jinja2
import jinja2.meta

from airflow_hybrid.config.connectors import CONTAINER_TYPES, HELM_TYPES, INLINE_SSH_KEYS, MANAGED_TYPES
from airflow_hybrid.config.containers import OF_STREAMFLOW, arguments
from airflow_hybrid.config.dag_section import DagModel, interval_of
from airflow_hybrid.config.deployments import DeploymentBase
from airflow_hybrid.config.models import (
    HybridModel,
    PortBindingModel,
    StepBinding,
    TargetModel,
    WorkflowModel,
)
from airflow_hybrid.config.native import NATIVE, Native
from airflow_hybrid.config.reading.checks import CONNECTOR_GROUP, SCHEDULER_GROUP, is_queue
from airflow_hybrid.config.reading.document import Path, Problem
from airflow_hybrid.config.values import (
    DEFAULT_BINDING,
    DEFAULT_POLICY,
    LOCAL,
    Deployment,
    Link,
    PortBinding,
    WorkflowConfig,
)
from airflow_hybrid.model import LOCAL_DEPLOYMENT, Binding, JsonValue, Target
from airflow_hybrid.model.locations import is_uri, path_or_uri

_FILES = ("sshKey", "sshKeyPassphraseFile", "passwordFile", "ssh_config")
_INHERITED = (*_FILES, "username", "checkHostKey", "connectTimeout", "conn_id", "known_hosts")
_REPLACED = {
    "database": "Airflow's database is used",
    "dataManager": "the DataMover hook is used",
    "deploymentManager": "Airflow's setup and teardown tasks are used",
    "failureManager": "Airflow retries (workflows.<name>.dag.retries)",
    "checkpointManager": "the job directories are the checkpoints",
}


class Normalizer:
    """Turns one validated model into values.

    :ivar where: path of a value -> where it stands, for messages.
    :ivar folder: absolute path that relative paths start at.
    :ivar notices: path and text of what a user should know.
    :ivar problems: templates that are missing or wrong.
    :ivar templates: absolute path -> text of every template that was read.
    """

    def __init__(self, model: HybridModel, folder: str, where: Callable[[Path], str]) -> None:
        self.where = where
        self.model = model
        self.folder = folder
        self.notices: list[tuple[Path, str]] = []
        self.problems: list[Problem] = []
        self.templates: dict[str, str] = {}
        self.deployments = self._deployments()
        self._notice_replaced()

    def path(self, path: str) -> str:
        """Absolute path of a file on this machine."""
        return os.path.normpath(os.path.join(self.folder, os.path.expanduser(path)))

    def uri(self, reference: str) -> str:
        """Absolute path, or the URI as it stands; a ``#fragment`` is kept."""
        if is_uri(reference):
            return path_or_uri(reference)
        path, hash_, fragment = reference.partition("#")
        return self.path(path) + hash_ + fragment

    def _notice_replaced(self) -> None:
        for key, instead in _REPLACED.items():
            if getattr(self.model, key) is not None:
                self.notices.append(((key,), f"accepted and without effect: {instead}"))
        if self.model.scheduling.scheduler is not None:
            self.notices.append((("scheduling", "scheduler"), "accepted and without effect: Airflow schedules"))

    # --- deployments ----------------------------------------------------------------------------------------------

    def _deployments(self) -> dict[str, Deployment]:
        found: dict[str, Deployment] = {}
        if self.model.models:
            self.notices.append((("models",), "deprecated: write `deployments`"))
        for section in ("models", "deployments"):
            for name, value in getattr(self.model, section).items():
                for deployment in self._deployment((section, name), value):
                    if deployment.name in found and section == "models":
                        continue
                    found[deployment.name] = deployment
        found.setdefault(LOCAL_DEPLOYMENT, LOCAL)
        for name, deployment in found.items():
            if (
                deployment.type in CONTAINER_TYPES
                and deployment.wraps in found
                and is_queue(found[deployment.wraps].type)
            ):
                found[name] = replace(deployment, managed=False)  # an image for jobs: nothing stands
        return found

    def _deployment(self, path: Path, value: DeploymentBase) -> Iterator[Deployment]:
        name = str(path[-1])
        kind: str = value.type  # type: ignore[attr-defined]
        config: Any = value.config  # type: ignore[attr-defined]
        config = dict(config) if isinstance(config, dict) else config.given()
        deployment = Deployment(
            name=name,
            type=kind,
            workdir=self._workdir(kind, value.workdir, config),
            wraps=value.wraps.deployment if value.wraps else None,
            wraps_service=value.wraps.service if value.wraps else None,
            external=value.external,
            lazy=value.lazy,
            scheduling_policy=self._policy(value.scheduling_policy) or DEFAULT_POLICY,
            policy_config=self._policy_config(value.scheduling_policy),
            price_per_core_hour=value.price_per_core_hour,
            deferrable=value.deferrable,
            managed=not value.external and self._can_be_deployed((*path, "type"), kind, config),
            containers=value.containers.given() if value.containers else None,
            reuse=value.reuse,
        )
        config_path = (*path, "config")
        if kind in NATIVE:
            if "hostname" in config:
                inner = self._inline_ssh(config_path, name, config)
                yield inner
                deployment = replace(deployment, wraps=inner.name, wraps_service=None)
            self._native_services(config_path, config, NATIVE[kind])
        elif kind == "ssh":
            config = self._ssh(config_path, config)
        elif kind == "docker-compose":
            config["files"] = [self.path(file) for file in config["files"]]
            if "projectDirectory" in config:
                config["projectDirectory"] = self.path(config["projectDirectory"])
            if "projectName" in config and not value.external:
                text = "without effect: each DAG run has a project of its own"
                self.notices.append(((*config_path, "projectName"), text))
        elif kind == "kubernetes":
            self._kubernetes(config)
        elif kind in HELM_TYPES:
            self._helm(config)
        templated = (
            kind in ("ssh", "kubernetes") or kind in NATIVE or any(entry_points(group=SCHEDULER_GROUP, name=kind))
        )
        templates = self._templates(kind, config_path, config) if templated else {}
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

    def _workdir(self, kind: str, workdir: str | None, config: Mapping[str, Any] | None = None) -> str | None:
        if workdir is None or kind != "local" or ((config or {}).get("run_as") and workdir.startswith(("~", "$"))):
            return workdir
        return self.path(workdir)

    def _policy(self, name: str | None) -> str | None:
        declared = self.model.scheduling.policies.get(name) if name else None
        return declared.type if declared else name

    def _policy_config(self, name: str | None) -> dict[str, Any]:
        declared = self.model.scheduling.policies.get(name) if name else None
        return dict(declared.config) if declared else {}

    def _inline_ssh(self, path: Path, name: str, config: dict[str, Any]) -> Deployment:
        inner_name = f"{name}-ssh"  # as in StreamFlow
        while inner_name in self.model.deployments or inner_name in self.model.models:
            inner_name += "-ssh"
        text = f"deprecated: wrap an ssh deployment (it is called `{inner_name}` now)"
        self.notices.append(((*path, "hostname"), text))
        inner = {key: config.pop(key) for key in INLINE_SSH_KEYS if key in config}
        inner["nodes"] = [{"hostname": config.pop("hostname")}]
        return Deployment(inner_name, "ssh", self._ssh(path, inner))

    def _ssh(self, path: Path, config: dict[str, Any]) -> dict[str, Any]:
        """Give every node what it inherits from the deployment, so that each stands for itself."""
        context = {key: config.pop(key) for key in _INHERITED if key in config}
        host_key = config.pop("host_key", None)
        tunnel = config.pop("tunnel", None)
        nodes = config.get("nodes") or [{}]
        if host_key and len(nodes) == 1:
            nodes = [{"host_key": host_key, **nodes[0]}]
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
                merged[key] = self.path(merged[key])
        if merged.get("known_hosts"):
            merged["known_hosts"] = [self.path(file) for file in merged["known_hosts"]]
        if own := merged.pop("tunnel", tunnel):
            # who the deployment's Connection is for is the host, not the way to it
            merged["tunnel"] = self._connection(own, {k: v for k, v in context.items() if k != "conn_id"}, None)
            merged["tunnel"].pop("checkHostKey", None)
        return merged

    def _kubernetes(self, config: dict[str, Any]) -> None:
        if config.get("kubeconfig"):
            config["kubeconfig"] = self.path(config["kubeconfig"])
        if config.get("files"):
            config["files"] = [self.path(file) for file in config["files"]]

    def _helm(self, config: dict[str, Any]) -> None:
        self._kubernetes(config)
        if "repo" not in config and "://" not in config["chart"]:
            config["chart"] = self.path(config["chart"])
        config["yamlValues"] = [self.path(file) for file in config.get("yamlValues", ())]
        if config.get("timeout") is not None:
            config["timeout"] = config["timeout"].total_seconds()

    def _native_services(self, path: Path, config: dict[str, Any], native: Native) -> None:
        services = {}
        for name, service in config.get("services", {}).items():
            further = service.get("options")
            options = {native.canonical(key): value for key, value in service.items() if key != "options"}
            # what is of a wrong type was told by the checks; templates are still looked at, for one message in all
            options.update(further if isinstance(further, dict) else {})
            for key, reason in native.not_yours.items():
                if options.pop(key, None) is not None:
                    self.notices.append(((*path, "services", name), f"`{key}` has no effect: {reason}"))
            services[name] = options
        if services:
            config["services"] = services

    def _templates(self, kind: str, path: Path, config: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        if config.get("file"):
            self.notices.append(((*path, "file"), "deprecated: write `services`"))
            config["file"] = self.path(config["file"])
            found[""] = self._template(kind, (*path, "file"), config["file"])
        for name, service in config.get("services", {}).items():
            at: Path = (*path, "services", name)
            if isinstance(service, str):
                config["services"][name] = self.path(service)
                found[name] = self._template(kind, at, config["services"][name])
            elif isinstance(service.get("file"), str):
                service["file"] = self.path(service["file"])
                found[name] = self._template(kind, (*at, "file"), service["file"])
        return found

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
        # a manifest need not say what its container runs
        if "streamflow_command" not in names and kind != "kubernetes":
            hint = "put {{streamflow_command}} where the job's command belongs"
            self.problems.append(Problem(path, f"the template {file} does not use `streamflow_command`", hint))
        self.templates[file] = text
        return text

    # --- workflows ------------------------------------------------------------------------------------------------

    def workflow(self, name: str, value: WorkflowModel) -> WorkflowConfig:
        """Give the values of one workflow."""
        path: Path = ("workflows", name)
        ports = []
        for index, binding in enumerate(value.bindings):
            if isinstance(binding, PortBindingModel):
                at: Path = (*path, "bindings", index)
                target = self._target((*at, "target"), binding.target)
                ports.append(PortBinding(binding.port, target, self.where((*at, "port"))))
        return WorkflowConfig(
            name=name,
            file=self.uri(value.config.file),
            settings=self.path(value.config.settings) if value.config.settings else None,
            bindings=self._bindings(path, value),
            ports=tuple(ports),
            docker=tuple(mapping.given() for mapping in value.config.docker),
            dag_section=self._dag(value.dag),
            reuse=value.reuse,
        )

    def _bindings(self, path: Path, value: WorkflowModel) -> tuple[Binding, ...]:
        own: dict[str, StepBinding] = {}
        targets: dict[str, tuple[Target, ...]] = {}
        where: dict[str, str] = {}
        for index, binding in enumerate(value.bindings):
            if not isinstance(binding, StepBinding):
                continue
            at: Path = (*path, "bindings", index)
            if binding.step in own:
                self.notices.append((at, f"replaces the binding of `{binding.step}` further up"))
            own[binding.step] = binding
            where[binding.step] = self.where((*at, "step"))
            targets[binding.step] = tuple(self._target((*at, "target"), t) for t in binding.target)
        containers = self._containers(path, value)
        for step in containers:
            # a step that has a container of its own and is bound with those above it
            own.setdefault(step, StepBinding(step=step))
            targets.setdefault(step, ())
        complete: dict[str, Binding] = {}
        for step in sorted(own, key=lambda s: (s.count("/") if s != "/" else 0, s)):
            whole = self._complete(own[step], targets[step], nearest_binding(complete, step))
            position = where.get(step) or self.where((*path, "config", "docker"))
            complete[step] = replace(whole, position=position, containers=containers.get(step, whole.containers))
        return tuple(complete[step] for step in own)

    def _containers(self, path: Path, value: WorkflowModel) -> dict[str, JsonValue]:
        """StreamFlow's ``config.docker``: what runs the container of a step, in place of what its deployment says."""
        found: dict[str, JsonValue] = {}
        for index, mapping in enumerate(value.config.docker):
            at: Path = (*path, "config", "docker", index, "deployment")
            runtime = OF_STREAMFLOW.get(mapping.deployment.type)
            if runtime is None:
                text = f"`{mapping.deployment.type}` runs no containers here: that of the step's deployment is used"
                self.notices.append(((*at, "type"), text))
                continue
            if not mapping.deployment.wrapper:
                self.notices.append(((*at, "wrapper"), "has no effect: a container runs where the step is bound"))
            found[mapping.step] = {"runtime": runtime, "options": arguments(mapping.deployment.config)}
        return found

    def _complete(self, binding: StepBinding, targets: tuple[Target, ...], above: Binding) -> Binding:
        given = binding.model_fields_set
        filters = tuple(
            {"name": name, **self.model.bindingFilters[name].given()}
            for name in binding.filters
            if name in self.model.bindingFilters
        )
        return Binding(
            path=binding.step,
            targets=targets or above.targets,
            scatter=binding.scatter if "scatter" in given else above.scatter,
            max_mapped=binding.max_mapped or above.max_mapped,
            fuse=binding.fuse,
            max_iterations=binding.max_iterations or above.max_iterations,
            reuse=above.reuse if binding.reuse is None else binding.reuse,
            logs=binding.logs or above.logs,
            policy=self._policy(binding.policy) or above.policy,
            policy_config=self._policy_config(binding.policy) if binding.policy else above.policy_config,
            containers=above.containers,
            filters=filters if targets or binding.filters else above.filters,
        )

    def _target(self, path: Path, target: TargetModel) -> Target:
        for old, new in (("model", "deployment"), ("resources", "locations")):
            if old in target.model_fields_set:
                self.notices.append(((*path, old), f"deprecated: write `{new}`"))
        name = target.deployment or target.model or ""
        kind = self.deployments[name].type if name in self.deployments else ""
        locations = target.locations if "locations" in target.model_fields_set else target.resources
        return Target(name, target.service, self._workdir(kind, target.workdir), locations)

    def _dag(self, dag: DagModel) -> dict[str, JsonValue]:
        section: dict[str, JsonValue] = _json_values(dag.given())
        schedule = section.get("schedule")
        if isinstance(schedule, str) and schedule.startswith("P"):
            section["schedule"] = {"seconds": interval_of(schedule).total_seconds()}
        if section.get("outdir") is not None:
            section["outdir"] = self.uri(section["outdir"])
        if section.get("outdirs"):
            section["outdirs"] = [self.uri(outdir) for outdir in section["outdirs"]]
        return section

    def links(self) -> tuple[Link, ...]:
        """One value per direction."""
        found = []
        for link in self.model.links:
            found.append(Link(link.source, link.target, link.address, link.identity))
            if link.both_ways:
                found.append(Link(link.target, link.source))
        return tuple(dict.fromkeys(found))


def nearest_binding(bindings: Mapping[str, Binding], step: str) -> Binding:
    """The binding of the longest path that is ``step`` or above it; :data:`DEFAULT_BINDING` if there is none."""
    while step != "/":
        if step in bindings:
            return bindings[step]
        step = step.rsplit("/", 1)[0] or "/"
    return bindings.get("/", DEFAULT_BINDING)


def _json_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_values(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value
