# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A workflow as text for Mermaid and Graphviz. Names come from documents, so they are escaped. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_hybrid.cli.preview.flows import flows
from airflow_hybrid.cli.preview.workflows import Shown
from airflow_hybrid.dag.shown import colour_of, where_it_runs
from airflow_hybrid.model import Step
from airflow_hybrid.printable import printable, shortened

_LONGEST = 80
_MERMAID_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-./,:[]")


@dataclass(frozen=True)
class _Node:
    """:ivar key: a plain name in the text; ``place``: where it runs; ``colour``: of that."""

    key: str
    label: str
    place: str
    colour: str


@dataclass(frozen=True)
class _Drawing:
    nodes: tuple[_Node, ...]
    edges: tuple[tuple[str, str, str], ...]

    def groups(self) -> dict[str, list[_Node]]:
        """Nodes by the place where they run."""
        groups: dict[str, list[_Node]] = {}
        for node in self.nodes:
            groups.setdefault(node.place, []).append(node)
        return groups


def mermaid(workflow: Shown) -> str:
    """A flowchart of Mermaid."""
    drawing = _drawing(workflow)
    lines = ["flowchart TD"]
    for number, (place, nodes) in enumerate(drawing.groups().items()):
        lines.append(f'  subgraph at{number}["{_mermaid(place)}"]')
        lines += [f'    {node.key}["{_mermaid(node.label)}"]' for node in nodes]
        lines.append("  end")
    lines += [f'  {source} -- "{_mermaid(port)}" --> {target}' for source, target, port in drawing.edges]
    lines += [f"  style {node.key} fill:{node.colour},color:#111" for node in drawing.nodes]
    return "\n".join(lines) + "\n"


def dot(workflow: Shown) -> str:
    """A digraph of Graphviz."""
    drawing = _drawing(workflow)
    lines = [f"digraph {_dot(workflow.name)} {{", "  node [shape=box, style=filled];"]
    for number, (place, nodes) in enumerate(drawing.groups().items()):
        lines += [f"  subgraph cluster_{number} {{", f"    label={_dot(place)};"]
        lines += [f'    {node.key} [label={_dot(node.label)}, fillcolor="{node.colour}"];' for node in nodes]
        lines.append("  }")
    lines += [f"  {source} -> {target} [label={_dot(port)}];" for source, target, port in drawing.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _drawing(workflow: Shown) -> _Drawing:
    steps = [step for step in workflow.graph.walk() if step.workflow is None]
    keys = {step.path: f"s{number}" for number, step in enumerate(steps)}
    nodes = [_node(workflow, step, keys[step.path]) for step in steps]
    between = [flow for flow in flows(workflow.graph) if flow.source]
    edges = dict.fromkeys((keys[flow.source], keys[flow.target], flow.port) for flow in between)
    return _Drawing(tuple(nodes), tuple(edges))


def _node(workflow: Shown, step: Step, key: str) -> _Node:
    bound = [(target.deployment, target.service) for target in workflow.places(step)]
    marks = [f"scatter {', '.join(step.scatter)}"] if step.scatter else []
    marks += [word for word in ("when", "loop") if getattr(step, word)]
    label = step.path + (f" ({'; '.join(marks)})" if marks else "")
    return _Node(key, label, where_it_runs(bound), colour_of(bound))


def _mermaid(text: str) -> str:
    """Text in quotes: everything that is not plain becomes an entity."""
    short = shortened(printable(text), _LONGEST)
    return "".join(sign if sign in _MERMAID_PLAIN else f"#{ord(sign)};" for sign in short)


def _dot(text: str) -> str:
    """A quoted string of DOT; a backslash would begin one of its escapes."""
    short = shortened(printable(text), _LONGEST).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{short}"'
