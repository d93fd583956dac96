# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Check a run's inputs against the workflow's types."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from pathlib import Path

from airflow_hybrid.cwl.documents.default_files import check_used
from airflow_hybrid.cwl.values.input_files import InputFiles, in_one_message, located_files, measure
from airflow_hybrid.cwl.values.inputs import namespaces_of
from airflow_hybrid.errors import InputError
from airflow_hybrid.model import CwlObject, JsonValue, WorkflowGraph, not_json, percent_decoded


def validate_inputs(
    graph: WorkflowGraph, inputs: Mapping[str, JsonValue], base_uri: str, *, checksum: bool = True
) -> CwlObject:
    """Make a complete input object from a run's values (``conf``, Params, a settings file).

    Defaults are filled in; relative paths and locations are resolved against ``base_uri`` (a directory's or file's
    URI, or a directory's path); local Files get basename, size, checksum and the secondary files that the workflow
    asks for. Files elsewhere (``http:``, ``hybrid:`` ...) are unchanged.

    :raises InputError: unknown, missing or wrongly typed inputs, and missing local files, all in one message.
    """
    # late: it imports cwltool, which is not needed to read inputs only
    from airflow_hybrid.cwl.given.checks import check_order, type_problems

    base = base_uri if "://" in base_uri else Path(base_uri).absolute().as_uri() + "/"
    problems = _unknown_inputs(graph, inputs)
    values: CwlObject = {}
    for port in graph.inputs:
        value = inputs.get(port.name)
        if value is None and port.has_default:
            value = port.default
        check_used(value)
        if problem := not_json(value):
            problems.append(InputError(f"input {port.name!r} holds {problem}"))
        else:
            values[port.name] = copy.deepcopy(value)
    order, wrong_files = located_files(values, base, namespaces_of(graph))
    problems += [*wrong_files, *type_problems(graph, order)]
    if problems:
        raise in_one_message(problems)
    order = check_order(graph, order)
    for name, value in order.items():
        measure(value, name, checksum)
    return order


def named_files(graph: WorkflowGraph, inputs: Mapping[str, JsonValue], base_uri: str) -> list[JsonValue]:
    """A run's inputs with the locations from :func:`validate_inputs`, without checking that the files exist."""
    base = base_uri if "://" in base_uri else Path(base_uri).absolute().as_uri() + "/"
    names = [port.name for port in graph.inputs if port.name in inputs]
    return [InputFiles(name, base, {}, look=False).located(copy.deepcopy(inputs[name])) for name in names]


def _unknown_inputs(graph: WorkflowGraph, inputs: Mapping[str, JsonValue]) -> list[InputError]:
    names = [port.name for port in graph.inputs]
    problems = []
    for name in inputs:
        if name.partition(":")[0] in ("cwl", "cwltool") or name.startswith("https://w3id.org/cwl/"):
            message = f"{name!r} among a run's inputs is not supported: a DAG is compiled before its runs"
            hint = "use `cwl:requirements`, or put the requirement into the CWL document"
            problems.append(InputError(message, hint=hint))
        elif name not in names:
            near = difflib.get_close_matches(name, names, 1)
            known = f"did you mean {near[0]!r}?" if near else f"the inputs are: {', '.join(names) or 'none'}"
            where = percent_decoded(graph.source) or None
            problems.append(InputError(f"unknown input {name!r}", where=where, hint=known))
    return problems
