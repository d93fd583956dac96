# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What cwltool made of a document, read back: plain JSON, positions, and the order in which it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from cwltool.command_line_tool import ExpressionTool
from cwltool.process import Process
from cwltool.update import ORIGINAL_CWLVERSION
from cwltool.workflow import Workflow, WorkflowStep
from ruamel.yaml.scalarfloat import ScalarFloat

from airflow_hybrid.cwl import messages


def plain_json(value: Any) -> Any:
    """Plain JSON of what ruamel read. ``1.23e5`` is written without a fraction, as cwltool does."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, ScalarFloat):
        return int(value) if cast(Any, value)._exp and float(value).is_integer() else float(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    return value if isinstance(value, float) else str(value)


def text(value: Any) -> str:
    return "\n".join(str(line) for line in value) if isinstance(value, list) else str(value or "")


def original_version(process: Process) -> str:
    return str(process.metadata.get(ORIGINAL_CWLVERSION) or process.metadata.get("cwlVersion") or "v1.2")


def kind(process: Process) -> str:
    if isinstance(process, Workflow):
        return "workflow"
    return "expression" if isinstance(process, ExpressionTool) else "tool"


def position(item: Any) -> str:
    filename = getattr(getattr(item, "lc", None), "filename", None)
    if filename is None:
        return ""
    line, column = _line_and_column(item)
    return messages.position(str(filename), line + 1, column + 1)


def in_order(workflow: Workflow) -> Iterator[tuple[WorkflowStep, Mapping[str, Any]]]:
    """Steps as the document lists them, with their own entries (cwltool shuffles its objects)."""
    steps = {step.id: step for step in workflow.steps}
    for raw in as_written(workflow.tool["steps"]):
        yield steps[raw["id"]], raw


def as_written(items: Any) -> list[Any]:
    """In the order of the document: schema-salad sorts what is written as a map."""
    return sorted(items, key=_line_and_column)


def _line_and_column(item: Any) -> tuple[int, int]:
    """Where an object begins (from 0): at its key, where it is written as ``key: object``."""
    lc = getattr(item, "lc", None)
    named = (getattr(lc, "data", None) or {}).get("id")
    if named:
        return int(named[0]), int(named[1])
    return (getattr(lc, "line", None) or 0), (getattr(lc, "col", None) or 0)
