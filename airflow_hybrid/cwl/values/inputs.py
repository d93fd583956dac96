# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Values between steps: linkMerge, pickValue and defaults.

Whatever needs no CWL semantics is plain Python; cwltool is imported only if a port merges or picks.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from airflow_hybrid.cwl.documents.default_files import check_used
from airflow_hybrid.cwl.names import NAMESPACES
from airflow_hybrid.cwl.values.file_values import with_size
from airflow_hybrid.errors import CwlError
from airflow_hybrid.model import (
    CwlObject,
    JsonValue,
    Source,
    Step,
    StepInput,
    WorkflowGraph,
    WorkflowOutput,
)


def resolve_step_inputs(
    step: Step, values: Mapping[Source, JsonValue], document: JsonValue = None
) -> dict[str, JsonValue]:
    """The step's input ports from its sources: linkMerge, pickValue, then default (CWL v1.2 Workflow 4.1.5).

    ``valueFrom``, ``when`` and scatter come later, in the step's fragment.

    :param values: by source; a missing source counts as null (a skipped step delivers nulls).
    :raises CwlError: pickValue finds no value, or more than one.
    """
    return {port.name: _linked(port, values, step.path) for port in step.inputs}


def resolve_outputs(
    graph: WorkflowGraph, values: Mapping[Source, JsonValue], only: Collection[str] | None = None
) -> CwlObject:
    """The workflow's outputs (or ``only`` some of them) from their sources: linkMerge and pickValue."""
    return {port.name: _linked(port, values, graph.path) for port in graph.outputs if only is None or port.name in only}


def scope_inputs(graph: WorkflowGraph, values: Mapping[str, JsonValue]) -> CwlObject:
    """The inputs for the steps of a (sub-)workflow: the given values, with defaults for null ones."""
    return {
        port.name: with_size(copy.deepcopy(port.default))
        if values.get(port.name) is None and port.has_default
        else values.get(port.name)
        for port in graph.inputs
    }


def _linked(port: StepInput | WorkflowOutput, values: Mapping[Source, JsonValue], scope: str) -> JsonValue:
    document = port.document or {}
    if len(port.sources) <= 1 and not document.keys() & {"linkMerge", "pickValue"}:
        value = values.get(port.sources[0]) if port.sources else None
        if value is not None or "default" not in document:
            return value
        check_used(document["default"])
        return with_size(copy.deepcopy(document["default"]))
    # late: cwltool is slow to import, and most ports do not need it
    from cwltool.errors import WorkflowException
    from cwltool.utils import WorkflowStateItem
    from cwltool.workflow_job import object_from_state

    keys = [f"{source.step or ''}#{source.port}" for source in port.sources]
    parameter: Any = {**document, "id": port.name, "type": "Any", "source": keys}
    state: Any = {
        key: WorkflowStateItem({"type": "Any"}, values.get(source), "success")
        for key, source in zip(keys, port.sources, strict=True)
    }
    try:
        merged = object_from_state(state, [parameter], True, True, "source")
    except WorkflowException as error:
        raise CwlError(str(error), where=f"{scope.rstrip('/')}/{port.name}") from error
    value = (merged or {}).get(port.name)
    check_used(value)
    return value


def namespaces_of(graph: WorkflowGraph) -> Mapping[str, str]:
    """The prefixes of the document's ``$namespaces``."""
    return next((item["prefixes"] for item in graph.requirements or [] if item["class"] == NAMESPACES), {})
