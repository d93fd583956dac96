# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The tasks of a DAG, made from a workflow graph and its bindings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow.sdk import DAG, TaskGroup, TriggerRule, XComArg, get_parsing_context
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.taskgroup import MappedTaskGroup

from airflow_hybrid.config import Deployment, bind
from airflow_hybrid.cwl.given import job_requirements
from airflow_hybrid.dag.edges import Edges
from airflow_hybrid.dag.fusing import Fusing, is_plain, late_inputs, runs_as_one_task
from airflow_hybrid.dag.lifecycle import TaskUse, add_deployment_tasks
from airflow_hybrid.dag.queues import queue_of, queue_of_step
from airflow_hybrid.dag.retries import task_arguments
from airflow_hybrid.dag.rules import trigger_rule_of
from airflow_hybrid.dag.shown import JOBS_TEMPLATE, colour_of, outline_of, outlines_of_task, step_doc, where_it_runs
from airflow_hybrid.dag.task_ids import Below, TaskIds, below
from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import REPLAYS, Binding, Checkpoint, CwlObject, JsonValue, Source, Step, WorkflowGraph
from airflow_hybrid.model.outline import DagOutline, StepOutline
from airflow_hybrid.operators.hybrid import HybridOperator
from airflow_hybrid.operators.inputs import InputsOperator
from airflow_hybrid.operators.outdirs import Outdirs
from airflow_hybrid.operators.outputs import OutputsOperator
from airflow_hybrid.operators.plan import PlanOperator
from airflow_hybrid.operators.provenance import Ground
from airflow_hybrid.operators.published.assets import OutputAsset
from airflow_hybrid.operators.steps.setup import StepSetup
from airflow_hybrid.operators.values import INPUTS_TASK, OUTPUTS_TASK, Node, Scope


@dataclass(frozen=True)
class WorkflowSetup:
    """The parsed and checked settings of a DAG.

    :ivar settings: default inputs; ``settings_base``: the base folder of their relative paths.
    :ivar from_tasks: inputs whose values other tasks return (:mod:`airflow_hybrid.operators.templates`).
    :ivar run_requirements: classes allowed in ``cwl:requirements`` of a run besides the harmless ones.
    :ivar reuse: whether jobs reuse outputs of other runs; None: the hybrid file does not say.
    :ivar fuse: whether chains of steps are one task, unless something more specific says otherwise.
    :ivar replays: how often a job whose outputs are lost is run again in a run.
    :ivar checkpoint: where outputs are copied to, unless a binding says otherwise.
    :ivar assets: of outputs.
    :ivar hybrid_file: its path; empty: there is none.
    """

    graph: WorkflowGraph
    outdirs: Outdirs
    bindings: tuple[Binding, ...] = ()
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    links: JsonValue = None
    settings: CwlObject = field(default_factory=dict)
    settings_base: str = "/"
    from_tasks: Mapping[str, Any] = field(default_factory=dict)
    run_requirements: tuple[str, ...] = ()
    reuse: bool | None = None
    fuse: bool | str | None = None
    replays: int = REPLAYS
    checkpoint: Checkpoint | None = None
    assets: tuple[OutputAsset, ...] = ()
    hybrid_file: str = ""


