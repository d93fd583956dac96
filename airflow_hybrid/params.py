# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL inputs as Airflow Params: what the trigger form shows (CWL v1.2, section 5.1 ``CommandInputParameter``)."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, get_parsing_context

from airflow_hybrid.model import CwlObject, JsonValue, Port, WorkflowGraph

_SIMPLE = {
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "string": "string",
}


def params_of(graph: WorkflowGraph, settings: CwlObject) -> dict[str, Param]:
    """A Param per workflow input. ``settings`` (the hybrid file's) are the defaults before the document's own.

    In the process of a task they have no schema: Airflow would check every value four times over in each task, while
    the API server has checked them when the run was made, and the first task checks them by their CWL types.
    """
    params = {port.name: _param(port, settings) for port in graph.inputs}
    if get_parsing_context().task_id is not None:
        for param in params.values():
            param.schema = {}
    return params


def required_inputs(graph: WorkflowGraph, settings: CwlObject) -> list[str]:
    """Names of the inputs that a run has to give."""
    return [
        port.name
        for port in graph.inputs
        if not port.has_default and settings.get(port.name) is None and not _optional(port.type)
    ]


def _param(port: Port, settings: CwlObject) -> Param:
    schema = schema_of(port.type)
    default = _as_param_value(settings.get(port.name, port.default), schema)
    # `null` is always allowed, also for what must be given: the inputs may come under conf's `job` (as CWL-Airflow's
    # do), and the first task says which one is missing
    kinds = schema.get("type")
    if kinds is not None:
        listed = [kinds] if isinstance(kinds, str) else list(kinds)
        schema["type"] = [*(kind for kind in listed if kind != "null"), "null"]
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    required = not port.has_default and settings.get(port.name) is None and not _optional(port.type)
    text = "\n\n".join(part for part in (port.doc, "(required)" if required else "") if part)
    return Param(default, description=text or None, schema={"title": port.label or port.name, **schema})


def _as_param_value(value: JsonValue, schema: dict[str, Any]) -> JsonValue:
    """A File or Directory that is nothing but a location is shown as that text."""
    kinds = schema.get("type")
    if isinstance(kinds, list) and "string" in kinds and isinstance(value, dict):
        if set(value) <= {"class", "location"} and isinstance(value.get("location"), str):
            return value["location"]
        if set(value) <= {"class", "path"} and isinstance(value.get("path"), str):
            return value["path"]
    return value


def from_param(kind: JsonValue, value: JsonValue) -> JsonValue:
    """The CWL value of what a form, conf or REST gave: for a File or Directory a text is its location or path."""
    kinds = kind if isinstance(kind, list) else [kind]
    if isinstance(value, str) and "string" not in kinds:
        for name in ("File", "Directory"):
            if name in kinds:
                return {"class": name, "location" if "://" in value else "path": value}
    arrays = [k for k in kinds if isinstance(k, dict) and k.get("type") == "array"]
    if isinstance(value, list) and len(arrays) == 1:
        return [from_param(arrays[0]["items"], item) for item in value]
    return value


def _optional(kind: JsonValue) -> bool:
    return kind == "null" or (isinstance(kind, list) and "null" in kind)


def schema_of(kind: JsonValue) -> dict[str, Any]:
    """JSON schema of a CWL type; the first member of ``type`` decides which widget the form shows."""
    if isinstance(kind, list):
        members = [k for k in kind if k != "null"]
        if len(members) == 1:
            schema = schema_of(members[0])
            if "type" in schema:
                kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
                schema["type"] = [*kinds, "null"]
            return schema
        kinds = []
        for member in members:
            found = schema_of(member).get("type")
            if found is None:
                return {}
            kinds.extend([found] if isinstance(found, str) else found)
        return {"type": [*dict.fromkeys(kinds), *(["null"] if "null" in kind else [])]} if kinds else {}
    if isinstance(kind, str):
        if kind in _SIMPLE:
            return {"type": _SIMPLE[kind]}
        if kind in ("File", "Directory"):
            return {"type": ["string", "object"]}
        return {}
    if kind["type"] == "enum":
        symbols = [symbol.rsplit("#", 1)[-1].rsplit("/", 1)[-1] for symbol in kind["symbols"]]
        return {"type": "string", "enum": symbols}
    if kind["type"] == "array":
        items = schema_of(kind["items"])
        return {"type": "array", **({"items": items} if items else {})}
    if kind["type"] == "record":
        return {"type": "object"}
    return schema_of(kind["type"])
