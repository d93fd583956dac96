# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Check values against types, as cwltool does."""

from __future__ import annotations

from typing import Any

from cwltool.builder import INPUT_OBJ_VOCAB
from schema_salad.validate import validate

from airflow_hybrid.model import JsonValue


def is_valid(schema: Any, value: JsonValue) -> bool:
    """Whether a value matches a cwltool type."""
    try:
        return bool(validate(schema, value, strict=False, vocab=INPUT_OBJ_VOCAB))
    except TypeError:  # `class: 5`, which schema-salad expects to be a string
        return False
