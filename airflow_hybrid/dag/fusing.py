# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Steps that share a task: the graph that a DAG is built from is rewritten.

With ``fuse: chains``, steps that follow each other on the same target become one step, which is one task. Expressions
go along with the step that reads them, without being asked to (:mod:`airflow_hybrid.dag.folding`).

A group becomes a step without a document of its own: its ``workflow`` has the steps with their own paths and links;
:mod:`airflow_hybrid.cwl.documents.group_documents` puts the document together when the task runs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter

from airflow_hybrid.config import Deployment, bind
from airflow_hybrid.config.queues import queue_below
from airflow_hybrid.dag.folding import may_host, may_move, with_expressions
from airflow_hybrid.dag.grouping import groups
from airflow_hybrid.dag.task_ids import shortened
from airflow_hybrid.model import (
    CHAINS,
    Binding,
    Port,
    Source,
    Step,
    StepInput,
    WorkflowGraph,
    WorkflowOutput,
)

MOST_OF_NAME = 80
"""characters of a group's name: the names of its steps, joined by :data:`JOIN`; longer ones end with a digest"""
JOIN = "__"


@dataclass
class Fusing:
    """Rewrites the graphs of one DAG.

    :ivar fuse: the workflow's setting.
    """

    bindings: Sequence[Binding]
    deployments: Mapping[str, Deployment]
    fuse: bool | str | None = None
    _done: dict[str, WorkflowGraph] = field(default_factory=dict)
    """by path"""

    @property
    def is_wanted(self) -> bool:
        """Whether anybody asks for chains."""
        settings = {self.fuse}
        settings.update(binding.fuse for binding in self.bindings)
        settings.update(deployment.fuse for deployment in self.deployments.values())
        return CHAINS in settings

    def graph_of(
        self, graph: WorkflowGraph, *, in_chunk: bool = False, late: Collection[str] = frozenset()
    ) -> WorkflowGraph:
        """The graph with its groups, each one a step.

        :param in_chunk: its tasks are mapped, as those of a scattered sub-workflow.
        :param late: inputs of a sub-workflow whose values its tasks wait for one by one, see :func:`late_inputs`.
        """
        if graph.single:
            return graph
        if graph.path not in self._done:
            self._done[graph.path] = self._fused(graph, in_chunk, late)
        return self._done[graph.path]

    def _fused(self, graph: WorkflowGraph, in_chunk: bool, late: Collection[str]) -> WorkflowGraph:
        if not self.is_wanted and all(step.kind != "expression" for step in graph.steps):
            return graph
        steps = {step.path: step for step in graph.steps}
        found: list[list[str]] = []
        if self.is_wanted:
            found = self._chains(graph, steps, in_chunk, late)
        allowed = [step for step in graph.steps if self._wants(bind(self.bindings, step.path)) is not False]
        movable = {step.path: self._queues(step) for step in allowed if may_move(step, self.bindings)}
        hosts = {step.path: self._queues(step) for step in allowed if may_host(step, self.bindings, in_chunk)}
        hosts.update((paths[0], self._queues(_tool_of([steps[path] for path in paths]))) for paths in found)
        chains, alone = with_expressions(graph, found, movable, hosts)
        every = [_Members([steps[path] for path in paths]) for paths in chains]
        every += [_Members([steps[path] for path in paths], steps[host]) for host, paths in alone.items()]
        return _rewritten(graph, steps, every)

    def _queues(self, step: Step) -> Hashable:
        """The queues of the workers that have the files of the machines where a step may run."""
        targets = bind(self.bindings, step.path).targets
        return frozenset(queue_below(target.deployment, self.deployments) for target in targets)

    def _chains(
        self, graph: WorkflowGraph, steps: dict[str, Step], in_chunk: bool, late: Collection[str]
    ) -> list[list[str]]:
        """The groups of steps that follow each other; ``steps`` learns which sub-workflows are one task."""
        kin = {step.path: self._kin(step, in_chunk, late) for step in graph.steps}
        _settle_expressions(graph, kin)
        before = {step.path: _waits_for(step, late) for step in graph.steps}
        for path, step in steps.items():
            if kin[path] is not None and step.workflow is not None:
                steps[path] = replace(step, one_task=True)
        return groups(list(steps), before, kin)

    # --- what a step could share a task with ----------------------------------------------------------------------

    def _kin(self, step: Step, in_chunk: bool, late: Collection[str]) -> Hashable | None:
        """What steps of one task have in common: where their jobs run, and how the place is chosen.

        None: it has tasks of its own.
        """
        binding = bind(self.bindings, step.path)
        if self._is_mapped(step, in_chunk):
            return None
        if not runs_as_one_task(step, binding, in_chunk):
            assert step.workflow is not None
            inner_late = late_inputs(step, late) if is_plain(step) else frozenset()
            inner = self.graph_of(step.workflow, in_chunk=in_chunk, late=inner_late).steps
            if len(inner) != 1 or self._is_mapped(inner[0], in_chunk):
                return None
            if not runs_as_one_task(inner[0], bind(self.bindings, inner[0].path), in_chunk):
                return None
        kinds = {self._kin_of_leaf(leaf) for leaf in step.leaves}
        if len(kinds) > 1:
            kinds -= {_ANYWHERE, _BESIDE}
        return next(iter(kinds)) if len(kinds) == 1 else None

    def _is_mapped(self, step: Step, in_chunk: bool) -> bool:
        """Whether Airflow maps the step's tasks over its scatter."""
        if not step.scatter or in_chunk:
            return False
        return step.workflow is not None or bind(self.bindings, step.path).scatter != "batch"

    def _kin_of_leaf(self, step: Step) -> Hashable | None:
        binding = bind(self.bindings, step.path)
        wants = self._wants(binding)
        if step.kind == "expression" and wants is not False:
            return _ANYWHERE if wants else _BESIDE
        if not wants:
            return None
        config = json.dumps([binding.filters, binding.policy_config], sort_keys=True, default=str)
        return (binding.targets, binding.policy, config)

    def _wants(self, binding: Binding) -> bool | None:
        """Whether steps of a binding share tasks; None: nobody says anything."""
        if binding.fuse in (CHAINS, False):
            return binding.fuse == CHAINS
        settings = {self._of_deployment(target.deployment) for target in binding.targets}
        if settings == {None}:
            settings = {self.fuse}
        return None if settings == {None} else settings == {CHAINS}

    def _of_deployment(self, name: str) -> bool | str | None:
        """The setting of a deployment, else of the one that it wraps, and so on."""
        seen: set[str] = set()
        while name in self.deployments and name not in seen:
            if self.deployments[name].fuse is not None:
                return self.deployments[name].fuse
            seen.add(name)
            name = self.deployments[name].wraps or ""
        return None


