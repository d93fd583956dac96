# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the tasks of a run have published about its jobs and their values, for a record of the run (a crate).

What is not known, as a task failed or shares its values with other steps, is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_hybrid.crates.facts import JobKey, JobValues, RunFacts
from airflow_hybrid.cwl.values.scatter import scatter_dims, slice_scatter
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import CwlObject, JsonValue, Step, StepInput, WorkflowGraph, is_too_deep
from airflow_hybrid.model.records import JOBS_XCOM, JobRecord, JobsReport
from airflow_hybrid.model.task_folders import task_folder
from airflow_hybrid.operators.provenance import Ground, Origins
from airflow_hybrid.operators.recovery.producers import maker_in
from airflow_hybrid.operators.values import INPUTS_TASK, OUTPUTS_TASK, RETURN, SHAPE, Node, Scope, Values, XComReader
from airflow_hybrid.overviews.replays import MADE_AGAIN_XCOM, RENEWED_XCOM, RunReplays, replays_of
from airflow_hybrid.overviews.tasks import label_of
from airflow_hybrid.version import __version__

_Instance = tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None]
"""index of a job, its inputs, its outputs"""


@dataclass(frozen=True)
class RunDescription:
    """What Airflow knows of a run itself.

    :ivar began: and ``ended``, in seconds since the epoch.
    """

    dag_id: str
    run_id: str
    succeeded: bool
    began: float | None
    ended: float | None
    user: str


class _Unjudged(Origins):
    """Nothing is opened by what these values name, unless it has the checksum that they say."""

    def check_inputs(self, graph: WorkflowGraph, order: CwlObject) -> None:
        return

    def strangers(self, value: JsonValue, folder: str | None) -> list[Mapping[str, Any]]:
        return []

    def reuses(self, document: JsonValue) -> bool:
        return False


def facts_of_run(scope: Scope, read: XComReader, run: RunDescription, outputs: CwlObject | None = None) -> RunFacts:
    """The facts of a run, for :func:`airflow_hybrid.crates.crate.write_crate`.

    :param scope: of the whole workflow; ``read``: reads XComs of the run, None where there is none.
    :param outputs: of the run, where its last task is still at work; None: that task has published them.
    :raises HybridError: the run's first task has left no value, or the document cannot be read any more.
    """
    from airflow_hybrid.cwl.documents.packing import packed_document

    inputs = read(INPUTS_TASK, RETURN, -1)
    if not isinstance(inputs, dict) or is_too_deep(inputs):
        raise HybridError(
            f"the inputs of run {run.run_id} of DAG {run.dag_id} are not known: its task `inputs` has not succeeded"
        )
    recorder = _Recorder(scope, read)
    recorder.look(scope, -1, "")
    graph = scope.graph
    packed = packed_document(graph)
    result = outputs if outputs is not None else read(OUTPUTS_TASK, RETURN, -1)
    return RunFacts(
        name=graph.label or graph.name,
        dag_id=run.dag_id,
        run_id=run.run_id,
        succeeded=run.succeeded,
        document=packed.document,
        inputs=inputs,
        outputs=result if isinstance(result, dict) and not is_too_deep(result) else None,
        jobs=recorder.jobs,
        document_files=packed.files,
        single=graph.steps[0].path if graph.single else "",
        began=run.began,
        ended=run.ended,
        user=run.user,
        values=recorder.values,
        versions=_versions(),
        replays=recorder.made_again(run),
        steps_of_tasks=recorder.steps,
    )


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"airflow_hybrid": __version__, "apache-airflow": version("apache-airflow"), "cwltool": version("cwltool")}