class DagBuilder:
    """Makes the tasks of one DAG."""

    def __init__(self, dag: DAG, setup: WorkflowSetup) -> None:
        self.dag = dag
        self.setup = setup
        self.rule = trigger_rule_of(dag)
        self.fusing = Fusing(setup.bindings, setup.deployments, setup.fuse)
        check_ports(setup.graph, setup.bindings)
        self.graph = self.fusing.graph_of(setup.graph)
        self.bindings = setup.bindings
        self.deployments = setup.deployments
        self.tasks: dict[str, Any] = {}
        self.uses: dict[str, TaskUse] = {}
        self.ids = TaskIds((INPUTS_TASK, OUTPUTS_TASK))
        leaves = [step.path for step in self.graph.walk() if step.workflow is None]
        bound = {target.deployment for path in leaves for target in bind(self.bindings, path).targets}
        self.queue = queue_of(bound, self.deployments)
        self.around = _in_queue(self.queue)
        """the queue of tasks that belong to no step, where all local deployments have the same"""
        self.edges = Edges()
        self.outlines: list[StepOutline] = []
        self.certain: set[str] = {INPUTS_TASK}
        """ids of tasks that are skipped only if all that follows is to be skipped"""

    def build(self) -> None:
        setup = self.setup
        reuse, base = bool(setup.reuse), setup.settings_base
        ground = Ground(setup.deployments, setup.bindings, setup.settings, base, reuse, setup.from_tasks)
        root = Scope(self.graph, ground=ground, replays=setup.replays)
        with self.dag:
            self._inputs(ground)
            self._scope(root)
            outputs = self._outputs(root)
            add_deployment_tasks(self.dag, self.deployments, self.uses, self._name)
        of_task = get_parsing_context().task_id
        is_read_by_task = of_task == OUTPUTS_TASK and setup.outdirs.report
        if of_task is None or is_read_by_task:  # other tasks' processes need none
            outputs.doc_json = self._outline().to_text()

    def _outline(self) -> DagOutline:
        """What pages and commands know of the DAG: Airflow keeps it with the serialized DAG."""
        return DagOutline(
            document=self.setup.graph.source,
            steps=tuple(self.outlines),
            deployments={name: deployment.to_json() for name, deployment in self.deployments.items()},
            links=self.setup.links,
            hybrid_file=self.setup.hybrid_file,
            name=self.setup.graph.name,
            label=self.setup.graph.label,
        )

    def _inputs(self, ground: Ground) -> None:
        self.tasks[INPUTS_TASK] = InputsOperator(
            task_id=INPUTS_TASK,
            graph=self.graph,
            ground=ground,
            run_requirements=self.setup.run_requirements,
            outdir_roots=self.setup.outdirs.roots,
            assets=self.setup.assets,
            doc_md="Checks the run's inputs.",
            **self.around,
            **self._retries(),
        )
        # tasks that are in no DAG yet come into this one
        XComArg.apply_upstream_relationship(self.tasks[INPUTS_TASK], dict(self.setup.from_tasks))

    def _outputs(self, root: Scope) -> OutputsOperator:
        outputs = OutputsOperator(
            task_id=OUTPUTS_TASK,
            scope=root,
            deployments=self.deployments,
            links=self.setup.links,
            outdirs=self.setup.outdirs,
            assets=self.setup.assets,
            trigger_rule=self.rule,
            doc_md="Brings the outputs to `outdir`.",
            **self.around,
            **self._retries(),
        )
        holders = {t for out in self.graph.outputs for s in out.sources for t in self._tasks_of(root, s)}
        self.uses[outputs.task_id] = TaskUse(reads=frozenset(holders))
        # also of steps whose outputs nobody reads: the run ends only after them
        ends = {t for node in root.nodes.values() for t in self._ends(node)}
        self._after(outputs, holders | ends | {INPUTS_TASK})
        return outputs

    def _retries(self, *steps: str) -> dict[str, Any]:
        return task_arguments(self.dag.default_args, self.bindings, steps)

    # --- one (sub-)workflow ---------------------------------------------------------------------------------------

    def _scope(self, scope: Scope) -> None:
        for step in scope.graph.steps:
            binding = bind(self.bindings, step.path)
            if runs_as_one_task(step, binding, scope.in_chunk):
                scope.nodes[step.path] = self._leaf(scope, step, binding)
            else:
                scope.nodes[step.path] = self._subworkflow(scope, step, binding)

    def _leaf(self, scope: Scope, step: Step, binding: Binding) -> Node:
        of_author = job_requirements.of_author(self.setup.settings)
        allowed = (*self.setup.run_requirements, *of_author)
        links, reuse, checkpoint = self.setup.links, self.setup.reuse, self.setup.checkpoint
        setup = StepSetup(step, scope, self.bindings, self.deployments, links, allowed, reuse, checkpoint)
        where, colour = where_it_runs(setup.bound), colour_of(setup.bound)
        doc = step_doc(step, where, self.bindings)
        names = [deployment for deployment, _ in setup.bound]
        queue = _in_queue(queue_of_step(names, self.deployments, self.queue))
        common: dict[str, Any] = {
            "task_id": self._name(step.name), "trigger_rule": self.rule, "doc_md": doc, **queue
        }  # fmt: skip
        common |= self._retries(step.path, *setup.leaves)
        if not step.scatter or scope.in_chunk or binding.scatter == "batch":
            task = HybridOperator(setup=setup, **common)
            task.custom_operator_name, task.ui_color = where, colour
            self._register(task, self._use(setup))
            if _is_plain_tool(step) and _is_always_run(scope):
                self.certain.add(task.task_id)
            self._after(task, self._sources(scope, step))
            self.outlines += outlines_of_task(step, task.task_id, "", self.bindings)
            return Node(step, task.task_id)
        plan = self._plan(scope, step, binding)
        mapped = HybridOperator.partial(setup=setup, map_index_template=JOBS_TEMPLATE, **common).expand(
            chunk=plan.output
        )
        mapped._operator_name, mapped.ui_color = where, colour
        self._register(mapped, self._use(setup))
        self._after(mapped, self._sources(scope, step), plan=plan)
        self.outlines += outlines_of_task(step, mapped.task_id, plan.task_id, self.bindings)
        return Node(step, mapped.task_id, plan_id=plan.task_id)

    def _plan(self, scope: Scope, step: Step, binding: Binding) -> PlanOperator:
        plan = PlanOperator(
            task_id=self._name(f"plan_{step.name}"),
            step=step,
            scope=scope,
            deployments=self.deployments,
            max_mapped=binding.max_mapped,
            in_worker=not StepSetup(step, scope, self.bindings, self.deployments).defers,
            trigger_rule=self.rule,
            doc_md=f"Divides the scatter of `{step.path}` into chunks."
            if step.scatter
            else f"Evaluates `{step.path}`.",
            **self.around,
            **self._retries(),
        )
        self._register(plan, TaskUse(self._values(scope, step), hands_on=True))
        if _is_always_run(scope):
            self.certain.add(plan.task_id)
        self._after(plan, self._sources(scope, step))
        return plan

    def _subworkflow(self, scope: Scope, step: Step, binding: Binding) -> Node:
        assert step.workflow is not None
        plan = None if is_plain(step) else self._plan(scope, step, binding)
        self.outlines.append(outline_of(step, self.bindings, plan_id=plan.task_id if plan else ""))
        inner = Scope(
            self._graph_of(scope, step),
            parent=scope,
            step=step,
            plan_id=plan.task_id if plan else None,
            chunked=bool(step.scatter),
        )
        name = self._name(step.name, below(step))
        if not step.scatter:
            with TaskGroup(group_id=name, tooltip=step.label or step.doc):
                self._scope(inner)
            return Node(step, plan_id=inner.plan_id, scope=inner)
        assert plan is not None

        # as @task_group's expand() does; importing that decorator takes longer than parsing a whole DAG file
        expand = DictOfListsExpandInput({"chunk": plan.output})
        with MappedTaskGroup(expand_input=expand, group_id=name, tooltip=step.label or step.doc or ""):
            self._scope(inner)
        return Node(step, plan_id=plan.task_id, scope=inner)

    def _graph_of(self, scope: Scope, step: Step) -> WorkflowGraph:
        """The graph of a sub-workflow, with the groups of steps that share a task."""
        assert step.workflow is not None
        in_chunk = bool(step.scatter) or scope.in_chunk
        late = late_inputs(step, self._late(scope)) if is_plain(step) else frozenset()
        return self.fusing.graph_of(step.workflow, in_chunk=in_chunk, late=late)

    def _late(self, scope: Scope) -> frozenset[str]:
        if scope.parent is None or scope.step is None or scope.plan_id is not None:
            return frozenset()
        return late_inputs(scope.step, self._late(scope.parent))

    # --- who waits for whom ---------------------------------------------------------------------------------------

    def _sources(self, scope: Scope, step: Step) -> frozenset[str]:
        return self._values(scope, step) | self._origin(scope)

    def _values(self, scope: Scope, step: Step) -> frozenset[str]:
        """Ids of the tasks that publish the values of a step's inputs."""
        return frozenset(t for port in step.inputs for source in port.sources for t in self._tasks_of(scope, source))

    def _origin(self, scope: Scope) -> set[str]:
        """The task that everything in the scope waits for."""
        while scope.plan_id is None and scope.parent is not None:
            scope = scope.parent
        return {scope.plan_id or INPUTS_TASK}

    def _tasks_of(self, scope: Scope, source: Source) -> set[str]:
        """Ids of the tasks that publish the value of ``source``."""
        if source.step is not None:
            return self._tasks_of_output(scope.nodes[source.step], source.port)
        if scope.parent is None:
            return {INPUTS_TASK}
        if scope.plan_id is not None:
            return {scope.plan_id}
        assert scope.step is not None
        port = next((port for port in scope.step.inputs if port.name == source.port), None)
        if port is None:
            return set()
        return {task for outer in port.sources for task in self._tasks_of(scope.parent, outer)}

    def _tasks_of_output(self, node: Node, name: str) -> set[str]:
        if node.scope is None:
            return {task for task in (node.task_id, node.plan_id) if task}
        outputs = [output for output in node.scope.graph.outputs if output.name == name]
        holders = {t for output in outputs for s in output.sources for t in self._tasks_of(node.scope, s)}
        # an output may pass on an input of the sub-workflow: still wait for its steps
        waited_for = holders | self._ends(node)
        if node.plan_id:
            waited_for.add(node.plan_id)
        return waited_for

    def _ends(self, node: Node) -> set[str]:
        if node.scope is None:
            return {node.task_id} if node.task_id else set()
        return {t for inner in node.scope.nodes.values() for t in self._ends(inner)}

    def _after(self, task: Any, upstream: Iterable[str], *, plan: PlanOperator | None = None) -> None:
        """Let a task wait for others.

        :param plan: what it is mapped over, for which Airflow lets it wait by itself.
        """
        known = {plan.task_id} if plan is not None else set()
        needed = self.edges.needed(task.task_id, (set(upstream) | known) - {task.task_id})
        for task_id in needed:
            if task_id not in known:
                task.set_upstream(self.tasks[task_id])
        if plan is None and self.certain.issuperset(needed):
            # if a branch or a gate before the DAG's first task skips that, the scheduler skips this one
            task.trigger_rule = TriggerRule.ALL_SUCCESS

    def _register(self, task: BaseOperator | Any, use: TaskUse) -> None:
        self.tasks[task.task_id] = task
        self.uses[task.task_id] = use

    def _use(self, setup: StepSetup) -> TaskUse:
        return TaskUse(self._values(setup.scope, setup.step), setup.bound, setup.hands_on)

    def _name(self, name: str, contents: Below | None = None) -> str:
        """The id of a new task, or of a group with ``contents``, in the group that is being made."""
        from airflow.sdk.definitions._internal.contextmanager import TaskGroupContext

        group = TaskGroupContext.get_current(self.dag)
        prefix = f"{group.group_id}." if group is not None and group.group_id else ""
        return self.ids.new(prefix, name, contents)


