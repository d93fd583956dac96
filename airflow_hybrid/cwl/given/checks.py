# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Check a run's inputs against the workflow's types, formats and secondary files, with readable messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from cwltool.builder import INPUT_OBJ_VOCAB
from cwltool.errors import WorkflowException
from cwltool.process import Process
from cwltool.stdfsaccess import StdFsAccess
from schema_salad.exceptions import ValidationException
from schema_salad.validate import validate_ex

from airflow_hybrid.cwl import messages
from airflow_hybrid.cwl.given.job_requirements import NO_INPUTS
from airflow_hybrid.cwl.jobs.context import HybridContext
from airflow_hybrid.cwl.jobs.runtime import load_process
from airflow_hybrid.cwl.names import FORMATS, NAMESPACES
from airflow_hybrid.cwl.type_names import describe
from airflow_hybrid.cwl.validation import is_valid
from airflow_hybrid.cwl.values.file_values import clean
from airflow_hybrid.cwl.values.input_files import in_one_message, located_files
from airflow_hybrid.cwl.values.inputs import namespaces_of
from airflow_hybrid.errors import InputError
from airflow_hybrid.model import CwlObject, JsonValue, Port, WorkflowGraph, percent_decoded
from airflow_hybrid.model.templates import holds_template, syntax_problem


def check_order(graph: WorkflowGraph, order: CwlObject) -> CwlObject:
    """Check formats and find the secondary files of local files.

    :param order: with values of the right types (:func:`type_problems`).
    :raises InputError: naming the input.
    """
    process = process_of(graph)
    context = HybridContext()
    context.make_fs_access = StdFsAccess
    context.toplevel = True
    with messages.caught():
        try:
            builder = process._init_job(order, context)
        except Exception as error:
            # cwltool may fail to format its message for a record's items, which have no name: the cause has the message
            known = error if isinstance(error, WorkflowException | ValidationException | OSError) else error.__context__
            raise InputError(messages.plain(str(known or error))[1]) from error
    return {
        port.name: clean(builder.job.get(port.name), contents=True, listing=port.loads_listing) for port in graph.inputs
    }


def check_settings(graph: WorkflowGraph, settings: CwlObject, where: str) -> list[str]:
    """Check the values of a settings file, which a run may add to or replace, against the workflow's inputs.

    Values with templates are checked when a run has rendered them.

    :param where: the file, for messages.
    :returns: names in it that are not inputs (runs ignore them).
    :raises InputError: values of the wrong type, and files that do not exist, all in one message.
    """
    names = [port.name for port in graph.inputs]
    prefixes = namespaces_of(graph)
    plain = {name: None if holds_template(settings.get(name)) else settings.get(name) for name in names}
    values, problems = located_files(plain, graph.source, prefixes)
    problems += template_problems(graph, settings)
    problems += type_problems(graph, {name: value for name, value in values.items() if value is not None})
    if problems:
        raise in_one_message(problems, where)
    return [name for name in settings if name not in names and name not in NO_INPUTS]


def template_problems(graph: WorkflowGraph, settings: CwlObject) -> list[InputError]:
    """One error for each input whose template Jinja cannot read."""
    found = [(port.name, syntax_problem(settings.get(port.name))) for port in graph.inputs]
    return [InputError(f"input {name!r}: {problem}") for name, problem in found if problem]


def process_of(graph: WorkflowGraph) -> Process:
    """A process of cwltool with the graph's inputs and nothing to run."""
    requirements = [item for item in graph.requirements or [] if item["class"] not in (FORMATS, NAMESPACES)]
    formats = [item["triples"] for item in graph.requirements or [] if item["class"] == FORMATS]
    document = {
        "class": "Workflow",
        "id": "#main",
        "inputs": [port.document for port in graph.inputs],
        "outputs": [],
        "steps": [],
        "requirements": requirements,
        FORMATS: formats[0] if formats else None,
    }
    return load_process(document)


def type_problems(graph: WorkflowGraph, order: Mapping[str, JsonValue]) -> list[InputError]:
    """One error for each value in ``order`` of the wrong type."""
    schema = cast(Any, process_of(graph).names.get_name("input_record_schema", None))
    fields = {field.name: field.type for field in schema.fields}
    ports = [port for port in graph.inputs if port.name in order]
    wrong = [port for port in ports if not is_valid(fields[port.name], order[port.name])]
    return [_type_problem(port, fields[port.name], order[port.name]) for port in wrong]


def _type_problem(port: Port, schema: Any, value: JsonValue) -> InputError:
    expected = describe(port.type)
    if value is None:
        return InputError(f"input {port.name!r} is missing (type {expected}, no default)")
    if isinstance(value, dict) and value.get("class") == expected:
        return InputError(f"input {port.name!r}: {_problem(schema, value)}")
    return InputError(f"input {port.name!r} must be {expected}, not {_shown(value)}")


def _problem(schema: Any, value: JsonValue) -> str:
    """The problem with a value that is a File or Directory."""
    try:
        validate_ex(schema, value, strict=False, vocab=INPUT_OBJ_VOCAB)
    except ValidationException as error:
        return messages.plain(str(error))[1]
    return f"this is not a valid {value['class']}"


def _shown(value: JsonValue) -> str:
    if isinstance(value, dict) and value.get("class") in ("File", "Directory"):
        return f"the {value['class']} {percent_decoded(value.get('location', 'literal'))}"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
