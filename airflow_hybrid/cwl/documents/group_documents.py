# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The document of a task: that of its step, or put together of those of several steps that share the task.

Pure JSON: a task is started without cwltool as long as it does not run jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_hybrid.cwl.documents import cache
from airflow_hybrid.cwl.names import CWL_VERSION, FORMATS
from airflow_hybrid.model import JsonValue, Source, Step, StepInput, WorkflowGraph

_ANY = ["null", "Any"]


def document_of(step: Step) -> JsonValue:
    """The document that a step's task runs.

    :raises CwlError: it is not (or no longer) in the cache.
    """
    if step.document:
        return cache.read_document(step.document)
    assert step.workflow is not None
    return group_document(step.workflow, [cache.read_document(inner.document) for inner in step.workflow.steps])


def group_document(graph: WorkflowGraph, documents: Sequence[JsonValue]) -> JsonValue:
    """A workflow of the steps of a group, linked as in the workflow that they are in.

    :param graph: of the group: its ports, and its steps with sources among these.
    :param documents: of the steps, from the cache. Each has the requirements of the workflow that they are in.
    """
    first = documents[0]
    document = {
        "class": "Workflow",
        "id": "#main",
        "label": graph.path,
        "inputs": [{"id": _input(port.name), "type": _ANY} for port in graph.inputs],
        "outputs": [
            {"id": f"#main/out/{port.name}", "type": _ANY, "outputSource": _link(port.sources[0])}
            for port in graph.outputs
        ],
        "requirements": first["requirements"],
        "hints": first["hints"],
        "steps": [_linked(step, document) for step, document in zip(graph.steps, documents, strict=True)],
        CWL_VERSION: first[CWL_VERSION],
    }
    formats = next((each[FORMATS] for each in documents if FORMATS in each), None)
    return document if formats is None else {**document, FORMATS: formats}


def _input(name: str) -> str:
    # not below `#main/`, where the ids of steps and of their ports are
    return f"#group/{name}"


def _link(source: Source) -> str:
    if source.step is None:
        return _input(source.port)
    return f"#main/{source.step.rsplit('/', 1)[1]}/{source.port}"


def _linked(step: Step, document: JsonValue) -> JsonValue:
    """A step as its own document has it, but with its links to the steps and inputs of the group."""
    written: Mapping[str, Any] = document["steps"][0]
    ports = {port.name: port for port in step.inputs}
    return {**written, "in": [_entry(entry, ports[entry["id"].rsplit("/", 1)[1]]) for entry in written["in"]]}


def _entry(entry: Mapping[str, Any], port: StepInput) -> JsonValue:
    linked = {key: value for key, value in entry.items() if key != "source"}
    for key in ("linkMerge", "pickValue"):  # a step's own document gets values that are merged already
        if key in (port.document or {}):
            linked[key] = port.document[key]
    if port.sources:
        linked["source"] = [_link(source) for source in port.sources]
    return linked
