# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Where the values of a workflow's ports are, while its DAG runs: XComs, read back as CWL values.

A :class:`Scope` is a workflow or sub-workflow as the DAG's builder laid it out. All tasks in a scope work on the
same *instances*: one at top level; in a scattered sub-workflow, those of the chunk that the mapped task group got.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_hybrid.cwl.default_files import check_used
from airflow_hybrid.cwl.inputs import resolve_outputs, resolve_step_inputs, shape_outputs
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import CwlObject, JsonValue, Source, Step, WorkflowGraph

RETURN = "return_value"
SHAPE = "shape"
VALUES = "values"
INPUTS_TASK = "inputs"
OUTPUTS_TASK = "outputs"


@dataclass
class Node:
    """How a step became tasks.

    :ivar task_id: of the operator that runs it (None: a task group, see ``scope``).
    :ivar plan_id: of the task that publishes its chunks, where it is mapped.
    """

    step: Step
    task_id: str | None = None
    plan_id: str | None = None
    scope: Scope | None = None


@dataclass(repr=False)
class Scope:
    """One workflow of the nest, and the tasks that its steps became.

    :ivar plan_id: the task that publishes the instances' inputs (key ``values``), or None: the values of the
        enclosing scope are passed on unchanged (``plain`` inputs), or this is the top level.
    :ivar chunked: the scope is a mapped task group; its tasks work on one chunk of the instances each.
    """

    graph: WorkflowGraph
    parent: Scope | None = None
    step: Step | None = None
    plan_id: str | None = None
    chunked: bool = False
    nodes: dict[str, Node] = field(default_factory=dict)

    def __deepcopy__(self, memo: object) -> Scope:
        # Airflow copies DAGs and operators; this is shared structure, never changed once the DAG is built
        return self

    def __repr__(self) -> str:
        return f"<Scope {self.graph.path}>"

    @property
    def in_chunk(self) -> bool:
        """Whether the tasks of this scope are mapped, and so work on lists of instances."""
        return self.chunked or (self.parent is not None and self.parent.in_chunk)


class XComReader(Protocol):
    """Reads one XCom of this DAG run; ``map_index`` -1 for a task that is not mapped."""

    def __call__(self, task_id: str, key: str, map_index: int) -> JsonValue: ...


class Values:
    """Reads port values, one per instance of the task's context.

    :param map_index: the task's own (-1 at top level); it selects the chunk.
    :raises HybridError: an upstream task left no value.
    """

    def __init__(self, read: XComReader, map_index: int) -> None:
        self._read = read
        self._map_index = map_index
        self._memo: dict[tuple[str, str, int], JsonValue] = {}

    def xcom(self, task_id: str, key: str = RETURN, map_index: int = -1, *, required: bool = True) -> Any:
        at = (task_id, key, map_index)
        if at not in self._memo:
            self._memo[at] = self._read(task_id, key, map_index)
        value = self._memo[at]
        if value is None and required:
            raise HybridError(
                f"task {task_id!r} left no value {key!r}",
                hint="clear that task, so that it runs again, and then this one",
            )
        return value

    def step_inputs(self, scope: Scope, step: Step) -> list[CwlObject | None]:
        """The step's inputs (before scatter, valueFrom and when), per instance; None for a skipped instance."""
        alive = self.alive(scope)
        sources = {source for port in step.inputs for source in port.sources}
        columns = {source: self.port(scope, source) for source in sources}
        return [
            resolve_step_inputs(step, {s: column[k] for s, column in columns.items()}) if ok else None
            for k, ok in enumerate(alive)
        ]

    def alive(self, scope: Scope) -> list[bool]:
        """Per instance of the context: whether the (sub-)workflow runs, or was skipped by its ``when``."""
        if scope.plan_id is None:
            return [True] if scope.parent is None else self.alive(scope.parent)
        return [value is not None for value in self._planned(scope)]

    def _planned(self, scope: Scope) -> list[CwlObject | None]:
        assert scope.plan_id is not None
        if not scope.chunked:
            index = self._map_index if scope.in_chunk else -1
            return list(self.xcom(scope.plan_id, VALUES, index))
        chunk = self.xcom(scope.plan_id)[self._map_index]
        return list(self.xcom(scope.plan_id, VALUES)[chunk["lo"] : chunk["hi"]])

    def port(self, scope: Scope, source: Source) -> list[JsonValue]:
        """The value of a source as seen in ``scope``, per instance."""
        if source.step is None:
            return self._input(scope, source.port)
        return self._output(scope, scope.nodes[source.step], source.port)

    def _input(self, scope: Scope, name: str) -> list[JsonValue]:
        if scope.parent is None:
            return [self.xcom(INPUTS_TASK).get(name)]
        default = next((p.default for p in scope.graph.inputs if p.name == name and p.has_default), None)
        if scope.plan_id is not None:
            values = [None if v is None else v.get(name) for v in self._planned(scope)]
        else:
            assert scope.step is not None
            port = next((p for p in scope.step.inputs if p.name == name), None)
            if port is None or not port.sources:
                values = [None] * len(self.alive(scope))
            else:
                values = self.port(scope.parent, port.sources[0])
        if default is not None and None in values:
            check_used(default)
        return [default if value is None else value for value in values]

    def _output(self, scope: Scope, node: Node, port: str) -> list[JsonValue]:
        if node.scope is None:
            assert node.task_id is not None
            if node.plan_id is not None:
                dims = tuple(self.xcom(node.plan_id, SHAPE))
                flat: list[CwlObject] = []
                for index in range(len(self.xcom(node.plan_id))):
                    flat.extend(self.xcom(node.task_id, RETURN, index))
                return [shape_outputs(node.step, dims, flat)[port]]
            if scope.in_chunk:
                results = self.xcom(node.task_id, RETURN, self._map_index)
                return [None if r is None else r.get(port) for r in results]
            return [self.xcom(node.task_id).get(port)]
        if not node.scope.chunked:
            return [None if r is None else r.get(port) for r in self.outputs(node.scope, (port,))]
        assert node.plan_id is not None
        dims = tuple(self.xcom(node.plan_id, SHAPE))
        flat = []
        for index in range(len(self.xcom(node.plan_id))):
            inner = Values(self._read, index)
            inner._memo = self._memo
            none = dict.fromkeys(node.step.outputs)
            flat.extend(none if r is None else r for r in inner.outputs(node.scope, (port,)))
        return [shape_outputs(node.step, dims, [{**dict.fromkeys(node.step.outputs), **f} for f in flat])[port]]

    def outputs(self, scope: Scope, ports: Sequence[str] | None = None) -> list[CwlObject | None]:
        """The (sub-)workflow's output object (or some ports of it), per instance; None where it was skipped."""
        alive = self.alive(scope)
        wanted = [o for o in scope.graph.outputs if ports is None or o.name in ports]
        columns: Mapping[Source, list[JsonValue]] = {
            source: self.port(scope, source) for output in wanted for source in output.sources
        }
        return [
            resolve_outputs(scope.graph, {s: c[k] for s, c in columns.items()}, only=[o.name for o in wanted])
            if ok
            else None
            for k, ok in enumerate(alive)
        ]