class _Recorder:
    """Collects jobs and values, scope by scope.

    :ivar jobs: in the order of tasks; ``values``: by job; ``steps``: paths, by the ids of their tasks.
    """

    def __init__(self, top: Scope, read: XComReader) -> None:
        self._read = read
        ground = top.ground or Ground({})
        self._origins = _Unjudged(ground, "", "", {}, {}, render=lambda text: text)
        self._by_index: dict[int, Values] = {}
        self.jobs: list[JobRecord] = []
        self.values: dict[JobKey, JobValues] = {}
        self.steps: dict[str, str] = {}
        self._instances_seen: list[tuple[str, int]] = []

    def _values(self, index: int) -> Values:
        if index not in self._by_index:
            self._by_index[index] = Values(self._read, index, self._origins)
        return self._by_index[index]

    def look(self, scope: Scope, index: int, prefix: str) -> None:
        """Look at the tasks of a scope.

        :param index: map index of its tasks, -1: they are not mapped.
        :param prefix: of the indexes of its jobs.
        """
        for node in scope.nodes.values():
            if node.scope is None:
                self._task(scope, node, index)
            elif not node.scope.chunked:
                self.look(node.scope, index, prefix)
            else:
                for chunk in range(self._chunks(node)):
                    self.look(node.scope, chunk, prefix)

    def _task(self, scope: Scope, node: Node, index: int) -> None:
        assert node.task_id is not None
        self.steps[node.task_id] = node.step.path
        chunks: Sequence[int] = [index]
        if node.plan_id is not None:
            chunks = range(self._chunks(node))
            self._instances_seen.append((node.plan_id, index))
        for chunk in chunks:
            self._instances_seen.append((node.task_id, chunk))
            self._report(node.task_id, chunk)
        with contextlib.suppress(HybridError, ValueError, LookupError, TypeError, AttributeError):
            # what a task has not published, or somebody has edited, is not known
            for number, inputs, outputs in self._instances(scope, node, index):
                self._note(node.step, number, inputs, outputs)

    def _chunks(self, node: Node) -> int:
        """Into how many chunks a scatter was divided."""
        assert node.plan_id is not None
        chunks = self._read(node.plan_id, RETURN, -1)
        return len(chunks) if isinstance(chunks, list) else 0

    def _report(self, task_id: str, index: int) -> None:
        with contextlib.suppress(ValueError):  # of another version, or edited
            self.jobs += JobsReport.from_json(self._read(task_id, JOBS_XCOM, index)).records

    def made_again(self, run: RunDescription) -> RunReplays:
        """What the tasks that were looked at, and the last one, have made again."""
        folders = {task_folder(run.dag_id, run.run_id, task_id): task_id for task_id in self.steps}
        return replays_of(self._replays(), maker_in(folders))

    def _replays(self) -> Iterator[tuple[str, JsonValue, JsonValue]]:
        for task_id, index in [*self._instances_seen, (OUTPUTS_TASK, -1)]:
            value = self._read(task_id, MADE_AGAIN_XCOM, index)
            if value is not None:
                yield label_of(task_id, index), value, self._read(task_id, RENEWED_XCOM, index)

    # --- values of tasks ----------------------------------------------------------------------------------------

    def _instances(self, scope: Scope, node: Node, index: int) -> Iterator[_Instance]:
        """The step's inputs and outputs, for each job of its own scatter, or each instance of its scope."""
        assert node.task_id is not None
        values, step = self._values(index), node.step
        if node.plan_id is not None and not scope.in_chunk:
            (inputs,) = values.step_inputs(scope, step)
            flat: list[CwlObject | None] = []
            for chunk in range(len(values.xcom(node.plan_id))):
                flat.extend(values.xcom(node.task_id, RETURN, chunk))
            if step.scatter:
                values.xcom(node.plan_id, SHAPE)
                yield from _scattered(step, inputs or {}, flat, "")
            else:
                yield "", inputs, flat[0] if flat else None
            return
        all_inputs = values.step_inputs(scope, step)
        result = values.xcom(node.task_id, RETURN, index)
        first = self._first(scope, index)
        if not scope.in_chunk:
            yield from _own_scatter(step, all_inputs[0], result, "")
            return
        for number, (inputs, outputs) in enumerate(zip(all_inputs, result, strict=True)):
            yield from _own_scatter(step, inputs, outputs, f"[{first + number}]")

    def _first(self, scope: Scope, index: int) -> int:
        """The number of the first instance of a chunk, among those of the scattered sub-workflow."""
        around: Scope | None = scope
        while around is not None and not around.chunked:
            around = around.parent
        if around is None or around.plan_id is None:
            return 0
        chunk = self._read(around.plan_id, RETURN, -1)[index]
        return int(chunk["lo"])

    # --- jobs of a task -----------------------------------------------------------------------------------------

    def _note(
        self, step: Step, index: str, inputs: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None
    ) -> None:
        if step.loop or not isinstance(outputs, Mapping):
            return
        if step.workflow is None:
            if any(value is not None for value in outputs.values()):
                self.values[step.path, index] = JobValues(_before_value_from(step, inputs or {}), outputs)
            return
        for inner in step.workflow.steps:
            # what several steps share is known as far as it goes into the task and comes out of it
            made = {
                output.sources[0].port: outputs.get(output.name)
                for output in step.workflow.outputs
                if len(output.sources) == 1 and output.sources[0].step == inner.path
            }
            given = {
                port.name: (inputs or {}).get(port.sources[0].port)
                for port in inner.inputs
                if len(port.sources) == 1 and port.sources[0].step is None
            }
            for instance in _own_scatter(inner, given, made, index):
                self._note(inner, *instance)


def _own_scatter(step: Step, inputs: Mapping[str, Any] | None, outputs: Any, prefix: str) -> Iterator[_Instance]:
    """The jobs of a step that scatters inside of its task; else the one job that the values are of."""
    if not step.scatter:
        yield prefix, inputs, outputs
        return
    lists = {port: value for port, value in (outputs or {}).items() if isinstance(value, list)}
    count = max(map(len, lists.values()), default=0)
    flat = [{port: value[number] for port, value in lists.items() if number < len(value)} for number in range(count)]
    known = inputs is not None and all(isinstance(inputs.get(name), list) for name in step.scatter)
    yield from _scattered(step, inputs or {}, flat, prefix, known=known)


def _scattered(
    step: Step, inputs: Mapping[str, Any], flat: Sequence[Mapping[str, Any] | None], prefix: str, *, known: bool = True
) -> Iterator[_Instance]:
    """:param known: whether the lists that are scattered over are known."""
    nested = step.scatter_method == "nested_crossproduct" and len(step.scatter) > 1
    sizes = scatter_dims(step, inputs) if known else ()
    if nested:  # its outputs are lists of lists, and its jobs have several indexes
        return
    sliced = slice_scatter(step, inputs, 0, len(flat)) if known and sizes else {}
    for number, outputs in enumerate(flat):
        own = {name: sliced[name][number] for name in step.scatter} if sliced else {}
        others = {name: value for name, value in inputs.items() if name not in step.scatter}
        yield f"{prefix}[{number}]", {**others, **own}, outputs


def _before_value_from(step: Step, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that reach the tool as they are: what an expression makes of the others is not known."""
    changed = {port.name for port in step.inputs if _is_changed(port)}
    return {name: value for name, value in inputs.items() if name not in changed}


def _is_changed(port: StepInput) -> bool:
    return isinstance(port.document, Mapping) and port.document.get("valueFrom") is not None
