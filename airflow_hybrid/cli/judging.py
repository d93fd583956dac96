# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Check a hybrid file with its documents and inputs files: all problems in one message, before anything runs."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_hybrid.config import Deployment, HybridFile, WorkflowConfig, bind, check_bindings, load_hybrid_file
from airflow_hybrid.config.connectors import CONTAINER_TYPES, IMAGE_TYPES
from airflow_hybrid.config.reading.document import Document, parse
from airflow_hybrid.config.reading.messages import choices, in_one_message
from airflow_hybrid.cwl.documents.graphs import load_graph
from airflow_hybrid.cwl.fragments.step_needs import StepNeeds, step_needs
from airflow_hybrid.cwl.given.checks import check_settings
from airflow_hybrid.cwl.given.settings import load_inputs
from airflow_hybrid.dag.hybrid_dag import dag_of
from airflow_hybrid.errors import ConfigError, HybridError, InputError
from airflow_hybrid.model import LOCAL_DEPLOYMENT, WorkflowGraph
from airflow_hybrid.model.locations import is_uri
from airflow_hybrid.operators.published.assets import parse_assets

_MIB = 1 << 20


@dataclass(frozen=True)
class Judged:
    """A valid hybrid file.

    :ivar graphs: by the workflow's name; ``notices``: warnings for the user, each with what to do.
    """

    hybrid: HybridFile
    graphs: Mapping[str, WorkflowGraph]
    notices: tuple[str, ...]


def judge(file: str) -> Judged:
    """Read a hybrid file and everything on this machine that it names.

    :raises HybridError: the problems, all in one message.
    """
    path = os.path.abspath(file)
    try:
        hybrid = load_hybrid_file(path)
    except ConfigError as error:
        others = list(_in_spite_of(path))
        raise in_one_message([error, *others], path) from None
    document = parse(Path(hybrid.path).read_text("utf-8-sig"), hybrid.path)
    problems: list[HybridError] = list(_users(hybrid, document))
    graphs: dict[str, WorkflowGraph] = {}
    notices = list(hybrid.notices)
    for name, workflow in hybrid.workflows.items():
        try:
            graphs[name] = load_graph(workflow.file)
        except HybridError as error:
            error.where = error.where or document.where(("workflows", name, "config", "file"))
            problems.append(error)
            continue
        found = list(_of_workflow(hybrid, workflow, graphs[name], notices))
        found += _assets(name, workflow.dag.get("assets", {}), graphs[name], document)
        known = {problem.message for error in found for problem in error.problems or (error,)}
        problems += found
        problems += [problem for problem in _dag(hybrid, name, document) if problem.message not in known]
    if problems:
        raise in_one_message(problems, hybrid.path)
    return Judged(hybrid, graphs, tuple(dict.fromkeys(notices)))


def _in_spite_of(path: str) -> Iterator[HybridError]:
    """Problems with the documents, steps and inputs files of a hybrid file that has problems itself."""
    try:
        document = parse(Path(path).read_text("utf-8-sig"), path)
    except (ConfigError, OSError, UnicodeDecodeError):
        return  # already reported: it cannot be read
    for name, workflow in _mapping(_mapping(document.data).get("workflows")).items():
        config = _mapping(_mapping(workflow).get("config"))
        named = config.get("file")
        if not isinstance(named, str):
            continue
        try:
            graph = load_graph(named if is_uri(named) else os.path.join(os.path.dirname(path), named))
            settings = config.get("settings")
            if isinstance(settings, str):
                list(_settings(graph, os.path.join(os.path.dirname(path), settings)))
        except HybridError as error:
            error.where = error.where or document.where(("workflows", name, "config", "file"))
            yield error
            continue
        assets = _mapping(_mapping(_mapping(workflow).get("dag")).get("assets"))
        yield from _assets(name, {key: uri for key, uri in assets.items() if isinstance(uri, str)}, graph, document)
        steps = [step.path for step in graph.walk()]
        bindings = _mapping(workflow).get("bindings")
        for index, binding in enumerate(bindings if isinstance(bindings, list) else ()):
            step = _mapping(binding).get("step")
            if isinstance(step, str) and step.startswith("/") and step.rstrip("/") not in ("", *steps):
                where = document.where(("workflows", name, "bindings", index, "step"))
                hint = choices(step, steps, what="there are")
                yield ConfigError(f"the workflow has no step `{step}`", where=where, hint=hint)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _of_workflow(
    hybrid: HybridFile, workflow: WorkflowConfig, graph: WorkflowGraph, notices: list[str]
) -> Iterator[HybridError]:
    """Problems with a workflow's bindings and inputs file; warnings are added to ``notices``."""
    try:
        check_bindings(workflow.bindings, hybrid.deployments, [s.path for s in graph.walk()], where=hybrid.path)
    except ConfigError as error:
        yield error
    needs = list(step_needs(graph))
    yield from _without_image(hybrid, workflow, needs)
    notices += _too_large(hybrid, workflow, needs)
    if workflow.settings is None:
        return
    try:
        notices += _settings(graph, workflow.settings)
    except InputError as error:
        yield error