def check_ports(graph: WorkflowGraph, bindings: Iterable[Binding]) -> None:
    """:raises ConfigError: a binding gives a checkpoint to an output that its step does not have."""
    for step in graph.walk():
        binding = bind(bindings, step.path)
        if binding.path != step.path:
            continue
        for port in binding.ports:
            if step.workflow is not None:
                hint = "name the output of the step in it that makes the file"
                problem = f"`checkpoint`: `{step.path}` is a sub-workflow, whose outputs are those of its steps"
                raise ConfigError(problem, where=binding.position, hint=hint)
            if port not in step.outputs:
                known = ", ".join(step.outputs) or "none"
                problem = f"`checkpoint`: step `{step.path}` has no output `{port}`"
                raise ConfigError(problem, where=binding.position, hint=f"its outputs: {known}")


def _in_queue(queue: str | None) -> dict[str, str]:
    """Arguments of a task; without a queue, the DAG's ``default_args`` or Airflow's settings say which it is."""
    return {} if queue is None else {"queue": queue}


def _is_plain_tool(step: Step) -> bool:
    """Whether a step, or each of those that share its task, runs exactly one job, whatever its inputs are."""
    if step.is_group and step.workflow is not None:
        return all(_is_plain_tool(member) for member in step.workflow.steps)
    return step.workflow is None and not (step.when or step.loop or step.scatter)


def _is_always_run(scope: Scope) -> bool:
    """Whether no ``when`` and no scatter decides on the (sub-)workflow that a step is in."""
    return scope.plan_id is None and (scope.parent is None or _is_always_run(scope.parent))
