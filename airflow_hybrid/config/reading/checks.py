# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Checks across the parts of a hybrid file: references, cycles, services; and secrets.

Works on the raw values, so that a wrong type in one place does not prevent the other checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from airflow_hybrid.config.base import one_or_many
from airflow_hybrid.config.bindings import no_deployment
from airflow_hybrid.config.connectors import (
    CONTAINER_TYPES,
    DECLARED_SERVICES,
    IMAGE_TYPES,
    STREAMFLOW_TYPES,
    SUPPORTED_TYPES,
)
from airflow_hybrid.config.native import NATIVE, Native
from airflow_hybrid.config.reading.checkpoints import check_checkpoints
from airflow_hybrid.config.reading.document import Path, Problem
from airflow_hybrid.config.reading.messages import choices
from airflow_hybrid.config.values import DEFAULT_POLICY, QUEUE_TYPES, Deployment
from airflow_hybrid.model import LOCAL_DEPLOYMENT
from airflow_hybrid.model.requirements import ANY, REQUIREMENTS
from airflow_hybrid.model.templates import syntax_problem

POLICY_TYPES = (DEFAULT_POLICY, "in_order", "spread", "load", "queue_wait", "cost")
"""The policies of :mod:`airflow_hybrid.placement`."""
FILTER_TYPES = ("shuffle", "matching")
CONNECTOR_GROUP, SCHEDULER_GROUP = "airflow_hybrid.connectors", "airflow_hybrid.schedulers"
POLICY_GROUP = "airflow_hybrid.policies"
_SECRET = re.compile(
    r"(ssh_?)?(password|passwd|pwd|passphrase|secret|token)|((ssh_?)?private|secret|access|api)_?key", re.I
)
_NAMED = ("workflows", "deployments", "models", "bindingFilters", "policies", "services", "owner_links")
"""Keys of mappings with names chosen by users."""


def third_party_types() -> tuple[str, ...]:
    """Connector types of other packages: entry points for connectors and for schedulers."""
    return tuple(sorted(e.name for group in (CONNECTOR_GROUP, SCHEDULER_GROUP) for e in entry_points(group=group)))


def is_queue(kind: Any) -> bool:
    """Whether deployments of a type are queue systems."""
    return kind in QUEUE_TYPES or (isinstance(kind, str) and any(entry_points(group=SCHEDULER_GROUP, name=kind)))


def policy_types() -> tuple[str, ...]:
    """Types of policies: built in, or from other packages (entry points of :data:`POLICY_GROUP`)."""
    return (*POLICY_TYPES, *sorted(e.name for e in entry_points(group=POLICY_GROUP)))


def check(
    data: Mapping[str, Any], *, references: bool = True, ready: Mapping[str, Deployment] | None = None
) -> list[Problem]:
    """All problems of references and secrets in the raw values of a hybrid file.

    :param references: False if the deployments that bindings name are not in ``data``.
    :param ready: valid deployments that may be referred to.
    """
    return [*_secrets(data, ()), *(_Checker(data, ready or {}).run() if references else ())]


