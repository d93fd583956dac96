# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Check the value of an ExpressionTool against its declared outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from cwltool.builder import INPUT_OBJ_VOCAB
from cwltool.process import Process, shortname
from schema_salad.validate import validate

from airflow_hybrid.cwl.type_names import describe
from airflow_hybrid.printable import shortened


def wrong_outputs(tool: Process, outputs: Any) -> str | None:
    """The problem with the value of a tool's expression, or None: each output must exist and have its type."""
    if not isinstance(outputs, Mapping):
        return f"the expression returns {_shown(outputs)}, not an object with the outputs {_listed(_names(tool))}"
    missing = [name for name in _names(tool) if name not in outputs]
    if missing:
        came = _listed(outputs) if outputs else "nothing"
        return (
            f"the expression does not return the output{'s' * (len(missing) > 1)} {_listed(missing)}; it returns {came}"
        )
    schema = cast(Any, tool.names.get_name("outputs_record_schema", None))
    fields = {field.name: field.type for field in schema.fields}
    for port in tool.tool["outputs"]:
        name = shortname(port["id"])
        if not (_takes_null(port["type"], outputs[name]) or _is_valid(fields[name], outputs[name])):
            return (
                f"output {name!r} must be {describe(port['type'])}, but the expression returns {_shown(outputs[name])}"
            )
    return None


def _is_valid(schema: Any, value: Any) -> bool:
    try:
        return bool(validate(schema, value, strict=False, vocab=INPUT_OBJ_VOCAB))
    except TypeError:  # `class: 5`, which schema-salad expects to be a string
        return False


def _takes_null(kind: Any, value: Any) -> bool:
    """Whether the type is Any, or an array of Any: CWL's conformance tests pass a null as Any, which schema-salad
    refuses.
    """
    if isinstance(kind, list):
        return any(_takes_null(item, value) for item in kind)
    if isinstance(kind, Mapping) and kind.get("type") == "array":
        return isinstance(value, list) and all(_takes_null(kind["items"], item) for item in value)
    return bool(kind == "Any")


def _names(tool: Process) -> list[str]:
    return [shortname(port["id"]) for port in tool.tool["outputs"]]


def _listed(names: Any) -> str:
    return ", ".join(repr(str(name)) for name in names)


def _shown(value: Any) -> str:
    return shortened(json.dumps(value, default=str), 60)
