# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Values between steps: linking, scatter shapes, and a run's inputs against the workflow's types.

What needs no CWL semantics is plain Python; cwltool is imported only where a port merges or picks, and to
validate a run's inputs.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import itertools
import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_hybrid.cwl.default_files import check_used
from airflow_hybrid.cwl.input_files import InputFiles, in_one_message, located_files, measure
from airflow_hybrid.errors import CwlError, InputError
from airflow_hybrid.model import (
    CwlObject,
    JsonValue,
    Source,
    Step,
    StepInput,
    WorkflowGraph,
    WorkflowOutput,
    not_json,
    percent_decoded,
)
from airflow_hybrid.model.locations import local_path

NAMESPACES = "airflow_hybrid:namespaces"
"""Class of a pseudo requirement of a graph: the document's ``$namespaces``, for the formats of a run's files."""


# --- between steps --------------------------------------------------------------------------------------------------


def resolve_step_inputs(
    step: Step, values: Mapping[Source, JsonValue], document: JsonValue = None
) -> dict[str, JsonValue]:
    """The step's input ports from its sources: linkMerge, pickValue, then default (CWL v1.2 Workflow 4.1.5).

    ``valueFrom``, ``when`` and scatter come later, in the step's fragment.

    :param values: by source; a source that is missing counts as null (a skipped step delivers nulls).
    :raises CwlError: pickValue finds no value, or more than one.
    """
    return {port.name: _linked(port, values, step.path) for port in step.inputs}


def resolve_outputs(
    graph: WorkflowGraph, values: Mapping[Source, JsonValue], only: Collection[str] | None = None
) -> CwlObject:
    """The workflow's outputs (or ``only`` some of them) from their sources: linkMerge and pickValue."""
    return {port.name: _linked(port, values, graph.path) for port in graph.outputs if only is None or port.name in only}


def scope_inputs(graph: WorkflowGraph, given: Mapping[str, JsonValue]) -> CwlObject:
    """The inputs that the steps of a (sub-)workflow see: those given, null ones replaced by the port's default."""
    return {
        port.name: with_size(copy.deepcopy(port.default))
        if given.get(port.name) is None and port.has_default
        else given.get(port.name)
        for port in graph.inputs
    }


def with_size(value: JsonValue) -> JsonValue:
    """Add the size of local Files of a default, for expressions that ask for it."""
    if isinstance(value, list):
        for item in value:
            with_size(item)
    elif isinstance(value, dict):
        path = local_path(str(value.get("location", ""))) if value.get("class") == "File" else None
        if path is not None and "size" not in value:
            with contextlib.suppress(OSError):
                value["size"] = os.stat(path).st_size
        for item in value.values():
            with_size(item)
    return value


def _linked(port: StepInput | WorkflowOutput, values: Mapping[Source, JsonValue], scope: str) -> JsonValue:
    document = port.document or {}
    if len(port.sources) <= 1 and not document.keys() & {"linkMerge", "pickValue"}:
        value = values.get(port.sources[0]) if port.sources else None
        if value is not None or "default" not in document:
            return value
        check_used(document["default"])
        return with_size(copy.deepcopy(document["default"]))
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


# --- scatter --------------------------------------------------------------------------------------------------------


def scatter_dims(step: Step, inputs: Mapping[str, JsonValue]) -> tuple[int, ...]:
    """Sizes of the scatter: one per port for cross products, one in all for dotproduct; ``()`` without scatter.

    :raises InputError: a port is not a list, or lists of a dotproduct differ in length.
    """
    sizes = []
    for name in step.scatter:
        value = inputs.get(name)
        if not isinstance(value, list):
            raise InputError(
                f"step {step.path} scatters over {name}, which is {_kind(value)}, not an array", where=step.position
            )
        sizes.append(len(value))
    if not step.scatter or _crossed(step):
        return tuple(sizes)
    if len(set(sizes)) > 1:
        lengths = ", ".join(f"{name} has {size}" for name, size in zip(step.scatter, sizes, strict=True))
        raise InputError(
            f"step {step.path} scatters over arrays of different lengths (dotproduct): {lengths}", where=step.position
        )
    return (sizes[0],)


