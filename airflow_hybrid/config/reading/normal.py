# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A checked hybrid file -> values: deprecated spellings and inheritance resolved, paths absolute, templates read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from airflow_hybrid.config.containers import OF_STREAMFLOW, arguments
from airflow_hybrid.config.dag_section import DagModel, interval_of
from airflow_hybrid.config.models import (
    HybridModel,
    PortBindingModel,
    StepBinding,
    TargetModel,
    WorkflowModel,
)
from airflow_hybrid.config.reading.document import Path, Problem
from airflow_hybrid.config.reading.normal_deployments import (
    BaseFolder,
    DeploymentNormalizer,
    policy_config_of,
    policy_of,
    workdir_of,
)
from airflow_hybrid.config.retrying.retries import NO_RETRIES, TranslatedRetries, translated
from airflow_hybrid.config.values import DEFAULT_BINDING, EXCLUDING_TYPES, Link, PortBinding, WorkflowConfig
from airflow_hybrid.model import AskedResources, Binding, Checkpoint, JsonValue, Target

_REPLACED = {
    "database": "Airflow's database is used",
    "dataManager": "the DataMover hook is used",
    "deploymentManager": "Airflow's setup and teardown tasks are used",
    "checkpointManager": "the job directories are the checkpoints",
}


class Normalizer:
    """Turns one validated model into values.

    :param where: path of a value -> its position, for messages.
    :param folder: absolute path of the base folder of relative paths.
    :ivar notices: path and text of messages for the user.
    :ivar problems: templates that are missing or wrong.
    :ivar templates: absolute path -> text of every template that was read.
    """

    def __init__(self, model: HybridModel, folder: str, where: Callable[[Path], str]) -> None:
        self.where = where
        self.model = model
        self.folder = BaseFolder(folder)
        deployments = DeploymentNormalizer(model, self.folder)
        self.deployments = deployments.all()
        self.notices = deployments.notices
        self.problems = deployments.problems
        self.templates = deployments.templates
        self._notice_replaced()
        self._retries: TranslatedRetries | None = None
        if model.failureManager is not None:
            self._retries = translated(model.failureManager)
            self.notices.append((("failureManager",), self._retries.notice if self._retries else NO_RETRIES))

    def _notice_replaced(self) -> None:
        for key, instead in _REPLACED.items():
            if getattr(self.model, key) is not None:
                self.notices.append(((key,), f"accepted, but has no effect: {instead}"))
        if self.model.scheduling.scheduler is not None:
            self.notices.append((("scheduling", "scheduler"), "accepted, but has no effect: Airflow schedules"))

    def workflow(self, name: str, value: WorkflowModel) -> WorkflowConfig:
        """The values of one workflow."""
        path: Path = ("workflows", name)
        ports = []
        for index, binding in enumerate(value.bindings):
            if isinstance(binding, PortBindingModel):
                if binding.target is None:
                    continue
                at: Path = (*path, "bindings", index)
                target = self._target((*at, "target"), binding.target)
                ports.append(PortBinding(binding.port, target, self.where((*at, "port"))))
        return WorkflowConfig(
            name=name,
            file=self.folder.uri(value.config.file),
            settings=self.folder.path(value.config.settings) if value.config.settings else None,
            bindings=self._bindings(path, value),
            ports=tuple(ports),
            docker=tuple(mapping.written_values() for mapping in value.config.docker),
            dag_section=self._dag(value.dag),
            reuse=value.reuse,
            fuse=value.fuse,
            replays=0 if value.recovery.replay == "off" else value.recovery.replay,
            provenance=value.provenance,
            report=tuple(dict.fromkeys(value.report)),
            checkpoint=None if value.checkpoint is None else value.checkpoint.value,
        )

    def _bindings(self, path: Path, value: WorkflowModel) -> tuple[Binding, ...]:
        step_bindings: dict[str, StepBinding] = {}
        targets: dict[str, tuple[Target, ...]] = {}
        where: dict[str, str] = {}
        for index, binding in enumerate(value.bindings):
            at: Path = (*path, "bindings", index)
            if not isinstance(binding, StepBinding):
                where.setdefault(binding.port.rpartition("/")[0], self.where((*at, "port")))
                continue
            if binding.step in step_bindings:
                self.notices.append((at, f"replaces the binding of `{binding.step}` further up"))
            step_bindings[binding.step] = binding
            where[binding.step] = self.where((*at, "step"))
            targets[binding.step] = tuple(self._target((*at, "target"), t) for t in binding.target)
        containers = self._containers(path, value)
        ports = _checkpoints_of_ports(value)
        for step in (*containers, *ports):
            # a step with its own container, or an output with a checkpoint, that is bound by a binding above it
            step_bindings.setdefault(step, StepBinding(step=step))
            targets.setdefault(step, ())
        complete: dict[str, Binding] = {}
        for step in sorted(step_bindings, key=lambda s: (s.count("/") if s != "/" else 0, s)):
            whole = self._complete(step_bindings[step], targets[step], nearest_binding(complete, step))
            position = where.get(step) or self.where((*path, "config", "docker"))
            self._check_nodes(path, value, step, whole)
            runtime = containers.get(step, whole.containers)
            complete[step] = replace(whole, position=position, containers=runtime, ports=ports.get(step, {}))
        return tuple(complete[step] for step in step_bindings)

    def _check_nodes(self, path: Path, value: WorkflowModel, step: str, binding: Binding) -> None:
        """Not every queue system can be told on which nodes a job is not to run."""
        own = [(n, b) for n, b in enumerate(value.bindings) if isinstance(b, StepBinding) and b.step == step]
        if not own or not any(rule.exclude_node for rule in binding.on):
            return
        index, written = own[-1]
        if written.on is None and not written.target:  # it inherits both: said about the binding above
            return
        for target in binding.targets:
            known = self.deployments.get(target.deployment)  # without it, the deployments are declared elsewhere
            if known is not None and known.type not in EXCLUDING_TYPES:
                kind = known.type
                text = f"`exclude_node` is not possible for `{target.deployment}`, which is of type `{kind}`"
                hint = f"leave it out, or bind {step} to {', '.join(EXCLUDING_TYPES)}"
                self.problems.append(Problem((*path, "bindings", index), text, hint))

    def _containers(self, path: Path, value: WorkflowModel) -> dict[str, JsonValue]:
        """StreamFlow's ``config.docker``: the runtime for a step's container, instead of its deployment's."""
        runtimes: dict[str, JsonValue] = {}
        for index, mapping in enumerate(value.config.docker):
            at: Path = (*path, "config", "docker", index, "deployment")
            runtime = OF_STREAMFLOW.get(mapping.deployment.type)
            if runtime is None:
                text = (
                    f"`{mapping.deployment.type}` runs no containers here: the runtime of the step's deployment is used"
                )
                self.notices.append(((*at, "type"), text))
                continue
            if not mapping.deployment.wrapper:
                self.notices.append(((*at, "wrapper"), "has no effect: a container runs where the step is bound"))
            runtimes[mapping.step] = {"runtime": runtime, "options": arguments(mapping.deployment.config)}
        return runtimes

    def _complete(self, binding: StepBinding, targets: tuple[Target, ...], above: Binding) -> Binding:
        written_fields = binding.model_fields_set
        filters = tuple(
            {"name": name, **self.model.bindingFilters[name].written_values()}
            for name in binding.filters
            if name in self.model.bindingFilters
        )
        return Binding(
            path=binding.step,
            targets=targets or above.targets,
            scatter=binding.scatter if "scatter" in written_fields else above.scatter,
            max_mapped=binding.max_mapped or above.max_mapped,
            fuse=_fuse(binding.fuse, above.fuse),
            max_iterations=binding.max_iterations or above.max_iterations,
            reuse=above.reuse if binding.reuse is None else binding.reuse,
            logs=binding.logs or above.logs,
            retries=above.retries if binding.retries is None else binding.retries,
            retry_delay_s=(above.retry_delay_s if binding.retry_delay is None else binding.retry_delay.total_seconds()),
            retry=above.retry if binding.retry is None else binding.retry.value,
            on=above.on if binding.on is None else binding.on.rules,
            resources=_asked(binding, above),
            checkpoint=above.checkpoint if binding.checkpoint is None else binding.checkpoint.value,
            policy=policy_of(self.model, binding.policy) or above.policy,
            policy_config=policy_config_of(self.model, binding.policy) if binding.policy else above.policy_config,
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
        return Target(name, target.service, workdir_of(self.folder, kind, target.workdir), locations)

    def _dag(self, dag: DagModel) -> dict[str, JsonValue]:
        section: dict[str, JsonValue] = _json_values(dag.written_values())
        if self._retries is not None:
            section = self._retries.added_to(section)
        schedule = section.get("schedule")
        if isinstance(schedule, str) and schedule.startswith("P"):
            section["schedule"] = {"seconds": interval_of(schedule).total_seconds()}
        if section.get("outdir") is not None:
            section["outdir"] = self.folder.uri(section["outdir"])
        if section.get("outdirs"):
            section["outdirs"] = [self.folder.uri(outdir) for outdir in section["outdirs"]]
        return section

    def links(self) -> tuple[Link, ...]:
        """One value per direction."""
        links = []
        for link in self.model.links:
            links.append(Link(link.source, link.target, link.address, link.identity))
            if link.both_ways:
                links.append(Link(link.target, link.source))
        return tuple(dict.fromkeys(links))


def _checkpoints_of_ports(value: WorkflowModel) -> dict[str, dict[str, Checkpoint]]:
    """Checkpoints of single outputs, by the path of the step and the output's name."""
    ports: dict[str, dict[str, Checkpoint]] = {}
    for binding in value.bindings:
        if isinstance(binding, PortBindingModel) and binding.checkpoint is not None:
            step, _, port = binding.port.rpartition("/")
            ports.setdefault(step, {})[port] = binding.checkpoint.value
    return ports


def _asked(binding: StepBinding, above: Binding) -> AskedResources | None:
    if binding.resources is None:
        return above.resources
    return binding.resources.value.or_else(above.resources)


def _fuse(written: bool | str | None, above: bool | str | None) -> bool | str | None:
    """``true`` speaks of one sub-workflow; the other values are inherited."""
    if written is not None or above is True:
        return written
    return above


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
    if isinstance(value, list):
        return [_json_values(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value
