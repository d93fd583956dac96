# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The JSON schema of the hybrid file, made from its models."""

from __future__ import annotations

from typing import Any

from airflow_hybrid.config.base import NAME_PATTERN
from airflow_hybrid.config.models import HybridModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema; see :func:`airflow_hybrid.config.json_schema`."""
    schema = HybridModel.model_json_schema(by_alias=True)
    _close_names(schema)
    return {
        "$schema": DIALECT,
        "title": "airflow_hybrid hybrid file",
        **{k: v for k, v in schema.items() if k != "title"},
    }


def _close_names(value: Any) -> None:
    """Mappings with names as keys allow only keys that match the pattern."""
    if isinstance(value, dict):
        if list(value.get("patternProperties", {})) == [NAME_PATTERN]:
            value["additionalProperties"] = False
        for item in value.values():
            _close_names(item)
    elif isinstance(value, list):
        for item in value:
            _close_names(item)
