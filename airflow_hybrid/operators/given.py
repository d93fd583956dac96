# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A run's inputs before they are checked: Params, conf, and the DAG's own inputs."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_hybrid.cwl.given import job_requirements
from airflow_hybrid.errors import InputError
from airflow_hybrid.model import TOO_DEEP, CwlObject, WorkflowGraph, is_too_deep
from airflow_hybrid.params import JOB_KEY, OUTDIR_KEY, REUSE_KEY, given_value
from airflow_hybrid.printable import shortened

log = logging.getLogger(__name__)


def refuse_nested(conf: Mapping[str, Any]) -> None:
    """:raises InputError: a value of a run's conf is nested too deeply."""
    for key, value in conf.items():
        if is_too_deep(value):
            raise InputError(f"it holds {TOO_DEEP}", where=f"conf key {key!r}")


def brings_requirements(conf: Mapping[str, Any]) -> bool:
    """Whether the run, and not only the DAG's own inputs, has ``cwl:requirements``."""
    job = conf.get(JOB_KEY)
    sources = [conf, job] if isinstance(job, Mapping) else [conf]
    return any(source.get(key) for source in sources for key in job_requirements.KEYS)


def given_inputs(
    graph: WorkflowGraph,
    settings: CwlObject,
    params: Mapping[str, Any],
    conf: Mapping[str, Any],
    *,
    quiet: bool = False,
) -> CwlObject:
    """The inputs of a run before they are checked: settings < Params < conf < conf's ``job``.

    :param quiet: do not warn about values that are not inputs.

    :raises InputError: a conf key that is neither an input nor ``job``, ``outdir`` or ``reuse``.
    """
    names = [port.name for port in graph.inputs]
    own_keys = {JOB_KEY, OUTDIR_KEY, REUSE_KEY} - set(names)
    job = conf.get(JOB_KEY) if JOB_KEY in own_keys else None
    if job is not None and not isinstance(job, dict):
        raise InputError("must be an object of workflow inputs", where=f"conf key {JOB_KEY!r}")
    # null: a field of the form that was left empty
    if REUSE_KEY in own_keys and not isinstance(conf.get(REUSE_KEY), bool | None):
        raise InputError(
            f"must be true or false, not {shortened(json.dumps(conf[REUSE_KEY], default=str), 60)}",
            where=f"conf key {REUSE_KEY!r}",
            hint="true reuses outputs of the same jobs in other runs, false never does; without quotation marks",
        )
    unknown = [k for k in conf if k not in names and k not in own_keys and k not in job_requirements.KEYS]
    if unknown:
        unknown_keys = _with_nearest(unknown, [*names, *own_keys])
        raise InputError(
            f"unknown conf key{'s' if len(unknown) > 1 else ''}: {unknown_keys}",
            hint=f"the inputs of this workflow are: {', '.join(names) or 'none'}",
        )
    inputs = {key: value for key, value in settings.items() if key in names or key in job_requirements.KEYS}
    ignored = [k for k in {**settings, **(job or {})} if k not in names and k not in job_requirements.NO_INPUTS]
    if ignored and not quiet:
        # an input object may have more values than the document asks for (CWL v1.2 section "Input object")
        log.warning("the input object has values that are not inputs: %s", _with_nearest(ignored, names))
    for port in graph.inputs:
        name = port.name
        # a Param of None was left empty in the form, or has no default
        if params.get(name) is not None:
            inputs[name] = given_value(port.type, params[name])
        if name in conf:
            inputs[name] = given_value(port.type, conf[name])
        if job and name in job:
            inputs[name] = given_value(port.type, job[name])
    for source in (conf, job or {}):
        inputs.update({key: source[key] for key in job_requirements.KEYS if source.get(key) is not None})
    return inputs


def _with_nearest(unknown: Sequence[str], known: Sequence[str]) -> str:
    """Names in words, each with the most similar known one."""
    import difflib

    near = {k: difflib.get_close_matches(k, known, 1) for k in unknown}
    return ", ".join(repr(k) + (f" (did you mean {near[k][0]!r}?)" if near[k] else "") for k in unknown)
