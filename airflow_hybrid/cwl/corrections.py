# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Corrections of errors in the cwltool release. Each one describes what would happen without it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import cwltool.builder
import cwltool.checker
import cwltool.pack
from cwltool.workflow_job import WorkflowJobLoopStep
from schema_salad.avro.schema import Names, make_avsc_object

_NAMED = ("enum", "record")
_GOES_ON = ("success", "skipped")


def install() -> None:
    """Correct cwltool's modules; :func:`airflow_hybrid.cwl.adapt.prepare` calls it once per process."""
    setattr(cwltool.builder, "make_avsc_object", _with_known_names(make_avsc_object))  # noqa: B010 - another's name
    setattr(cwltool.checker, "check_types", _on_a_copy(cwltool.checker.check_types))  # noqa: B010
    is_all = cwltool.checker.is_all_output_method_loop_step
    setattr(cwltool.checker, "is_all_output_method_loop_step", _once_per_output(is_all))  # noqa: B010
    ended = WorkflowJobLoopStep.loop_callback
    setattr(WorkflowJobLoopStep, "loop_callback", _ended_by_failure(ended))  # noqa: B010
    setattr(cwltool.pack, "import_embed", _import_processes_and_types)  # noqa: B010


def _with_known_names(schema_of: Callable[..., Any]) -> Callable[..., Any]:
    """An array or record in a union is parsed again for each value, including its enums and records, which are
    registered already: schema-salad then reports that the name is already in use.
    """

    def parsed(schema: Any, names: Names) -> Any:
        return schema_of(_by_name(schema, names), names)

    return parsed


def _by_name(schema: Any, names: Names) -> Any:
    """A schema in which known types are replaced by their names."""
    if isinstance(schema, Mapping):
        name = schema.get("name")
        if schema.get("type") in _NAMED and isinstance(name, str) and names.has_name(name, None):
            return name
        parts = {key: _by_name(schema[key], names) for key in ("type", "items", "fields") if key in schema}
        return {**schema, **parts}
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return [_by_name(item, names) for item in schema]
    return schema


def _on_a_copy(check: Callable[..., Any]) -> Callable[..., Any]:
    """The check of links with ``pickValue`` removes ``null`` from the source's own type, so that an input containing
    null is refused later.
    """

    def checked(source: Any, sink: Any, *methods: Any) -> Any:
        return check(copy.deepcopy(source), sink, *methods)

    return checked


def _once_per_output(is_all: Callable[[Any, str], bool]) -> Callable[[Any, str], bool]:
    """The static check wraps a loop's output in an array once per port that reads it, instead of only once."""

    def first(steps: dict[str, Any], output: str) -> bool:
        key = f"airflow_hybrid:array:{output}"
        if key in steps or not is_all(steps, output):
            return False
        steps[key] = {}
        return True

    return first


def _ended_by_failure(ended: Callable[..., None]) -> Callable[..., None]:
    """After a failed iteration, cwltool makes the inputs of the next one from missing outputs: a bare TypeError
    propagates through all callers waiting for the job. After a ``temporaryFail`` the loop would go on.
    """

    @functools.wraps(ended)
    def loop_callback(loop: WorkflowJobLoopStep, context: Any, outputs: Any, status: str) -> None:
        if status in _GOES_ON:
            ended(loop, context, outputs, status)
            return
        loop.iteration += 1
        loop._set_empty_output(loop.step.tool.get("outputMethod", "last_iteration"))
        loop.processStatus = "permanentFail"

    return loop_callback


def _import_processes_and_types(packed: Any, seen: set[str]) -> None:
    """``--pack`` replaces whatever has an id that something before it had by a reference to that: a step with the name
    of an output of its workflow is lost. It empties what it replaces, which may be the very object that it refers to.
    Here only what may be there twice is replaced, a process or a type, where it is there again.

    :param seen: ids, as in cwltool.
    """
    _import_repeated(packed, seen, {})


def _import_repeated(packed: Any, seen: set[str], visited: dict[int, Any]) -> None:
    """:param visited: objects by their identity: one may be in several places, and has its names only once."""
    if id(packed) in visited:
        return
    visited[id(packed)] = packed
    if isinstance(packed, MutableSequence):
        parts: list[tuple[Any, Any]] = list(enumerate(packed))
    elif isinstance(packed, MutableMapping):
        parts = sorted(packed.items())
    else:
        return
    for key, part in parts:
        name = _packed_name(part)
        if name is not None and name in seen:
            packed[key] = {"$import": name}
            continue
        if name is not None:
            seen.add(name)
        _import_repeated(part, seen, visited)


def _packed_name(value: Any) -> str | None:
    """The id of a process, or the name of a type; None: it is something else."""
    if not isinstance(value, Mapping):
        return None
    if "class" in value:
        name = value.get("id")
    elif value.get("type") in (*_NAMED, "array"):
        name = value.get("name")
    else:
        name = None
    return name if isinstance(name, str) else None
