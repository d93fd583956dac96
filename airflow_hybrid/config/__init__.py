# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The hybrid file: StreamFlow's ``streamflow.yml`` v1.0 with our extensions.

Importing this package imports neither pydantic nor YAML: a hybrid file that was validated before comes from the cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_hybrid.config.bindings import Bindings, bind, checkpoint_of, checkpoints_of_step, is_store, no_deployment
from airflow_hybrid.config.reading import cache
from airflow_hybrid.config.values import (
    DEFAULT_BINDING,
    LOCAL,
    QUEUE_TYPES,
    Deployment,
    HybridFile,
    Link,
    PortBinding,
    WorkflowConfig,
    for_run,
)
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Binding, Checkpoint

__all__ = [
    "DEFAULT_BINDING",
    "LOCAL",
    "Bindings",
    "Deployment",
    "HybridFile",
    "Link",
    "PortBinding",
    "WorkflowConfig",
    "bind",
    "check_bindings",
    "check_checkpoint",
    "checkpoint_of",
    "checkpoints_of_step",
    "for_run",
    "is_store",
    "json_schema",
    "load_hybrid_file",
    "parse_bindings",
    "parse_checkpoint",
    "parse_deployments",
    "parse_links",
]


_MOST_SHOWN = 50
"""problems of bindings that a message has"""


def load_hybrid_file(path: str | os.PathLike[str], *, cache_dir: str | None = None) -> HybridFile:
    """Read, validate and normalise the hybrid file at ``path``; from the cache it takes about a millisecond.

    :param cache_dir: default as in :func:`airflow_hybrid.config.reading.cache.default_folder`.
    :raises ConfigError: the file cannot be read, or has problems (all in one message).
    """
    absolute = os.path.abspath(path)
    try:
        with open(absolute, "rb") as stream:
            content = stream.read()
    except OSError as e:
        raise ConfigError(f"the hybrid file cannot be read: {e.strerror}", where=os.fspath(path)) from None
    folder = cache_dir or cache.default_folder()
    hybrid = cache.read(content, absolute, folder)
    if hybrid is None:
        from airflow_hybrid.config.reading.loading import load_text

        hybrid, templates = load_text(content, absolute)
        cache.write(hybrid, content, templates, folder)
    return hybrid


def parse_deployments(deployments: Any, *, base_dir: str = ".") -> dict[str, Deployment]:
    """Validate the deployments of a hybrid file, by name; ``local`` is added.

    :param deployments: a mapping; values that are already :class:`Deployment` are not changed.
    :param base_dir: base folder of relative paths.
    :raises ConfigError: all problems, each with the path of the value.
    """
    by_name = {} if deployments is None else deployments
    if isinstance(by_name, Mapping) and all(isinstance(d, Deployment) for d in by_name.values()):
        return {LOCAL.name: LOCAL, **by_name}
    from airflow_hybrid.config.reading.loading import build_python

    return dict(build_python(deployments=by_name, base_dir=base_dir).deployments)


def parse_bindings(bindings: Any) -> Bindings:
    """Validate bindings: the list of a hybrid file, or a mapping step path -> deployment, target or targets.

    :func:`check_bindings` checks what they refer to. Binding filters need a hybrid file.

    :raises ConfigError: all problems, each with the path of the value.
    """
    if isinstance(bindings, list | tuple) and all(isinstance(b, Binding) for b in bindings):
        return Bindings(bindings)
    if bindings is None:
        return Bindings()
    from airflow_hybrid.config.reading.loading import PYTHON, build_python

    return Bindings(build_python(bindings=bindings).workflows[PYTHON].bindings)


def parse_checkpoint(checkpoint: Any) -> Checkpoint | None:
    """Validate the ``checkpoint`` of a workflow: a deployment's name, a mapping, or False; None: there is none.

    :raises ConfigError: all problems, each with the path of the value.
    """
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        return checkpoint
    (binding,) = parse_bindings([{"step": "/", "checkpoint": checkpoint}])
    return binding.checkpoint


def parse_links(links: Any) -> list[dict[str, Any]]:
    """Validate the links of a hybrid file (or :class:`Link` values): one per direction, as JSON.

    :raises ConfigError: all problems, each with the path of the value.
    """
    if not links:
        return []
    if not (isinstance(links, list | tuple) and all(isinstance(link, Link) for link in links)):
        from airflow_hybrid.config.reading.loading import build_python

        links = build_python(links=links).links
    return [link.to_json() for link in links]