_ANYWHERE, _BESIDE = "anywhere", "beside others"
"""an ExpressionTool needs no site; ``_BESIDE``: one of which nobody said that it shares a task"""


def runs_as_one_task(step: Step, binding: Binding, in_chunk: bool) -> bool:
    """Whether a step is one task (or is mapped as one) rather than a group of tasks."""
    if step.workflow is None or step.loop or step.one_task or binding.fuse is True:
        return True
    return bool(step.scatter) and in_chunk


def is_plain(step: Step) -> bool:
    """Whether a sub-workflow gets its input values unchanged, so that nothing has to be evaluated."""
    assert step.workflow is not None
    if step.scatter or step.when:
        return False
    if any(port.loads_listing or port.loads_contents for port in step.workflow.inputs):
        return False
    return all(port.plain for port in step.inputs)


def late_inputs(step: Step, late: Collection[str]) -> frozenset[str]:
    """The inputs of a plain sub-workflow that come from a step: tasks in it wait for each of them by itself.

    :param late: those of the workflow that it is in.
    """
    return frozenset(
        port.name
        for port in step.inputs
        if any(source.step is not None or source.port in late for source in port.sources)
    )


def _waits_for(step: Step, late: Collection[str]) -> list[str]:
    names = {
        (source.step or f"input {source.port}"): None
        for port in step.inputs
        for source in port.sources
        if source.step is not None or source.port in late
    }
    return list(names)


def _settle_expressions(graph: WorkflowGraph, kin: dict[str, Hashable | None]) -> None:
    """ExpressionTools are kin of the first step that reads them, else of the first that they read."""
    readers: dict[str, str] = {}
    for step in reversed(graph.steps):
        reader = kin.get(readers.get(step.path, ""))
        if kin[step.path] in (_ANYWHERE, _BESIDE) and reader is not None:
            kin[step.path] = reader
        for path in _waits_for(step, ()):
            readers[path] = step.path
    for step in graph.steps:
        if kin[step.path] in (_ANYWHERE, _BESIDE):
            sources = [kin[path] for path in _waits_for(step, ()) if kin[path] is not None]
            kin[step.path] = sources[0] if sources else kin[step.path]
        if kin[step.path] == _BESIDE:
            kin[step.path] = None


# --- a graph with its groups ------------------------------------------------------------------------------------------


class _Names:
    """Gives out names, each once."""

    def __init__(self, taken: Collection[str] = ()) -> None:
        self._taken = set(taken)

    def new(self, wanted: str) -> str:
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted


