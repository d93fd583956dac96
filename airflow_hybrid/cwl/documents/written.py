# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Check the parts of a document that cwltool checks only when they are used: JavaScript, and inputs' defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from cwl_utils import sandboxjs
from cwl_utils.errors import SubstitutionError
from cwl_utils.expression import scanner
from cwltool.process import Process, shortname
from cwltool.validate_js import get_expressions
from cwltool.workflow import Workflow
from schema_salad.sourceline import SourceLine
from schema_salad.validate import avro_type_name

from airflow_hybrid import settings
from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.documents.graph import readable
from airflow_hybrid.cwl.documents.resolved import position
from airflow_hybrid.cwl.javascript import node as javascript
from airflow_hybrid.cwl.type_names import describe
from airflow_hybrid.cwl.validation import is_valid
from airflow_hybrid.errors import CwlError, UnsupportedError
from airflow_hybrid.model.walking import files
from airflow_hybrid.printable import shortened

_JAVASCRIPT = "InlineJavascriptRequirement"
_SHOWN_CHARS = 200


def check_written(process: Process, owner: str) -> None:
    """Check the JavaScript and the defaults of a loaded document, and of everything that it runs.

    :param owner: the document whose JavaScript process is used.
    :raises CwlError: an expression is not JavaScript, or a default is not of its input's type; with its line.
    :raises UnsupportedError: there is JavaScript, but no Node.js.
    """
    parsed: dict[str, str | None] = {}
    with javascript.process_of(owner):
        for inner in _processes(process):
            _check_defaults(inner)
            requirement, _ = inner.get_requirement(_JAVASCRIPT)
            if requirement is not None:
                _check_library(requirement, parsed)
                _check_expressions(inner, parsed)


def _processes(process: Process) -> Iterator[Process]:
    """A process and everything that it runs, outermost first."""
    yield process
    if isinstance(process, Workflow):
        for step in process.steps:
            yield from _processes(step.embedded_tool)


# --- defaults -------------------------------------------------------------------------------------------------------


def _check_defaults(process: Process) -> None:
    """:raises CwlError: the default of an input is not of its type."""
    schema = cast(Any, process.names.get_name("input_record_schema", None))
    types = {field.name: field.type for field in schema.fields}
    for port in process.tool["inputs"]:
        name, default = shortname(port["id"]), port.get("default")
        has_files = next(files(default), None) is not None  # their locations are checked elsewhere
        if default is None or has_files or is_valid(types[name], default):
            continue
        where = position(port) or position(process.tool)
        wanted = describe(readable(port["type"], _definitions(process)))
        shown = shortened(json.dumps(default, default=str), _SHOWN_CHARS)
        raise CwlError(f"the default of input {name!r} must be {wanted}, not {shown}", where=where)


def _definitions(process: Process) -> dict[str, Any]:
    requirement: Any = process.get_requirement("SchemaDefRequirement")[0]
    return {definition["name"]: definition for definition in (requirement or {}).get("types", [])}


# --- JavaScript -----------------------------------------------------------------------------------------------------


def _check_library(requirement: Any, parsed: dict[str, str | None]) -> None:
    """:raises CwlError: an entry of an expression library is not JavaScript."""
    library = requirement.get("expressionLib") or []
    if _problem("\n".join(library), parsed) is None:
        return
    for index, code in enumerate(library):
        if problem := _problem(code, parsed):
            raise _not_javascript(problem, code, SourceLine(library, index), requirement)
    raise _not_javascript(str(_problem("\n".join(library), parsed)), library[0], None, requirement)


def _check_expressions(process: Process, parsed: dict[str, str | None]) -> None:
    """:raises CwlError: an expression of a process is not JavaScript, or is not closed."""
    if process.doc_schema is None:
        return
    kind = process.tool["class"]
    vocabulary = process.doc_loader.vocab if process.doc_loader is not None else {}
    name = avro_type_name(vocabulary[kind]) if kind in vocabulary else kind
    expressions = get_expressions(process.tool, process.doc_schema.names[name])
    if isinstance(process, Workflow):
        expressions = [*expressions, *_of_steps(process)]
    for text, line in expressions:
        for fragment in _fragments(text, line, process):
            code = fragment[1:-1] if fragment.startswith("{") else f"return ({fragment});"
            if problem := _problem(code, parsed):
                raise _not_javascript(problem, f"${fragment}", line, process.tool)


def _of_steps(workflow: Workflow) -> Iterator[tuple[str, SourceLine]]:
    """The expressions of a workflow's steps, where cwltool does not find them once the steps are resolved."""
    for step in workflow.tool["steps"]:
        for part in (step, *step["in"], *step.get("loop", ())):
            for key in ("valueFrom", "when"):
                if isinstance(part.get(key), str):
                    yield part[key], SourceLine(part, key)


def _fragments(text: str, line: SourceLine | None, process: Process) -> Iterator[str]:
    """``(...)`` and ``{...}`` of the expressions in a text."""
    left = text.strip()
    try:
        while span := scanner(left):
            if left[span[0]] == "$":
                yield left[span[0] + 1 : span[1]]
            left = left[span[1] :]
    except SubstitutionError as error:
        where, message = _told(str(error), line, process.tool)
        raise CwlError(message, where=where) from error


def _problem(code: str, parsed: dict[str, str | None]) -> str | None:
    """Node.js's message about the body of a function, which is parsed but not run; None if it is JavaScript."""
    if code in parsed:
        return parsed[code]
    body = json.dumps(f'"use strict";\n{code}')
    engine = cast(javascript.NodeEngine, sandboxjs.get_js_engine())
    exit_code, _, complaint = engine.exec_js_process(
        f"typeof new Function({body})", settings.current().expression_timeout
    )
    if exit_code != 0:
        raise UnsupportedError(f"the document's JavaScript cannot be read: {complaint or 'Node.js did not answer'}")
    lead = "SyntaxError: "
    parsed[code] = complaint.removeprefix(lead) if complaint.startswith(lead) else None
    return parsed[code]


def _not_javascript(problem: str, code: str, line: SourceLine | None, around: Any) -> CwlError:
    where, _ = _told("", line, around)
    shown = shortened(" ".join(code.split()), _SHOWN_CHARS)
    return CwlError(
        f"this is not JavaScript: {problem}: {shown}",
        where=where,
        hint=f"quotes and brackets must match; {messages.IN_COMMENTS}",
    )


def _told(message: str, line: SourceLine | None, around: Any) -> tuple[str, str]:
    """-> position and plain message."""
    where, text = messages.plain(str(line.makeError(message or "-"))) if line is not None else (None, message)
    return where or position(around), text
