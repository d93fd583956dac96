# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where the steps of a workflow would run, how many jobs they have, what they ask for, and what would move."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow_hybrid.cli.preview.flows import Flow, flows
from airflow_hybrid.cli.preview.workflows import Shown
from airflow_hybrid.cwl.fragments.step_needs import StepNeeds, step_needs
from airflow_hybrid.model import LOCAL_DEPLOYMENT, AskedResources, FileRef, Step, Target, WorkflowGraph
from airflow_hybrid.model.walking import location_of, outermost_files
from airflow_hybrid.overviews.lineage import site_of


@dataclass(frozen=True)
class Move:
    """What would be moved for a step.

    :ivar what: an input of the workflow, or ``step/output``; ``source``, ``target``: names of deployments.
    :ivar route: ``copy`` (on this machine), ``direct``, ``relay`` (through this machine) or ``fetch`` (from the web).
    :ivar bytes: None: nobody knows yet.
    """

    what: str
    source: str
    target: str
    route: str
    bytes: int | None


@dataclass(frozen=True)
class PlannedStep:
    """A step as it would run.

    :ivar places: where its jobs may run; ``may_be_skipped``: it has a ``when``, or is in a sub-workflow that has one.
    :ivar jobs: None: the inputs do not tell. ``cores`` and ``memory_mib`` of one: None: it asks for none, or an
        expression says.
    :ivar core_hours: asked for by all jobs, if each takes as long as its time limit allows; None: it has none.
    """

    step: str
    kind: str
    places: tuple[str, ...]
    jobs: int | None
    may_be_skipped: bool
    cores: float | None
    memory_mib: float | None
    time_limit_s: float | None
    core_hours: float | None
    moves: tuple[Move, ...]

    def to_json(self) -> Mapping[str, Any]:
        value = asdict(self)
        return {**value, "places": list(self.places), "moves": [asdict(move) for move in self.moves]}


def planned(workflow: Shown, inputs: Mapping[str, Any]) -> list[PlannedStep]:
    """The leaf steps of a workflow in their order.

    :param inputs: of the run: the workflow's inputs file, and what the run would be given.
    """
    needs = {need.path: need for need in step_needs(workflow.graph)}
    defaults = {port.name: port.default for port in workflow.graph.inputs if port.has_default}
    known = {**defaults, **{name: value for name, value in inputs.items() if value is not None}}
    counts = dict(_counts(workflow.graph, known, 1, skipped=False))
    read = list(flows(workflow.graph))
    result = []
    for step in workflow.graph.walk():
        if step.workflow is None:
            jobs, skipped = counts[step.path]
            moves = _moves(workflow, step, [flow for flow in read if flow.target == step.path], known)
            result.append(_planned(workflow, step, (jobs, skipped), needs.get(step.path), tuple(moves)))
    return result


def _planned(
    workflow: Shown, step: Step, count: tuple[int | None, bool], needs: StepNeeds | None, moves: tuple[Move, ...]
) -> PlannedStep:
    jobs, skipped = count
    if step.kind != "tool":
        jobs = 0
    asked = workflow.asked(step) if needs is not None else AskedResources()
    if needs is not None:
        asked = asked.or_else(AskedResources(needs.cores, _whole(needs.ram_mib), _whole(needs.time_limit_s)))
    core_hours = None
    if jobs is not None and asked.walltime_s:
        core_hours = round(jobs * (asked.cores or 1) * asked.walltime_s / 3600, 3)
    return PlannedStep(
        step=step.path,
        kind=step.kind,
        places=tuple(_title(target) for target in workflow.places(step)),
        jobs=jobs,
        may_be_skipped=skipped,
        cores=asked.cores,
        memory_mib=asked.ram_mib,
        time_limit_s=asked.walltime_s,
        core_hours=core_hours,
        moves=moves,
    )


def _whole(number: float | None) -> int | None:
    return None if number is None else math.ceil(number)


def _title(target: Target) -> str:
    return f"{target.deployment}/{target.service}" if target.service else target.deployment


# --- numbers of jobs --------------------------------------------------------------------------------------------


def _counts(
    graph: WorkflowGraph, known: Mapping[str, Any], times: int | None, *, skipped: bool
) -> Iterator[tuple[str, tuple[int | None, bool]]]:
    """The number of jobs of each leaf step, and whether some may be skipped.

    :param known: values of the inputs of this (sub-)workflow; ``times``: how often it runs.
    """
    for step in graph.steps:
        values = {
            port.name: known[port.sources[0].port]
            for port in step.inputs
            if port.plain and port.sources and port.sources[0].step is None and port.sources[0].port in known
        }
        count = _times(times, _length(step, values))
        may_skip = skipped or step.when
        if step.workflow is None:
            yield step.path, (count, may_skip)
            continue
        inner = {name: value for name, value in values.items() if name not in step.scatter}
        yield from _counts(step.workflow, inner, count, skipped=may_skip)


def _length(step: Step, values: Mapping[str, Any]) -> int | None:
    """How many jobs, or instances, a step has for one set of inputs."""
    if step.loop:
        return None
    lengths = []
    for name in step.scatter:
        value = values.get(name)
        if not isinstance(value, list):
            return None
        lengths.append(len(value))
    if step.dimensions == 1:
        return lengths[0] if lengths else 1
    total: int | None = 1
    for length in lengths:
        total = _times(total, length)
    return total


def _times(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one * other


# --- what would move --------------------------------------------------------------------------------------------


def _moves(workflow: Shown, step: Step, read: Sequence[Flow], known: Mapping[str, Any]) -> Iterator[Move]:
    """What would be moved to the first place of a step."""
    target = workflow.storage(workflow.places(step)[0].deployment)
    if step.kind != "tool":
        return
    for flow in dict.fromkeys(read):
        if not flow.source:
            yield from _moves_of_input(workflow, flow.port, known.get(flow.port), target)
            continue
        maker = next(other for other in workflow.graph.walk() if other.path == flow.source)
        source = workflow.storage(workflow.places(maker)[0].deployment)
        if source != target:
            yield Move(f"{flow.source}/{flow.port}", source, target, _route(workflow, source, target), None)


def _moves_of_input(workflow: Shown, port: str, value: Any, target: str) -> Iterator[Move]:
    sizes: dict[str, list[int | None]] = {}
    for item in outermost_files(value):
        location = location_of(item)
        if not isinstance(location, str):
            continue
        source = site_of(location)
        if source not in ("", target):
            sizes.setdefault(source, []).append(_size(location))
    for source, found in sizes.items():
        total = None if None in found else sum(size or 0 for size in found)
        yield Move(port, source, target, _route(workflow, source, target), total)


def _size(location: str) -> int | None:
    """The size of a file of this machine."""
    try:
        ref = FileRef.of(location)
    except ValueError:
        return None
    if ref is None or ref.deployment != LOCAL_DEPLOYMENT or not os.path.isfile(ref.path):
        return None
    return os.path.getsize(ref.path)


def _route(workflow: Shown, source: str, target: str) -> str:
    if "://" in source:
        return "fetch" if source.startswith("http") else "relay"
    if workflow.is_here(source) and workflow.is_here(target):
        return "copy"
    ends = {(workflow.storage(link.source), workflow.storage(link.target)) for link in workflow.links}
    return "direct" if (source, target) in ends or (target, source) in ends else "relay"