def _assets(name: str, assets: Mapping[str, Any], graph: WorkflowGraph, document: Document) -> Iterator[HybridError]:
    """Assets of no output, and what Airflow refuses as an asset."""
    outputs = [output.name for output in graph.outputs]
    for output, asset in assets.items():
        try:
            parse_assets({output: asset}, outputs, name)
        except ConfigError as error:
            error.where = document.where(("workflows", name, "dag", "assets", output))
            yield error


def _dag(hybrid: HybridFile, name: str, document: Document) -> Iterator[HybridError]:
    """What a DAG file with the hybrid file would be refused for."""
    where = document.where(("workflows", name, "dag"))
    try:
        dag_of(hybrid, name, hybrid.path)
    except HybridError as error:
        if error.where in (None, hybrid.path):
            error.where = where
        yield from error.problems or (error,)
    except Exception as error:  # Airflow's own: a DAG file would fail with it
        yield ConfigError(f"Airflow refuses the DAG: {error}", where=where)


def _settings(graph: WorkflowGraph, file: str) -> Iterator[str]:
    for name in check_settings(graph, load_inputs(file), file):
        known = choices(name, [port.name for port in graph.inputs])
        yield f"{file}: {name!r} is not an input of {graph.name}: runs ignore it\n  -> {known}"


def _users(hybrid: HybridFile, document: Document) -> Iterator[ConfigError]:
    """Unix users that do not exist on this machine, or have all rights."""
    users = {name: d.config["run_as"] for name, d in hybrid.deployments.items() if d.config.get("run_as")}
    for name, user in users.items():
        section = "deployments" if name in document.data.get("deployments", {}) else "models"
        where = document.where((section, name, "config", "run_as"))
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            hint = "create the user on every machine that runs Airflow's workers and triggerers, or name another one"
            yield ConfigError(f"there is no user {user!r} on this machine", where=where, hint=hint)
            continue
        if account.pw_uid == 0:
            message = f"the user {user!r} has root's user id: `run_as` needs a user with fewer rights"
            yield ConfigError(message, where=where, hint="name another user")


# --- steps and where they are bound ---------------------------------------------------------------------------------


def _places(hybrid: HybridFile, workflow: WorkflowConfig, path: str) -> Iterator[Deployment]:
    for target in bind(workflow.bindings, path).targets:
        yield hybrid.deployments[target.deployment]


def _without_image(hybrid: HybridFile, workflow: WorkflowConfig, needs: Sequence[StepNeeds]) -> Iterator[ConfigError]:
    """Steps without an image that are bound to a deployment whose jobs run only in containers."""
    for step in needs:
        for deployment in () if step.has_image else _places(hybrid, workflow, step.path):
            containers = _containers(hybrid, deployment)
            if not containers.get("required") or containers.get("image"):
                continue
            yield ConfigError(
                f"step {step.path} asks for no container, but jobs of `{deployment.name}` run only in containers",
                where=bind(workflow.bindings, step.path).position or step.position,
                hint="give the tool a DockerRequirement, or the deployment an image for such steps: "
                "`containers: {required: true, image: ...}`",
            )


def _containers(hybrid: HybridFile, deployment: Deployment | None) -> Mapping[str, object]:
    """A deployment's container settings, its own or those of one that it wraps; ``{}`` if jobs always have an image."""
    while deployment is not None:
        if deployment.type in (*CONTAINER_TYPES, *IMAGE_TYPES, "kubernetes"):
            return {}
        if deployment.containers is not None:
            return dict(deployment.containers)
        deployment = hybrid.deployments.get(deployment.wraps or "")
    return {}


def _too_large(hybrid: HybridFile, workflow: WorkflowConfig, needs: Sequence[StepNeeds]) -> Iterator[str]:
    """Steps whose jobs ask for more than any host of their deployments has."""
    for step in needs:
        sizes = [_size(deployment) for deployment in _places(hybrid, workflow, step.path)]
        for asked, available, unit in (
            (step.cores, [size.cores for size in sizes], "cores"),
            (step.ram_mib, [size.memory_mib for size in sizes], "MiB of memory"),
        ):
            known = [amount for amount in available if amount is not None]
            if asked is None or len(known) < len(available) or asked <= max(known):
                continue
            yield (
                f"{step.position}: step {step.path} asks for {asked:.10g} {unit}, but no host that it is bound to has "
                f"more than {max(known)}\n  -> {_LESS}"
            )


_LESS = "lower `coresMin` or `ramMin` of its ResourceRequirement, or bind it to a larger host"


@dataclass(frozen=True)
class _Size:
    """The amount of the largest host of a deployment; None: unknown here."""

    cores: int | None = None
    memory_mib: int | None = None


def _size(deployment: Deployment) -> _Size:
    if deployment.type == LOCAL_DEPLOYMENT:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB
        return _Size(deployment.config.get("cores") or os.cpu_count(), memory)
    if deployment.type == "ssh":
        cores = [node.get("cores") for node in deployment.config.get("nodes", ())]
        if cores and all(isinstance(count, int) for count in cores):
            return _Size(max(cores))
    return _Size()
