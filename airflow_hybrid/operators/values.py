# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The values of a workflow's ports while its DAG runs: XComs, read back as CWL values.

A :class:`Scope` is a workflow or sub-workflow in the DAG. All tasks in a scope work on the same *instances*: one at top
level; in a scattered sub-workflow, those of the mapped task group's chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from airflow_hybrid.cwl.documents.default_files import check_used
from airflow_hybrid.cwl.documents.group_documents import document_of
from airflow_hybrid.cwl.documents.trust.roots import KnownFiles, located
from airflow_hybrid.cwl.values.inputs import resolve_outputs, resolve_step_inputs
from airflow_hybrid.cwl.values.scatter import shape_outputs
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import TOO_DEEP, CwlObject, JsonValue, Source, Step, WorkflowGraph, is_too_deep
from airflow_hybrid.operators.provenance import Ground, Origins, alone, stranger

RETURN = "return_value"
SHAPE = "shape"
VALUES = "values"
INPUTS_TASK = "inputs"
OUTPUTS_TASK = "outputs"


@dataclass
class Node:
    """The tasks of a step.

    :ivar task_id: of the operator that runs it (None: a task group, see ``scope``).
    :ivar plan_id: of the task that publishes its chunks, if it is mapped.
    """

    step: Step
    task_id: str | None = None
    plan_id: str | None = None
    scope: Scope | None = None


@dataclass(repr=False)
class Scope:
    """One workflow or sub-workflow, and the tasks of its steps.

    :ivar plan_id: the task that publishes the instances' inputs (key ``values``), or None: the values of the
        enclosing scope are passed on unchanged (``plain`` inputs), or this is the top level.
    :ivar ground: at the top level: which files the DAG's values may name.
    :ivar chunked: the scope is a mapped task group; its tasks work on one chunk of the instances each.
    :ivar replays: at the top level: how often a job whose outputs are lost is run again in a run.
    """

    graph: WorkflowGraph
    parent: Scope | None = None
    step: Step | None = None
    plan_id: str | None = None
    chunked: bool = False
    ground: Ground | None = None
    replays: int = 0
    nodes: dict[str, Node] = field(default_factory=dict)

    def __deepcopy__(self, memo: object) -> Scope:
        # Airflow copies DAGs and operators; this structure is shared and never changes once the DAG is built
        return self

    def __repr__(self) -> str:
        return f"<Scope {self.graph.path}>"

    @property
    def top(self) -> Scope:
        """The top-level workflow."""
        return self if self.parent is None else self.parent.top

    @property
    def in_chunk(self) -> bool:
        """Whether the tasks of this scope are mapped, and therefore work on lists of instances."""
        return self.chunked or (self.parent is not None and self.parent.in_chunk)


class NoValueError(HybridError):
    """A task left no value.

    :ivar task_id: of that task.
    """

    def __init__(self, task_id: str, key: str) -> None:
        super().__init__(
            f"task {task_id!r} has no value {key!r}", hint="clear that task to run it again, and then this one"
        )
        self.task_id = task_id


class XComReader(Protocol):
    """Reads one XCom of this DAG run; ``map_index`` -1 for a task that is not mapped."""

    def __call__(self, task_id: str, key: str, map_index: int) -> JsonValue: ...