def slice_scatter(step: Step, inputs: Mapping[str, JsonValue], lo: int, hi: int) -> dict[str, JsonValue]:
    """The inputs of the jobs with flat indexes ``lo`` to ``hi`` (exclusive), last scatter port fastest.

    The scatter ports become arrays of equal length, whatever the scatter method: for ``Fragment.load(chunked=True)``.
    """
    dims = scatter_dims(step, inputs)
    sliced = dict(inputs)
    if not _crossed(step):
        for name in step.scatter:
            sliced[name] = inputs[name][lo:hi]
        return sliced
    stride = math.prod(dims)
    for name, size in zip(step.scatter, dims, strict=True):
        stride = stride // size if size else 0
        values = inputs[name]
        sliced[name] = [values[index // stride % size] for index in range(lo, min(hi, math.prod(dims)))]
    return sliced


def shape_outputs(step: Step, dims: Sequence[int], flat: Sequence[CwlObject]) -> CwlObject:
    """Job outputs in flat order -> output ports: arrays, nested for a nested cross product.

    :param flat: one object per job; a port that one lacks (a skipped job) is null.
    """
    if not step.scatter:
        return {port: flat[0].get(port) for port in step.outputs}
    if len(flat) != math.prod(dims):
        raise ValueError(f"{len(flat)} results for a scatter of {tuple(dims)}")
    nested = step.scatter_method == "nested_crossproduct" and len(dims) > 1
    return {
        port: _shaped(iter([item.get(port) for item in flat]), tuple(dims) if nested else (len(flat),))
        for port in step.outputs
    }


def _shaped(values: Any, dims: tuple[int, ...]) -> list[Any]:
    if len(dims) == 1:
        return list(itertools.islice(values, dims[0]))
    return [_shaped(values, dims[1:]) for _ in range(dims[0])]


def _crossed(step: Step) -> bool:
    return len(step.scatter) > 1 and (step.scatter_method or "").endswith("_crossproduct")


# --- a run's inputs -------------------------------------------------------------------------------------------------


def validate_inputs(
    graph: WorkflowGraph, given: Mapping[str, JsonValue], base_uri: str, *, checksum: bool = True
) -> CwlObject:
    """Make a complete input object of what a run was given (``conf``, Params, a settings file).

    Defaults are filled in; relative paths and locations are resolved against ``base_uri`` (a directory's or file's
    URI, or a directory's path); local Files get basename, size, checksum and the secondary files that the workflow
    asks for. Files elsewhere (``http:``, ``hybrid:`` ...) are left as they are.

    :raises InputError: unknown, missing or wrongly typed inputs, and local files that are not there, in one message.
    """
    from airflow_hybrid.cwl.checks import check_order, type_problems

    base = base_uri if "://" in base_uri else Path(base_uri).absolute().as_uri() + "/"
    problems = _unknown_inputs(graph, given)
    values: CwlObject = {}
    for port in graph.inputs:
        value = given.get(port.name)
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


def _unknown_inputs(graph: WorkflowGraph, given: Mapping[str, JsonValue]) -> list[InputError]:
    names = [port.name for port in graph.inputs]
    found = []
    for name in given:
        if name.partition(":")[0] in ("cwl", "cwltool") or name.startswith("https://w3id.org/cwl/"):
            message = f"{name!r} among a run's inputs is not supported: a DAG is compiled before its runs"
            hint = "`cwl:requirements` is; or put the requirement into the CWL document"
            found.append(InputError(message, hint=hint))
        elif name not in names:
            near = difflib.get_close_matches(name, names, 1)
            known = f"did you mean {near[0]!r}?" if near else f"the inputs are: {', '.join(names) or 'none'}"
            where = percent_decoded(graph.source) or None
            found.append(InputError(f"unknown input {name!r}", where=where, hint=known))
    return found


def named_files(graph: WorkflowGraph, given: Mapping[str, JsonValue], base_uri: str) -> list[JsonValue]:
    """What a run was given, with the locations that :func:`validate_inputs` makes of it; nothing is looked at."""
    base = base_uri if "://" in base_uri else Path(base_uri).absolute().as_uri() + "/"
    names = [port.name for port in graph.inputs if port.name in given]
    return [InputFiles(name, base, {}, look=False).located(copy.deepcopy(given[name])) for name in names]


def namespaces_of(graph: WorkflowGraph) -> Mapping[str, str]:
    """The prefixes of the document's ``$namespaces``."""
    return next((item["prefixes"] for item in graph.requirements or [] if item["class"] == NAMESPACES), {})


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return f"a {value['class']}" if value.get("class") in ("File", "Directory") else "a record"
    return {bool: "a boolean", int: "an int", float: "a float", str: "a string", list: "an array"}[type(value)]
