# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""CWL inputs as Airflow Params for the trigger form (CWL v1.2, section 5.1 ``CommandInputParameter``)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow.sdk import Param, get_parsing_context

from airflow_hybrid.cwl.given import job_requirements
from airflow_hybrid.model import CwlObject, JsonValue, Port, WorkflowGraph
from airflow_hybrid.model.templates import holds_template
from airflow_hybrid.model.walking import map_files

_SIMPLE = {
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "string": "string",
}


JOB_KEY = "job"
"""conf key for the inputs, as in CWL-Airflow"""
OUTDIR_KEY = "outdir"
"""conf key: where the run's outputs go"""
REUSE_KEY = "reuse"
"""conf key: whether the run reuses outputs of other runs (CWL WorkReuse)"""
CONF_KEYS = frozenset({JOB_KEY, OUTDIR_KEY, REUSE_KEY, *job_requirements.KEYS})
"""keys of a run's conf that are no inputs"""
ADVANCED = "Advanced"
"""section of the trigger form, below the inputs"""


def params_of(
    graph: WorkflowGraph, settings: CwlObject, from_tasks: Mapping[str, str] | None = None
) -> dict[str, Param]:
    """A Param per workflow input, and one per other key that a run's conf may have (an input takes precedence).

    The defaults of ``settings`` (the hybrid file's) take precedence over the document's.

    A template is not a default in the form, because values from a form are never rendered: the description shows it.
    Neither is what another task returns.

    In a task's process they have no schema: Airflow would check every value four times in each task, although the API
    server checked them when the run was created, and the first task checks them against their CWL types.

    :param from_tasks: inputs whose values tasks of the DAG return: name -> those tasks, in words.
    """
    params = {port.name: _param(port, settings) for port in graph.inputs}
    ports = {port.name: port for port in graph.inputs}
    for name, source in (from_tasks or {}).items():
        params[name] = _param_of_task(ports[name], source)
    for key, (title, schema, text) in _ADVANCED.items():
        is_unknown = key == job_requirements.KEY and graph.cwl_version == "v1.0"
        if key not in params and not is_unknown:
            params[key] = Param(None, description=text, schema={"title": title, "section": ADVANCED, **schema})
    if get_parsing_context().task_id is not None:
        for param in params.values():
            param.schema = {}
    return params


_ADVANCED: dict[str, tuple[str, dict[str, Any], str]] = {
    OUTDIR_KEY: (
        "Folder for the outputs",
        {"type": ["string", "null"]},
        "A path, or a URL of an object store, below a folder that the DAG allows. Left empty: the DAG's own.",
    ),
    REUSE_KEY: (
        "Reuse outputs of other runs",
        {"type": ["boolean", "null"]},
        "On: outputs of the same jobs in other runs are taken. On and off again: all jobs run."
        " Not touched: as the hybrid file and the document say.",
    ),
    job_requirements.KEY: (
        "Requirements of all steps",
        {"type": ["array", "object", "null"], "items": {"type": "object"}},
        'CWL requirements: `[{"class": "ResourceRequirement", "coresMin": 4}]`. The DAG says which classes a run'
        " may set besides ResourceRequirement, ToolTimeLimit and WorkReuse.",
    ),
    JOB_KEY: (
        "Inputs as one object",
        {"type": ["object", "null"]},
        "A CWL input object (the contents of a job file). Its values take precedence over those of the fields above.",
    ),
}
"""title, schema and description of the keys that are no inputs"""


def required_inputs(graph: WorkflowGraph, settings: CwlObject) -> list[str]:
    """Names of the inputs that a run must have."""
    return [
        port.name
        for port in graph.inputs
        if not port.has_default and settings.get(port.name) is None and not _optional(port.type)
    ]


