# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the steps of a workflow hand to each other, through the borders of sub-workflows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from airflow_hybrid.model import Source, Step, WorkflowGraph

_Ends = list[tuple[str, str]]
"""where a value comes from: paths of leaf steps (``""``: the workflow's inputs), each with the name of a port"""


@dataclass(frozen=True)
class Flow:
    """A value that a leaf step reads.

    :ivar source: path of the step that makes it; empty: it is an input of the workflow.
    :ivar port: name of that step's output, or of the input; ``target``: path of the step that reads it.
    """

    source: str
    port: str
    target: str


def flows(graph: WorkflowGraph) -> Iterator[Flow]:
    """All values that leaf steps read."""
    inputs = {port.name: [("", port.name)] for port in graph.inputs}
    for source, port, target in _edges(graph, inputs):
        yield Flow(source, port, target)


def _edges(graph: WorkflowGraph, inputs: Mapping[str, _Ends]) -> Iterator[tuple[str, str, str]]:
    """:param inputs: where the inputs of this (sub-)workflow come from."""
    made: dict[tuple[str, str], _Ends] = {}
    for step in graph.steps:
        ends = _inputs_of(step, inputs, made)
        if step.workflow is None:
            for port_ends in ends.values():
                for source, port in port_ends:
                    yield source, port, step.path
        else:
            yield from _edges(step.workflow, ends)
        made.update(_made_by(step, ends))


def _inputs_of(step: Step, inputs: Mapping[str, _Ends], made: Mapping[tuple[str, str], _Ends]) -> dict[str, _Ends]:
    return {port.name: [end for s in port.sources for end in _ends(s, inputs, made)] for port in step.inputs}


def _made_by(step: Step, inputs: Mapping[str, _Ends]) -> dict[tuple[str, str], _Ends]:
    """Where the outputs of a step come from."""
    if step.workflow is None:
        return {(step.path, name): [(step.path, name)] for name in step.outputs}
    inner: dict[tuple[str, str], _Ends] = {}
    for member in step.workflow.steps:
        inner.update(_made_by(member, _inputs_of(member, inputs, inner)))
    return {
        (step.path, output.name): [end for source in output.sources for end in _ends(source, inputs, inner)]
        for output in step.workflow.outputs
    }


def _ends(source: Source, inputs: Mapping[str, _Ends], made: Mapping[tuple[str, str], _Ends]) -> _Ends:
    if source.step is None:
        return inputs.get(source.port, [])
    return made.get((source.step, source.port), [])
