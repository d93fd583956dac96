# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Text of a hybrid file, or Python objects, -> :class:`HybridFile`. Imports pydantic and YAML; with a filled cache
``__init__`` avoids that.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from typing import Any

from pydantic import ValidationError

from airflow_hybrid.config.models import CWL_NAMES, VERSION, HybridModel, StepBinding
from airflow_hybrid.config.reading.checks import check
from airflow_hybrid.config.reading.document import Document, Path, Problem, parse
from airflow_hybrid.config.reading.messages import from_pydantic, raise_problems
from airflow_hybrid.config.reading.normal import Normalizer
from airflow_hybrid.config.reading.shown import shown
from airflow_hybrid.config.retrying.rules import written
from airflow_hybrid.config.values import Deployment, HybridFile, Link
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import Binding

PYTHON = "python"
"""Name of the workflow for bindings given in Python."""


def load_text(content: bytes, path: str) -> tuple[HybridFile, dict[str, str]]:
    """Parse, validate and normalise a hybrid file.

    :param path: absolute path of the file; relative paths in it start at its folder.
    :returns: the values, and the templates that were read (absolute path -> text).
    :raises ConfigError: all problems, in one message.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content[: e.start].count(b"\n") + 1
        raise ConfigError("not UTF-8 text", where=f"{path}:{line}", hint="save the file as UTF-8") from None
    document = parse(text, path)
    if not isinstance(document.data, dict):
        raise ConfigError("a hybrid file is a mapping that starts with `version: v1.0`", where=path)
    hybrid, templates = _build(document, os.path.dirname(path), path, content)
    return replace(hybrid, shown=shown(document.data)), templates


def build_python(
    *,
    bindings: Any = None,
    deployments: Any = None,
    links: Any = None,
    base_dir: str = ".",
) -> HybridFile:
    """Build the values of a hybrid file from Python objects of the same shape.

    :param bindings: the list of the file, or a mapping step path -> deployment name, target or targets;
        :class:`~airflow_hybrid.model.Binding` values may stand in the list. Its workflow is called ``python``.
    :param deployments: the mapping of the file; None: references of bindings and links are not checked.
    :param base_dir: base folder of relative paths.
    :raises ConfigError: as for a file; ``where`` is the path of the value.
    """
    folder = os.path.abspath(base_dir)
    ready: dict[str, Deployment] = {}
    if isinstance(deployments, Mapping):
        ready = {name: d for name, d in deployments.items() if isinstance(d, Deployment)}
        deployments = {name: d for name, d in deployments.items() if name not in ready}
    data: dict[str, Any] = {"version": VERSION, "deployments": {} if deployments is None else deployments}
    if links is not None:
        data["links"] = [_raw_link(link) for link in links] if isinstance(links, list | tuple) else links
    if bindings is not None:
        workflow = {"type": "cwl", "config": {"file": "-"}, "bindings": _raw_bindings(bindings)}
        data["workflows"] = {PYTHON: workflow}
    content = repr(data).encode()
    check_references = {"references": deployments is not None, "ready": ready}
    hybrid, _ = _build(Document("", data), folder, os.path.join(folder, ""), content, **check_references)
    return replace(hybrid, deployments={**hybrid.deployments, **ready})


def _raw_link(link: Any) -> Any:
    return {k: v for k, v in link.to_json().items() if v is not None} if isinstance(link, Link) else link


def _raw_bindings(bindings: Any) -> Any:
    if bindings is None:
        return []
    if isinstance(bindings, str):
        return [{"step": "/", "target": bindings}]
    if isinstance(bindings, Mapping):
        return [
            {"step": step, **value}
            if isinstance(value, Mapping) and any(key in value for key in StepBinding.known_keys())
            else {"step": step, "target": _plain(value)}
            for step, value in bindings.items()
        ]
    if isinstance(bindings, Sequence):
        return [_raw_binding(b) if isinstance(b, Binding) else b for b in bindings]
    return bindings


def _raw_binding(binding: Binding) -> dict[str, Any]:
    raw: dict[str, Any] = {"step": binding.path, "target": [_plain(t) for t in binding.targets]}
    for key in ("scatter", "max_mapped", "reuse", "logs", "policy", "fuse", "retries"):
        if getattr(binding, key) is not None:
            raw[key] = getattr(binding, key)
    if binding.retry_delay_s is not None:
        raw["retry_delay"] = binding.retry_delay_s
    if binding.retry is not None:
        lists = {"codes": binding.retry.codes, "not": binding.retry.never}
        raw["retry"] = {key: list(codes) for key, codes in lists.items() if codes}
    if binding.on:
        raw["on"] = written(binding.on)
    if binding.resources is not None:
        raw["resources"] = {CWL_NAMES[name]: value for name, value in binding.resources.values.items()}
    return {**raw, "max_iterations": binding.max_iterations}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {k: v for k, v in asdict(value).items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _build(
    document: Document, folder: str, path: str, content: bytes, **check_references: Any
) -> tuple[HybridFile, dict[str, str]]:
    data = document.data
    problems: list[Problem] = [*document.problems, *check(data, **check_references)]
    known_keys: dict[int, tuple[str, ...]] = {}
    try:
        model = HybridModel.model_validate(data, context=known_keys)
    except ValidationError as e:
        reported = {p.path for p in problems}
        problems += [p for p in from_pydantic(e, data, known_keys) if p.path not in reported]
        raise_problems(document, problems)
        raise
    normal = Normalizer(model, folder, document.where)
    workflows = {name: normal.workflow(name, workflow) for name, workflow in model.workflows.items()}
    raise_problems(document, problems + normal.problems)
    digest = hashlib.sha256(content)
    for file, text in sorted(normal.templates.items()):
        digest.update(f"\0{file}\0{text}".encode())
    hybrid = HybridFile(
        path=path,
        digest=digest.hexdigest(),
        workflows=workflows,
        deployments=normal.deployments,
        links=normal.links(),
        notices=_notices(document, normal.notices),
        files=(path, *sorted(normal.templates)),
    )
    return hybrid, normal.templates


def _notices(document: Document, notices: Sequence[tuple[Path, str]]) -> tuple[str, ...]:
    in_order = sorted(dict.fromkeys(notices), key=lambda notice: document.line(notice[0]) or 0)
    return tuple(f"{document.where(at)}: {text}" for at, text in in_order)