def check_bindings(
    bindings: Iterable[Binding],
    deployments: Mapping[str, Deployment],
    step_paths: Iterable[str],
    *,
    where: str | None = None,
) -> None:
    """Check that every binding names an existing step of the workflow and existing targets.

    :param step_paths: all steps, including those of sub-workflows (``/variant``, ``/variant/train``).
    :param where: for messages about bindings without a position.
    :raises ConfigError: all names that do not exist, each with the most similar one.
    """
    steps = dict.fromkeys(step_paths)
    wrong: list[tuple[str, str, str, Iterable[str]]] = []
    for binding in bindings:
        at = binding.position or f"{where}: {binding.path}"
        for checkpoint in (binding.checkpoint, *binding.ports.values()):
            if (problem := _checkpoint_problem(checkpoint, deployments)) is not None:
                wrong.append((at, *problem))
        if binding.path != "/" and binding.path not in steps:
            wrong.append((at, f"the workflow has no step `{binding.path}`", binding.path, steps))
        for target in binding.targets:
            deployment = deployments.get(target.deployment, LOCAL if target.deployment == LOCAL.name else None)
            if deployment is None:
                wrong.append((at, no_deployment(target.deployment), target.deployment, deployments))
                continue
            services = deployment.config.get("services", {})
            # it is unknown where other connectors declare their services
            if target.service and deployment.type in ("local", "ssh", *QUEUE_TYPES) and target.service not in services:
                message = f"deployment `{target.deployment}` has no service `{target.service}`"
                wrong.append((at, message, target.service, services))
    if wrong:
        raise _wrong_names(wrong, where)


def check_checkpoint(
    checkpoint: Checkpoint | None, deployments: Mapping[str, Deployment], *, where: str | None = None
) -> None:
    """:raises ConfigError: the checkpoint of a workflow names no deployment, or one that does not outlive its runs."""
    problem = _checkpoint_problem(checkpoint, deployments)
    if problem is not None:
        raise _wrong_names([(where or "", *problem)], where)


def _checkpoint_problem(
    checkpoint: Checkpoint | None, deployments: Mapping[str, Deployment]
) -> tuple[str, str, Iterable[str]] | None:
    """What is wrong with a checkpoint: the message, its name, and the names that are possible."""
    if checkpoint is None or checkpoint.target in ("", LOCAL.name) or is_store(checkpoint.target):
        return None
    lasting = [name for name in deployments if not _is_made_for_a_run(name, deployments)]
    if checkpoint.target not in deployments:
        return f"`checkpoint`: {no_deployment(checkpoint.target)}", checkpoint.target, lasting
    if checkpoint.target not in lasting:
        message = f"`checkpoint`: deployment `{checkpoint.target}` is made for each run, and removed with what is in it"
        return message, checkpoint.target, lasting
    return None


def _is_made_for_a_run(name: str, deployments: Mapping[str, Deployment]) -> bool:
    """Whether a deployment, or one that it wraps, is made for each run."""
    chain = [name]
    while (wrapped := deployments[chain[-1]].wraps) and wrapped in deployments and wrapped not in chain:
        chain.append(wrapped)
    return any(deployments[link].managed for link in chain)


def _wrong_names(wrong: Sequence[tuple[str, str, str, Iterable[str]]], where: str | None) -> ConfigError:
    """:param wrong: place, message, the name and those that there are."""
    from airflow_hybrid.config.reading.messages import choices

    shown = wrong[:_MOST_SHOWN]  # each name is compared with all names that there are
    problems = [(at, message, choices(name, known, what="there are")) for at, message, name, known in shown]
    if len(wrong) == 1:
        return ConfigError(problems[0][1], where=problems[0][0], hint=problems[0][2])
    lines = [f"{len(wrong)} problems in the bindings"]
    for at, message, hint in problems:
        lines += [f"  {at}: {message}", f"    -> {hint}"]
    if len(wrong) > len(shown):
        lines.append(f"  and {len(wrong) - len(shown)} more")
    together = ConfigError("\n".join(lines), where=where)
    if len(wrong) == len(shown):
        together.problems = tuple(ConfigError(message, where=at, hint=hint) for at, message, hint in problems)
    return together


def json_schema() -> Mapping[str, Any]:
    """Return the JSON schema (draft 2020-12) of the hybrid file, for editors and validators."""
    from airflow_hybrid.config.schema import json_schema as build

    return build()