class Values:
    """Reads port values, one per instance of the task's context.

    A step's value may name what the step received, which may be the value of the step before, and so on through a
    chain of any length. So a value that is read puts its check into a queue, and nothing leaves this class before the
    queue is empty.

    :param map_index: the task's own (-1 at top level); it selects the chunk.
    :param origins: which files the values of this DAG run may name.
    :param renew: gives a value in which files that were made again have taken the place of lost ones; None: no file was
        lost.
    :raises HybridError: an upstream task left no value, or names a file that it neither made nor received.
    """

    def __init__(
        self, read: XComReader, map_index: int, origins: Origins, renew: Callable[[Any], Any] | None = None
    ) -> None:
        self._read = read
        self._renew = renew
        self._map_index = map_index
        self._origins = origins
        self._memo: dict[tuple[str, str, int], JsonValue] = {}
        self._judged: set[tuple[str, str, int]] = set()
        self._to_judge: deque[Callable[[], None]] = deque()

    def xcom(self, task_id: str, key: str = RETURN, map_index: int = -1, *, required: bool = True) -> Any:
        at = (task_id, key, map_index)
        if at not in self._memo:
            value = self._read(task_id, key, map_index)
            if is_too_deep(value):
                raise HybridError(
                    f"the value {key!r} of task {task_id!r} holds {TOO_DEEP}: it is not used",
                    hint="its XCom was changed; clear that task to make it again",
                )
            self._memo[at] = value if self._renew is None else self._renew(value)
        if self._memo[at] is None and required:
            raise NoValueError(task_id, key)
        return self._memo[at]

    def run_inputs(self, graph: WorkflowGraph) -> CwlObject:
        """The inputs of the run, and the requirements among them.

        :raises HybridError: they differ from the run's own inputs.
        """
        order: CwlObject = self.xcom(INPUTS_TASK)
        if (at := (INPUTS_TASK, RETURN, -1)) not in self._judged:
            self._origins.check_inputs(graph, order)
            self._judged.add(at)
        return order

    def step_inputs(self, scope: Scope, step: Step) -> list[CwlObject | None]:
        """The step's inputs (before scatter, valueFrom and when), per instance; None for a skipped instance.

        :raises HybridError: a value behind them names a file that its task neither made nor received.
        """
        inputs = self._step_inputs(scope, step)
        self._judge_all()
        return inputs

    def first_of_chunk(self, scope: Scope) -> int:
        """In a mapped task group: the index, in the scatter of its sub-workflow, of the first instance of its chunk."""
        while not scope.chunked:
            assert scope.parent is not None
            scope = scope.parent
        assert scope.plan_id is not None
        return int(self.xcom(scope.plan_id)[self._map_index]["lo"])

    def outputs(self, scope: Scope) -> list[CwlObject | None]:
        """The (sub-)workflow's output object, per instance; None where it was skipped.

        :raises HybridError: a value behind it names a file that its task neither made nor received.
        """
        outputs = self._outputs(scope)
        self._judge_all()
        return outputs

    def _step_inputs(self, scope: Scope, step: Step) -> list[CwlObject | None]:
        alive = self._alive(scope)
        sources = {source for port in step.inputs for source in port.sources}
        columns = {source: self._port(scope, source) for source in sources}
        return [
            resolve_step_inputs(step, {s: column[k] for s, column in columns.items()}) if ok else None
            for k, ok in enumerate(alive)
        ]

    def _alive(self, scope: Scope) -> list[bool]:
        """Per instance of the context: whether the (sub-)workflow runs, or was skipped by its ``when``."""
        if scope.plan_id is None:
            return [True] if scope.parent is None else self._alive(scope.parent)
        return [value is not None for value in self._planned(scope)]

    def _planned(self, scope: Scope) -> list[CwlObject | None]:
        assert scope.plan_id is not None
        if not scope.chunked:
            index = self._map_index if scope.in_chunk else -1
            planned = list(self.xcom(scope.plan_id, VALUES, index))
        else:
            index = self._map_index
            chunk = self.xcom(scope.plan_id)[index]
            planned = list(self.xcom(scope.plan_id, VALUES)[chunk["lo"] : chunk["hi"]])
        assert scope.parent is not None and scope.step is not None
        if (at := (scope.plan_id, VALUES, index)) not in self._judged:
            self._to_judge.append(partial(self._judge, scope.parent, scope.step, scope.plan_id, list(located(planned))))
            self._judged.add(at)
        return planned

    def _result(self, scope: Scope, node: Node, index: int) -> Any:
        """The value that a step's task published."""
        assert node.task_id is not None
        value = self.xcom(node.task_id, RETURN, index)
        if (at := (node.task_id, RETURN, index)) not in self._judged:
            self._to_judge.append(partial(self._judge, scope, node.step, node.task_id, list(located(value)), index))
            self._judged.add(at)
        return value

    def _judge_all(self) -> None:
        while self._to_judge:
            self._to_judge[0]()  # which may add others; one that fails stays
            self._to_judge.popleft()

    def _judge(
        self, scope: Scope, step: Step, task_id: str, named: list[Mapping[str, Any]], index: int | None = None
    ) -> None:
        """Check that the files that a step's task names were made by its jobs, or are among its inputs.

        :param index: of the task; None: it has no jobs.
        """
        named = [alone(item) for item in named]
        if named and index is not None:
            named = self._origins.strangers(named, self._origins.own_folder(task_id, index))
        if not named:
            return
        document = document_of(step)
        if index is not None and self._origins.reuses(document):
            named = self._origins.strangers(named, None)
        location = KnownFiles(self._step_inputs(scope, step), list(located(document))).strange(named)
        if location:
            raise stranger(location, task_id, "that task neither made nor received")

    def _port(self, scope: Scope, source: Source) -> list[JsonValue]:
        """The value of a source as seen in ``scope``, per instance."""
        if source.step is None:
            return self._input(scope, source.port)
        return self._output(scope, scope.nodes[source.step], source.port)

    def _input(self, scope: Scope, name: str) -> list[JsonValue]:
        if scope.parent is None:
            return [self.run_inputs(scope.graph).get(name)]
        default = next((p.default for p in scope.graph.inputs if p.name == name and p.has_default), None)
        if scope.plan_id is not None:
            values = [None if v is None else v.get(name) for v in self._planned(scope)]
        else:
            assert scope.step is not None
            port = next((p for p in scope.step.inputs if p.name == name), None)
            if port is None or not port.sources:
                values = [None] * len(self._alive(scope))
            else:
                values = self._port(scope.parent, port.sources[0])
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
                    flat.extend(self._result(scope, node, index))
                return [shape_outputs(node.step, dims, flat)[port]]
            if scope.in_chunk:
                results = self._result(scope, node, self._map_index)
                return [None if r is None else r.get(port) for r in results]
            return [self._result(scope, node, -1).get(port)]
        if not node.scope.chunked:
            return [None if r is None else r.get(port) for r in self._outputs(node.scope, (port,))]
        assert node.plan_id is not None
        dims = tuple(self.xcom(node.plan_id, SHAPE))
        flat = []
        for index in range(len(self.xcom(node.plan_id))):
            inner = Values(self._read, index, self._origins, self._renew)
            inner._memo, inner._judged, inner._to_judge = self._memo, self._judged, self._to_judge
            none = dict.fromkeys(node.step.outputs)
            flat.extend(none if r is None else r for r in inner._outputs(node.scope, (port,)))
        return [shape_outputs(node.step, dims, [{**dict.fromkeys(node.step.outputs), **f} for f in flat])[port]]

    def _outputs(self, scope: Scope, ports: Sequence[str] | None = None) -> list[CwlObject | None]:
        """:param ports: not None: only some of them."""
        alive = self._alive(scope)
        wanted = [o for o in scope.graph.outputs if ports is None or o.name in ports]
        columns: Mapping[Source, list[JsonValue]] = {
            source: self._port(scope, source) for output in wanted for source in output.sources
        }
        return [
            resolve_outputs(scope.graph, {s: c[k] for s, c in columns.items()}, only=[o.name for o in wanted])
            if ok
            else None
            for k, ok in enumerate(alive)
        ]