@dataclass(frozen=True)
class _Members:
    """Steps that share a task.

    :ivar host: the one whose name, path and outputs the group keeps; None: it has a name of all names.
    """

    steps: Sequence[Step]
    host: Step | None = None


def _rewritten(graph: WorkflowGraph, steps: Mapping[str, Step], found: Sequence[_Members]) -> WorkflowGraph:
    """:param steps: of the graph, by path; ``found``: the groups of them."""
    names = _Names([step.name for step in graph.steps])
    group_of = {step.path: number for number, group in enumerate(found) for step in group.steps}
    read = _read_from_elsewhere(graph, group_of)
    moved: dict[Source, Source] = {}
    made: list[Step] = []
    for group in found:
        joined = JOIN.join(step.name for step in group.steps)
        name = group.host.name if group.host else names.new(shortened(joined, MOST_OF_NAME, joined))
        made.append(_group(graph, group, name, read, moved))
    rest = [step for path, step in steps.items() if path not in group_of]
    linked = [replace(step, inputs=tuple(_moved(port, moved) for port in step.inputs)) for step in [*made, *rest]]
    outputs = tuple(replace(output, sources=_sources(output.sources, moved)) for output in graph.outputs)
    by_path = {step.path: step for step in linked}
    if all(group.host for group in found):  # the order of the others stays
        order = tuple(by_path[path] for path in steps if path in by_path)
    else:
        order = _in_order(by_path)
    return replace(graph, steps=order, outputs=outputs)


def _read_from_elsewhere(graph: WorkflowGraph, group_of: Mapping[str, int]) -> dict[Source, None]:
    """The outputs of steps of groups that other tasks read, or the workflow's outputs."""
    read: dict[Source, None] = {}
    for step in graph.steps:
        own = group_of.get(step.path)
        for port in step.inputs:
            for source in port.sources:
                number = group_of.get(source.step or "")
                if number is not None and number != own:
                    read[source] = None
    for output in graph.outputs:
        read.update(dict.fromkeys(source for source in output.sources if source.step in group_of))
    return read


def _group(
    graph: WorkflowGraph,
    group: _Members,
    name: str,
    read: Mapping[Source, None],
    moved: dict[Source, Source],
) -> Step:
    """A step that stands for others; ``moved`` learns where their outputs are then."""
    members, host = group.steps, group.host
    path = f"{graph.path.rstrip('/')}/{name}"
    inside = {step.path for step in members}
    ports = _Names()
    entries: dict[Source, Source] = {}
    for step in members:
        for source in (source for port in step.inputs for source in port.sources):
            if source.step not in inside and source not in entries:
                entries[source] = Source(None, ports.new(_port_name(source)))
    results = _Names()
    outputs = []
    for source in (Source(step.path, port) for step in members for port in step.outputs):
        if host is not None and source.step == host.path:
            outputs.append(WorkflowOutput(source.port, "Any", (source,)))
        elif source in read:
            output = results.new(_port_name(source))
            outputs.append(WorkflowOutput(output, "Any", (source,)))
            moved[source] = Source(path, output)
    inner = tuple(replace(step, inputs=tuple(_moved(port, entries) for port in step.inputs)) for step in members)
    return Step(
        path=path,
        kind="workflow",
        inputs=tuple(StepInput(e.port, (s,), {"id": e.port}, plain=True) for s, e in entries.items()),
        outputs=tuple(output.name for output in outputs),
        document="",
        workflow=WorkflowGraph(
            name=name,
            path=path,
            inputs=tuple(Port(entry.port, "Any") for entry in entries.values()),
            outputs=tuple(outputs),
            steps=inner,
        ),
        one_task=True,
        label=host.label if host else "",
        position=(host or members[0]).position,
    )


def _port_name(source: Source) -> str:
    return source.port if source.step is None else f"{source.step.rsplit('/', 1)[1]}{JOIN}{source.port}"


def _moved(port: StepInput, moved: Mapping[Source, Source]) -> StepInput:
    return replace(port, sources=_sources(port.sources, moved))


def _sources(sources: tuple[Source, ...], moved: Mapping[Source, Source]) -> tuple[Source, ...]:
    return tuple(moved.get(source, source) for source in sources)


def _tool_of(steps: Sequence[Step]) -> Step:
    """The first step that runs a job: expressions have no site."""
    leaves = [leaf for step in steps for leaf in step.leaves]
    return next((leaf for leaf in leaves if leaf.kind != "expression"), leaves[0])


def _in_order(by_path: Mapping[str, Step]) -> tuple[Step, ...]:
    order = TopologicalSorter(
        {path: [p for p in _waits_for(step, ()) if p in by_path] for path, step in by_path.items()}
    )
    return tuple(by_path[path] for path in order.static_order())