def _secrets(value: Any, path: Path, *, local: bool = False) -> Iterator[Problem]:
    """:param local: the value is in a deployment of this machine."""
    hint = (
        "never put a secret into the file: use an Airflow Connection (`conn_id`), or a file (`passwordFile`, `sshKey`)"
    )
    if isinstance(value, dict):
        chosen = bool(path) and path[-1] in _NAMED
        for key, child in value.items():
            here = local or (len(path) == 2 and path[0] in ("deployments", "models") and value.get("type") == "local")
            if chosen or not _SECRET.fullmatch(str(key)) or isinstance(child, bool) or not isinstance(child, str | int):
                yield from _secrets(child, (*path, key), local=here)
            elif here:
                message = f"`{key}` looks like a secret, but this machine needs no login"
                yield Problem((*path, key), message, f"remove it; if the file was shared, change the {key} as well")
            else:
                yield Problem((*path, key), f"`{key}` looks like a secret", hint)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _secrets(child, (*path, index))
    elif isinstance(value, str) and "PRIVATE KEY-----" in value:
        yield Problem(path, "this is a private key", hint)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class _Checker:
    def __init__(self, data: Mapping[str, Any], ready: Mapping[str, Deployment]) -> None:
        self.data = data
        self.deployments: dict[str, Any] = {name: deployment.to_json() for name, deployment in ready.items()}
        self.origin: dict[str, Path] = {}
        for section in ("models", "deployments"):
            for name, value in _mapping(data.get(section)).items():
                self.deployments[name] = _mapping(value)
                self.origin[name] = (section, name)
        self.filters = _mapping(data.get("bindingFilters"))
        self.policies = _mapping(_mapping(data.get("scheduling")).get("policies"))
        self.types = (*SUPPORTED_TYPES, *third_party_types())

    def run(self) -> Iterator[Problem]:
        for name in self.origin:
            yield from self.deployment(name)
        for name, policy in self.policies.items():
            yield from self.known_type(("scheduling", "policies", name), _mapping(policy), policy_types(), "policy")
        for name, entry in self.filters.items():
            yield from self.binding_filter(("bindingFilters", name), _mapping(entry))
        for name, workflow in _mapping(self.data.get("workflows")).items():
            for index, binding in enumerate(_list(_mapping(workflow).get("bindings"))):
                yield from self.binding(("workflows", name, "bindings", index), _mapping(binding))
            section = _mapping(_mapping(workflow).get("dag"))
            yield from _run_requirements(
                ("workflows", name, "dag", "run_requirements"), section.get("run_requirements")
            )
        yield from self.dag_ids()
        yield from check_checkpoints(self.data, self.deployments)
        for index, link in enumerate(_list(self.data.get("links"))):
            yield from self.link(("links", index), link)

    def dag_ids(self) -> Iterator[Problem]:
        first: dict[str, str] = {}
        for name, workflow in _mapping(self.data.get("workflows")).items():
            dag_id = _mapping(_mapping(workflow).get("dag")).get("dag_id", name)
            if isinstance(dag_id, str) and first.setdefault(dag_id, name) != name:
                message = f"workflow `{first[dag_id]}` already has the DAG id `{dag_id}`"
                yield Problem(("workflows", name, "dag", "dag_id"), message)

    def known_type(self, path: Path, value: dict[str, Any], types: tuple[str, ...], what: str) -> Iterator[Problem]:
        kind = value.get("type")
        if isinstance(kind, str) and kind not in types:
            yield Problem((*path, "type"), f"there is no {what} of type `{kind}`", choices(kind, types))

    def refers(self, path: Path, name: Any) -> Iterator[Problem]:
        """``name`` at ``path`` must be a deployment; the models check its type."""
        if isinstance(name, str) and name not in self.deployments and name != LOCAL_DEPLOYMENT:
            known = [*self.deployments, LOCAL_DEPLOYMENT]
            yield Problem(path, no_deployment(name), choices(name, known, what="declared"))

    def deployment(self, name: str) -> Iterator[Problem]:
        path, value = self.origin[name], self.deployments[name]
        kind, wraps = value.get("type"), value.get("wraps")
        yield from self.known_type(path, value, tuple(dict.fromkeys((*self.types, *STREAMFLOW_TYPES))), "connector")
        if name == LOCAL_DEPLOYMENT and kind != "local" and isinstance(kind, str):
            yield Problem(path, f"`{name}` is the machine that Airflow runs on", "give this deployment another name")
        if name == LOCAL_DEPLOYMENT and kind == "local" and _mapping(value.get("config")).get("run_as"):
            hint = "give this deployment another name, and bind steps to it"
            yield Problem((*path, "config", "run_as"), f"`{name}` is Airflow's own user, who reads its files", hint)
        policy = value.get("scheduling_policy")
        if isinstance(policy, str):
            yield from self.policy((*path, "scheduling_policy"), policy)
        if wraps is not None:
            yield from self.wraps(name, path, value)
        if isinstance(kind, str) and kind in NATIVE:
            for service, options in _mapping(_mapping(value.get("config")).get("services")).items():
                yield from _native_service((*path, "config", "services", service), _mapping(options), NATIVE[kind])

        if kind in (*CONTAINER_TYPES, *IMAGE_TYPES):
            yield from self.container(name, path, value)

    def wraps(self, name: str, path: Path, value: dict[str, Any]) -> Iterator[Problem]:
        """The deployment that another one wraps."""
        kind, wraps = value.get("type"), value["wraps"]
        if kind in ("local", "ssh"):
            yield Problem((*path, "wraps"), f"a deployment of type {kind} does not work inside another one")
        at, wrapped = _reference((*path, "wraps"), wraps)
        yield from self.refers(at, wrapped)
        yield from self.service((*path, "wraps", "service"), wrapped, _mapping(wraps).get("service"))
        yield from self.cycle(name, at)
        yield from self.environment(path, value, wrapped)

    def environment(self, path: Path, value: dict[str, Any], wrapped: Any) -> Iterator[Problem]:
        """Commands of a queue system run at the wrapped deployment, which sets the path of its programs."""
        kind_wrapped = self.deployments.get(str(wrapped), {"type": "local"}).get("type")
        for key in ("path", "profile"):
            if key in _mapping(value.get("config")) and value.get("type") in NATIVE and kind_wrapped != "local":
                yield Problem((*path, "config", key), f"`{key}` belongs to what this wraps", f"give it to `{wrapped}`")

    def container(self, name: str, path: Path, value: dict[str, Any]) -> Iterator[Problem]:
        """A container's image or id, and the deployment that it wraps."""
        config = _mapping(value.get("config"))
        at: Path = (*path, "config")
        wrapped = self.wrapped_by(name)
        kind_wrapped = self.deployments.get(wrapped or "", {}).get("type")
        if kind_wrapped == "kubernetes":
            hint = "give `image` to a service of the `kubernetes` deployment, and bind steps to that"
            yield Problem((*path, "wraps"), "a pod's jobs are in containers already", hint)
        elif value.get("type") in IMAGE_TYPES:
            if config.get("instanceName"):
                hint = "give `image`: each job gets a container of its own, no instance has to run"
                yield Problem((*at, "instanceName"), "steps do not run in an instance started by somebody else", hint)
        elif is_queue(kind_wrapped):
            yield from _container_of_jobs(at, config, f"the nodes of `{wrapped}` do not share a running container")
        elif not value.get("external"):
            yield from _new_container(at, config)
        elif not _names_container(config):
            yield Problem(
                at, "an external container is named by `containerId`", "or leave out `external` to have it made"
            )

    def wrapped_by(self, name: str) -> str | None:
        """The name of the deployment that ``name`` wraps."""
        _, wrapped = _reference((), self.deployments.get(name, {}).get("wraps"))
        return wrapped if isinstance(wrapped, str) else None

    def chain(self, name: str) -> list[str]:
        """``name``, the deployment that it wraps, and so on; ends where a cycle closes."""
        names = [name]
        while (following := self.wrapped_by(names[-1])) and following not in names:
            names.append(following)
        return names

    def cycle(self, name: str, path: Path) -> Iterator[Problem]:
        names = self.chain(name)
        if self.wrapped_by(names[-1]) == name:
            around = " -> ".join([*names, name])
            yield Problem(path, f"a deployment cannot work inside itself: {around}", "wrap what leads to the hosts")

    def service(self, path: Path, deployment: Any, service: Any) -> Iterator[Problem]:
        declaration = self.deployments.get(deployment, {}) if isinstance(deployment, str) else {}
        if isinstance(service, str) and declaration.get("type") in DECLARED_SERVICES:
            config = _mapping(declaration.get("config"))
            services = _mapping(config.get("services"))
            # a container of the manifests, as in StreamFlow
            if service not in services and not (declaration.get("type") == "kubernetes" and config.get("files")):
                hint = choices(service, services, what="declared")
                yield Problem(path, f"deployment `{deployment}` has no service `{service}`", hint)

    def policy(self, path: Path, name: str) -> Iterator[Problem]:
        known = [*self.policies, *policy_types()]
        if name not in known:
            yield Problem(path, f"there is no policy `{name}`", choices(name, dict.fromkeys(known)))

    def binding_filter(self, path: Path, value: dict[str, Any]) -> Iterator[Problem]:
        yield from self.known_type(path, value, FILTER_TYPES, "binding filter")
        if value.get("type") == "matching":
            config = _mapping(value.get("config"))
            shapes = [key for key in ("filters", "match") if isinstance(config.get(key), list)]
            if not shapes:
                yield Problem((*path, "config"), "a `matching` filter needs a list of `filters`")
            for index, entry in enumerate(_list(config.get("filters"))):
                yield from self.matching_rule((*path, "config", "filters", index), _mapping(entry))
            for index, entry in enumerate(_list(config.get("match"))):
                yield from self.later_rule((*path, "config", "match", index), _mapping(entry))

    def matching_rule(self, path: Path, rule: dict[str, Any]) -> Iterator[Problem]:
        """StreamFlow 0.2, with our ``regex``, ``min`` and ``max`` besides ``match``."""
        yield from _only(path, rule, ("target", "job"))
        target = rule.get("target")
        at, deployment = _reference((*path, "target"), target)
        yield from self.refers(at, deployment)
        yield from self.service((*path, "target", "service"), deployment, _mapping(target).get("service"))
        yield from _only((*path, "target"), _mapping(target) or {"deployment": ""}, ("deployment",), ("service",))
        for index, job in enumerate(_list(rule.get("job"))):
            at = (*path, "job", index)
            value = _mapping(job)
            yield from _only(at, value, ("port",), ("match", "regex", "min", "max"))
            if not any(key in value for key in ("match", "regex", "min", "max")):
                yield Problem(at, "the key `match` is missing", "or give `regex`, `min` or `max`")
            yield from _pattern((*at, "regex"), value.get("regex"))
            for key in ("min", "max"):
                if isinstance(value.get(key, 0), bool) or not isinstance(value.get(key, 0), (int, float)):
                    yield Problem((*at, key), f"must be a number, not {value[key]!r}")

    def later_rule(self, path: Path, rule: dict[str, Any]) -> Iterator[Problem]:
        """The form of StreamFlow's main branch: deployment, and inputs with a regular expression each."""
        yield from _only(path, rule, ("deployment", "job"), ("service",))
        yield from self.refers((*path, "deployment"), rule.get("deployment"))
        yield from self.service((*path, "service"), rule.get("deployment"), rule.get("service"))
        for index, job in enumerate(_list(rule.get("job"))):
            yield from _only((*path, "job", index), _mapping(job), ("input", "regex"))
            yield from _pattern((*path, "job", index, "regex"), _mapping(job).get("regex"))

    def binding(self, path: Path, value: dict[str, Any]) -> Iterator[Problem]:
        target = value.get("target")
        many = isinstance(target, list)
        for index, entry in enumerate(target if isinstance(target, list) else [target]):
            at: Path = (*path, "target", index) if many else (*path, "target")
            keys = _mapping(entry)
            key = "model" if "model" in keys and "deployment" not in keys else "deployment"
            name = entry if isinstance(entry, str) else keys.get(key)
            yield from self.refers(at if isinstance(entry, str) else (*at, key), name)
            yield from self.service((*at, "service"), name, keys.get("service"))
            if isinstance(name, str):
                yield from self.supported(at, name)
        for index, name in enumerate(_list(value.get("filters"))):
            if isinstance(name, str) and name not in self.filters:
                hint = choices(name, self.filters, what="declared")
                yield Problem((*path, "filters", index), f"there is no binding filter `{name}`", hint)
        if isinstance(policy := value.get("policy"), str):
            yield from self.policy((*path, "policy"), policy)

    def supported(self, path: Path, name: str) -> Iterator[Problem]:
        for link in self.chain(name):
            kind = self.deployments.get(link, {}).get("type")
            if kind in STREAMFLOW_TYPES and kind not in self.types:
                inside = "" if link == name else f" (wrapped by `{name}`)"
                message = f"deployment `{link}`{inside} has type {kind}, which this version does not support"
                yield Problem(path, message, f"supported: {', '.join(self.types)}")

    def link(self, path: Path, value: Any) -> Iterator[Problem]:
        if isinstance(value, list):
            ends: list[tuple[Path, Any]] = [((*path, i), name) for i, name in enumerate(value)]
        else:
            ends = [((*path, key), _mapping(value).get(key)) for key in ("source", "target")]
        for at, name in ends:
            yield from self.refers(at, name)
        if len(ends) == 2 and ends[0][1] == ends[1][1] and isinstance(ends[0][1], str):
            yield Problem(path, "a link joins two different deployments")


