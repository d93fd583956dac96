# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Options of services that are templates, rendered for one DAG run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from airflow_hybrid.config.native import NATIVE, Native
from airflow_hybrid.config.values import Deployment
from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.templates import Render, holds_template, rendered

_NOT_RENDERED = "file"
"""the name of a file, which was read when the hybrid file was"""


def rendered_deployments(deployments: Mapping[str, Deployment], render: Render) -> Mapping[str, Deployment]:
    """The deployments with the templates among their services' native options rendered, and typed as the options are.

    :raises HybridError: one cannot be rendered, or gives what the option cannot have.
    """
    return {name: _rendered(deployment, render) for name, deployment in deployments.items()}


def _rendered(deployment: Deployment, render: Render) -> Deployment:
    services: Mapping[str, Any] = deployment.config.get("services") or {}
    native = NATIVE.get(deployment.type)
    if native is None or not holds_template(services):
        return deployment
    values = {name: _options(deployment, name, options, native, render) for name, options in services.items()}
    return dataclasses.replace(deployment, config={**deployment.config, "services": values})


def _options(
    deployment: Deployment, service: str, options: Mapping[str, Any], native: Native, render: Render
) -> dict[str, JsonValue]:
    values: dict[str, JsonValue] = {}
    for name, value in options.items():
        values[name] = value
        if name == _NOT_RENDERED or not holds_template(value):
            continue
        where = f"deployment {deployment.name!r}, service {service!r}, option `{name}`"
        try:
            values[name] = rendered(native.cwl_type(name), value, render)
        except HybridError as error:
            error.where = error.where or where
            raise
        if values[name] is None:  # an option without a value is left out
            del values[name]
            continue
        problem = native.type_problem(name, values[name]) if name in native.options else None
        if _has_control_characters(values[name]):
            problem = f"must not have line breaks or other control characters: {values[name]!r}"
        if problem:
            raise ConfigError(f"its template was rendered, and the value {problem}", where=where)
    return values


def _has_control_characters(value: JsonValue) -> bool:
    if isinstance(value, Mapping):
        return any(_has_control_characters(member) for item in value.items() for member in item)
    if isinstance(value, list):
        return any(_has_control_characters(member) for member in value)
    return isinstance(value, str) and any(ord(character) < 32 or ord(character) == 127 for character in value)
