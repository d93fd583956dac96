# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A workflow as a graph in the languages of Mermaid and Graphviz. Labels come from documents, so all are escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_hybrid.config import Bindings, bind
from airflow_hybrid.dag.shown import colour_of, where_it_runs
from airflow_hybrid.model import Binding, Source, Step, WorkflowGraph
from airflow_hybrid.printable import printable, shortened

_LONGEST = 60
_INPUTS, _OUTPUTS = "inputs", "outputs"


@dataclass(frozen=True)
class Node:
    """A step in a picture.

    :ivar inside: paths of the sub-workflows that it is in, outermost first.
    :ivar where: its targets in words; empty: it is a sub-workflow, or not a step.
    """

    path: str
    lines: tuple[str, ...]
    inside: tuple[str, ...] = ()
    where: str = ""
    colour: str = "#ffffff"


@dataclass(frozen=True)
class Drawing:
    """What a picture has.

    :ivar frames: sub-workflows: path and title, outermost first.
    :ivar edges: paths of the step that makes something and of the one that reads it; ``inputs`` and ``outputs`` are
        those of the workflow.
    """

    nodes: tuple[Node, ...]
    frames: tuple[tuple[str, str], ...]
    edges: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, graph: WorkflowGraph, bindings: tuple[Binding, ...]) -> Drawing:
        """The drawing of a compiled workflow."""
        nodes = list(_nodes(graph, Bindings(bindings), ()))
        frames = [(step.path, _title(step)) for step in graph.walk() if step.workflow is not None]
        edges = dict.fromkeys(_edges(graph, _makers(graph)))
        used = {end for edge in edges for end in edge}
        around = [Node(name, (name,)) for name in (_INPUTS, _OUTPUTS) if name in used]
        return cls((*around, *nodes), tuple(frames), tuple(edges))


def _nodes(graph: WorkflowGraph, bindings: Bindings, inside: tuple[str, ...]) -> Iterator[Node]:
    for step in graph.steps:
        if step.workflow is not None:
            yield from _nodes(step.workflow, bindings, (*inside, step.path))
            continue
        bound = {(target.deployment, target.service) for target in bind(bindings, step.path).targets}
        where = where_it_runs(bound)
        yield Node(step.path, (_title(step), where), inside, where, colour_of(bound))


def _title(step: Step) -> str:
    """``train (for each fold)``."""
    marks = [f"for each {', '.join(step.scatter)}"] if step.scatter else []
    marks += [word for word, is_so in (("when", step.when), ("loop", step.loop)) if is_so]
    name = f"{step.name} ({'; '.join(marks)})" if marks else step.name
    return shortened(printable(name), _LONGEST)


Makers = dict[tuple[str, str], tuple[str, ...]]
"""path of a sub-workflow and name of an output -> paths of the leaf steps that make it"""


def _makers(graph: WorkflowGraph) -> Makers:
    makers: Makers = {}
    for step in reversed(graph.walk()):
        if step.workflow is None:
            continue
        for output in step.workflow.outputs:
            made = [path for source in output.sources for path in _from(source, makers, step.workflow, ())]
            makers[step.path, output.name] = tuple(dict.fromkeys(made))
    return makers


def _from(source: Source, makers: Makers, graph: WorkflowGraph, of_input: tuple[str, ...]) -> tuple[str, ...]:
    """The leaf steps whose output a source is."""
    if source.step is None:
        return of_input
    step = next((step for step in graph.steps if step.path == source.step), None)
    if step is not None and step.workflow is not None:
        return makers.get((step.path, source.port), ())
    return (source.step,)


def _edges(graph: WorkflowGraph, makers: Makers) -> Iterator[tuple[str, str]]:
    yield from _edges_in(graph, makers, {port.name: (_INPUTS,) for port in graph.inputs})
    for output in graph.outputs:
        for source in output.sources:
            for maker in _from(source, makers, graph, (_INPUTS,)):
                yield maker, _OUTPUTS


def _edges_in(graph: WorkflowGraph, makers: Makers, of_inputs: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for step in graph.steps:
        read: dict[str, tuple[str, ...]] = {}
        for port in step.inputs:
            made = [p for s in port.sources for p in _from(s, makers, graph, of_inputs.get(s.port, ()))]
            read[port.name] = tuple(dict.fromkeys(made))
        if step.workflow is not None:
            yield from _edges_in(step.workflow, makers, read)
            continue
        for maker in dict.fromkeys(maker for makers_of_port in read.values() for maker in makers_of_port):
            yield maker, step.path


# --- Mermaid ----------------------------------------------------------------------------------------------------


def mermaid(drawing: Drawing) -> str:
    """The drawing in the language of Mermaid (flowchart)."""
    ids = {node.path: f"n{number}" for number, node in enumerate(drawing.nodes)}
    lines = ["flowchart TD", *_mermaid_level(drawing, ids, ())]
    lines += [f"  {ids[made]} --> {ids[read]}" for made, read in drawing.edges if made in ids and read in ids]
    lines += [f"  style {ids[node.path]} fill:{node.colour},color:#000000" for node in drawing.nodes if node.where]
    return "\n".join(lines) + "\n"


def _mermaid_level(drawing: Drawing, ids: dict[str, str], inside: tuple[str, ...]) -> Iterator[str]:
    indent = "  " * (len(inside) + 1)
    for node in drawing.nodes:
        if node.inside == inside:
            label = "<br>".join(_mermaid_text(line) for line in node.lines)
            yield f'{indent}{ids[node.path]}["{label}"]'
    for number, (path, title) in enumerate(drawing.frames):
        if path.rpartition("/")[0] == (inside[-1] if inside else ""):
            yield f'{indent}subgraph f{number} ["{_mermaid_text(title)}"]'
            yield from _mermaid_level(drawing, ids, (*inside, path))
            yield f"{indent}end"


def _mermaid_text(text: str) -> str:
    """Everything but letters, digits and a few marks as Mermaid's character codes: labels may hold HTML."""
    return re.sub(r"[^\w ./,:;()+=-]", lambda match: f"#{ord(match[0])};", text)


# --- DOT --------------------------------------------------------------------------------------------------------


def dot(drawing: Drawing) -> str:
    """The drawing in the language of Graphviz."""
    ids = {node.path: f"n{number}" for number, node in enumerate(drawing.nodes)}
    lines = ["digraph workflow {", '  node [shape=box, style="rounded,filled", fillcolor="#ffffff", fontname=sans];']
    lines += _dot_level(drawing, ids, ())
    lines += [f"  {ids[made]} -> {ids[read]};" for made, read in drawing.edges if made in ids and read in ids]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_level(drawing: Drawing, ids: dict[str, str], inside: tuple[str, ...]) -> Iterator[str]:
    indent = "  " * (len(inside) + 1)
    for node in drawing.nodes:
        if node.inside == inside:
            label = "\\n".join(_dot_text(line) for line in node.lines)
            yield f'{indent}{ids[node.path]} [label="{label}", fillcolor="{node.colour}"];'
    for number, (path, title) in enumerate(drawing.frames):
        if path.rpartition("/")[0] == (inside[-1] if inside else ""):
            yield f"{indent}subgraph cluster_{number} {{"
            yield f'{indent}  label="{_dot_text(title)}";'
            yield from _dot_level(drawing, ids, (*inside, path))
            yield f"{indent}}}"


def _dot_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