def _param(port: Port, settings: CwlObject) -> Param:
    schema = schema_of(port.type)
    default = _as_param_value(settings.get(port.name, port.default), schema)
    template = holds_template(settings.get(port.name))
    # `null` is always allowed, even for required inputs: they may be in conf's `job` (as in CWL-Airflow), and the
    # first task reports which one is missing
    if "type" in schema:
        schema["type"] = [*(kind for kind in _types_in(schema) if kind != "null"), "null"]
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    required = not port.has_default and settings.get(port.name) is None and not _optional(port.type)
    remark = "(required)" if required else ""
    if template:
        remark = f"Left empty: `{default if isinstance(default, str) else json.dumps(default)}`, rendered for the run."
        default = None
    text = "\n\n".join(part for part in (port.doc, remark) if part)
    return Param(default, description=text or None, schema={"title": port.label or port.name, **schema})


def _param_of_task(port: Port, source: str) -> Param:
    """The Param of an input whose value is what a task returns."""
    param = _param(replace(port, has_default=True, default=None), {})
    remark = f"Left empty: what {source} returns."
    param.description = "\n\n".join(part for part in (port.doc, remark) if part)
    return param


def _as_param_value(value: JsonValue, schema: dict[str, Any]) -> JsonValue:
    """A File or Directory with only a location is shown as that string."""
    kinds = schema.get("type")
    if isinstance(kinds, list) and "string" in kinds and isinstance(value, dict):
        if set(value) <= {"class", "location"} and isinstance(value.get("location"), str):
            return value["location"]
        if set(value) <= {"class", "path"} and isinstance(value.get("path"), str):
            return value["path"]
    return value


def given_value(kind: JsonValue, value: JsonValue) -> JsonValue:
    """The CWL value of an input from what a run or a task gives; see :func:`from_param`.

    A path that begins with ``~/`` is in the home of the user who runs this process: a worker's, in a task.
    """
    return map_files(_in_home, from_param(kind, value))


def _in_home(file: CwlObject) -> CwlObject:
    path = file.get("path")
    if isinstance(path, str) and (path == "~" or path.startswith("~/")):
        file["path"] = os.path.expanduser(path)
    return file


def from_param(kind: JsonValue, value: JsonValue) -> JsonValue:
    """The CWL value from a form, conf or REST call: for a File or Directory a string is its location or path."""
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
    """JSON schema of a CWL type; the first member of ``type`` determines the form's widget."""
    if isinstance(kind, list):
        return _schema_of_union(kind)
    if isinstance(kind, str):
        return _schema_of_name(kind)
    if kind["type"] == "enum":
        symbols = [symbol.rsplit("#", 1)[-1].rsplit("/", 1)[-1] for symbol in kind["symbols"]]
        return {"type": "string", "enum": symbols}
    if kind["type"] == "array":
        items = schema_of(kind["items"])
        return {"type": "array", "items": items} if items else {"type": "array"}
    if kind["type"] == "record":
        return {"type": "object"}
    return schema_of(kind["type"])


def _schema_of_name(name: str) -> dict[str, Any]:
    if name in _SIMPLE:
        return {"type": _SIMPLE[name]}
    if name in ("File", "Directory"):
        return {"type": ["string", "object"]}
    return {}


def _schema_of_union(union: list[JsonValue]) -> dict[str, Any]:
    """For an optional type its schema with null; for several types all of theirs, or nothing if one is unknown."""
    members = [member for member in union if member != "null"]
    if len(members) == 1:
        schema = schema_of(members[0])
        if "type" in schema:
            schema["type"] = [*_types_in(schema), "null"]
        return schema
    types: list[str] = []
    for member in members:
        schema = schema_of(member)
        if "type" not in schema:
            return {}
        types += _types_in(schema)
    if not types:
        return {}
    if "null" in union:
        types.append("null")
    return {"type": list(dict.fromkeys(types))}


def _types_in(schema: dict[str, Any]) -> list[str]:
    types = schema["type"]
    return [types] if isinstance(types, str) else list(types)