def _reference(path: Path, value: Any) -> tuple[Path, Any]:
    """A deployment named by a string or in a mapping: the path of the name, and the name."""
    if isinstance(value, str):
        return path, value
    return (*path, "deployment"), _mapping(value).get("deployment")


def _names_container(config: Mapping[str, Any]) -> bool:
    return bool(config.get("containerId") or config.get("containerIds"))


def _container_of_jobs(path: Path, config: Mapping[str, Any], not_shared: str) -> Iterator[Problem]:
    if _names_container(config):
        yield Problem(path, not_shared, "give `image`: each job of the queue gets a container of its own")
    elif not config.get("image"):
        yield Problem(path, "the key `image` is missing")


def _new_container(path: Path, config: Mapping[str, Any]) -> Iterator[Problem]:
    if _names_container(config):
        hint = "write `external: true` for a container that runs already, or leave out its id"
        yield Problem(path, "`containerId` names a container that is not `external`", hint)
    if not config.get("image"):
        yield Problem(path, "the key `image` is missing")


def _pattern(path: Path, pattern: Any) -> Iterator[Problem]:
    if pattern is None:
        return
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        yield Problem(path, f"{pattern!r} is not a regular expression: {error}")


def _native_service(path: Path, service: dict[str, Any], native: Native) -> Iterator[Problem]:
    for key, value in service.items():
        name = native.canonical(key)
        if key == "file":
            if not isinstance(value, str):
                yield Problem((*path, key), f"must be a path, not {value!r}")
        elif key == "options":
            yield from _further_options((*path, key), value, native)
        elif name not in native.options:
            hint = choices(key, ["file", "options", *native.options]) if key else None
            if hint and not hint.startswith("did you mean"):
                hint = f"other options of {native.program} go into `options: {{{key}: ...}}`"
            yield Problem((*path, key), f"unknown key `{key}`", hint)
        elif problem := syntax_problem(value) or native.type_problem(name, value):
            yield Problem((*path, key), problem)


def _further_options(path: Path, options: Any, native: Native) -> Iterator[Problem]:
    if not isinstance(options, dict):
        yield Problem(path, f"must be a mapping of {native.program} options")
    for name, value in _mapping(options).items():
        if problem := syntax_problem(value):
            yield Problem((*path, name), problem)


def _run_requirements(path: Path, classes: Any) -> Iterator[Problem]:
    for index, name in enumerate(_list(one_or_many(classes))):
        if isinstance(name, str) and name not in (ANY, *REQUIREMENTS):
            at = (*path, index) if isinstance(classes, list) else path
            yield Problem(at, f"CWL has no requirement `{name}`", choices(name, (ANY, *REQUIREMENTS)))


def _only(
    path: Path, value: dict[str, Any], required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[Problem]:
    for key in value:
        if key not in (*required, *optional):
            yield Problem((*path, key), f"unknown key `{key}`", choices(key, (*required, *optional)))
    for key in required:
        if key not in value:
            yield Problem(path, f"the key `{key}` is missing")
