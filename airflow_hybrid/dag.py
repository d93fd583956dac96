# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""WorkflowGraph -> Airflow DAG.

A leaf step becomes a :class:`HybridOperator`; a sub-workflow a TaskGroup; a scatter dynamic task mapping over chunks
that a small plan task cuts. Airflow cannot nest mapping, so scatters inside a scattered sub-workflow, loops, and
sub-workflows bound with ``fuse: true`` run inside one task, as fragments.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from airflow.sdk import DAG, Asset, TaskGroup
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.taskgroup import MappedTaskGroup

from airflow_hybrid.config import (
    Deployment,
    bind,
    check_bindings,
    load_hybrid_file,
    parse_bindings,
    parse_deployments,
    parse_links,
)
from airflow_hybrid.cwl import cache, job_requirements
from airflow_hybrid.cwl.settings import load_inputs
from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.gather.outdir import EXISTING, RENAME
from airflow_hybrid.lifecycle import Use, add_deployment_tasks
from airflow_hybrid.model import Binding, CwlObject, JsonValue, Port, Source, Step, StepInput, WorkflowGraph
from airflow_hybrid.model.locations import is_uri, path_or_uri
from airflow_hybrid.operators.deployments import DeployOperator
from airflow_hybrid.operators.hybrid import HybridOperator, StepSetup
from airflow_hybrid.operators.inputs import InputsOperator
from airflow_hybrid.operators.outputs import OutputsOperator
from airflow_hybrid.operators.plan import PlanOperator
from airflow_hybrid.operators.provenance import Ground
from airflow_hybrid.operators.values import INPUTS_TASK, OUTPUTS_TASK, Node, Scope
from airflow_hybrid.params import params_of, required_inputs
from airflow_hybrid.task_ids import Below, TaskIds, below, dag_id_of

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

TRIGGER_RULE = "none_failed"
"""a conditional step is skipped and still delivers null, so what comes after it runs"""


def _one_message(function: Callable[P, T]) -> Callable[P, T]:
    """Errors without the inner traceback: Airflow shows its end as import error, and the DAG file's line matters."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except HybridError as error:
            raise error.with_traceback(None) from None

    return wrapped


@_one_message
def load_dags(file: str | os.PathLike[str], namespace: MutableMapping[str, Any], **dag_options: Any) -> list[HybridDag]:
    """Make a DAG of every workflow in a hybrid file and put it into ``namespace`` (``globals()`` of a DAG file).

    :param file: a ``streamflow.yml``; a relative path counts from the DAG file's folder.
    :param dag_options: arguments of :class:`HybridDag`; they go before the file's ``dag`` section.
    :raises ConfigError, CwlError: Airflow shows the message as the file's import error.
    """
    base = Path(str(namespace.get("__file__") or Path.cwd() / "_")).parent
    path = (base / file).resolve()
    hybrid = load_hybrid_file(path)
    for notice in hybrid.notices:
        log.info("%s", notice)
    dags = []
    for name, workflow in hybrid.workflows.items():
        dag = HybridDag(
            workflow.file,
            **{
                "dag_id": name,
                **workflow.dag,
                "bindings": workflow.bindings,
                "deployments": hybrid.deployments,
                "links": hybrid.links,
                "inputs": workflow.settings,
                "reuse": workflow.reuse,
                "source": str(path),
                "fileloc": namespace.get("__file__"),
                **dag_options,
            },
        )
        namespace[re.sub(r"\W", "_", dag.dag_id)] = dag
        dags.append(dag)
    return dags


class HybridDag(DAG):
    """A CWL document as an Airflow DAG.

    :param document: CWL Workflow, CommandLineTool or ExpressionTool (path, or ``path#id``); a relative path counts
        from the folder of the file that calls this.
    :param bindings: as in a hybrid file: ``[{"step": "/train", "target": {"deployment": "hpc"}}]``, or parsed ones.
    :param deployments: as in a hybrid file, by name; ``local`` (this machine) is always there.
    :param inputs: default inputs: a CWL input object, or the path of a file that holds one.
    :param outdir: where the outputs go: a path or an object-store URL, a folder per run in it (or a template with
        ``{{ run_id }}`` in it). Default: ``$AIRFLOW_HOME/hybrid_outputs/<dag_id>/<run_id>``.
    :param outdirs: further folders or URLs of object stores, below which the conf of a run may choose its ``outdir``.
    :param existing_outputs: what becomes of an output under whose name there is something that the run did not make:
        ``rename`` (default; it is called ``name_2``), ``fail``, or ``replace`` (outputs of earlier runs that nobody has
        changed since).
    :param run_requirements: classes of requirements that a run may bring as ``cwl:requirements`` of its inputs, beside
        ResourceRequirement, ToolTimeLimit and WorkReuse; ``any``: all. Most let whoever starts a run execute any code.
    :param reuse: whether jobs take the outputs of the same ones in other runs, where no deployment, binding or conf
        says otherwise; None: only tools whose document asks for it.
    :param dag_id: default: the document's name.
    :param dag_options: any argument of :class:`airflow.sdk.DAG`.
    :raises ConfigError, CwlError: see :mod:`airflow_hybrid.errors`.
    """

    @_one_message
    def __init__(
        self,
        document: str | os.PathLike[str],
        *,
        bindings: Any = (),
        deployments: Any = None,
        links: Any = None,
        inputs: CwlObject | str | os.PathLike[str] | None = None,
        outdir: str | None = None,
        run_requirements: str | Sequence[str] = (),
        outdirs: str | Sequence[str] = (),
        existing_outputs: str = RENAME,
        reuse: bool | None = None,
        dag_id: str | None = None,
        source: str | None = None,
        fileloc: str | None = None,
        **dag_options: Any,
    ) -> None:
        caller = fileloc or _caller()
        path, settings_base, settings = _resolve(document, inputs, caller)
        graph = cache.load_graph(path)
        parsed = parse_bindings(bindings)
        folder = str(Path(caller).parent) if caller else "."
        sites: dict[str, Deployment] = parse_deployments(deployments or {}, base_dir=folder)
        check_bindings(parsed, sites, [step.path for step in graph.walk()], where=source or caller)
        schedule = dag_options.get("schedule")
        if isinstance(schedule, list):
            # a hybrid file names assets by their URIs
            dag_options["schedule"] = [Asset(item) if isinstance(item, str) else item for item in schedule]
        dag_id = dag_id or dag_id_of(graph.name)
        if schedule is not None:
            missing = required_inputs(graph, settings)
            if missing:
                raise ConfigError(
                    f"DAG {dag_id!r} has a schedule, but these inputs have no default: {', '.join(missing)}",
                    where=source or caller,
                    hint="give them in the workflow's `config.settings` file (or `inputs=`), or as defaults in the CWL",
                )
        super().__init__(
            dag_id,
            **{
                "schedule": None,
                "catchup": False,
                "tags": ["cwl"],
                "params": params_of(graph, settings),
                **dag_options,
            },
        )
        if "doc_md" not in dag_options:
            # not by Airflow's own argument or attribute, which take a text that ends in `.md` for the name of a file
            self.__dict__["doc_md"] = _doc(graph)
        if caller:
            self.fileloc = caller
        self.deployments = sites
        self.bindings = parsed
        allowed = [run_requirements] if isinstance(run_requirements, str) else run_requirements
        builder = _Builder(self, graph, parsed, sites, parse_links(links), settings, settings_base, allowed, reuse)
        if existing_outputs not in EXISTING:
            problem = f"`existing_outputs` is {existing_outputs!r}, which is none of {', '.join(EXISTING)}"
            raise ConfigError(problem, where=source or caller)
        further = [outdirs] if isinstance(outdirs, str) else outdirs
        builder.build(_outdirs(outdir, further), existing_outputs)

    def validate_setup_teardown(self) -> None:
        """Airflow's check, but for our own setups.

        It wants only tasks with the rule ``all_success`` behind a setup, so that clearing a task also works where the
        setup is an indirect upstream; for a direct one, as ours are, it does not matter. Our steps have another rule:
        they run when a conditional step before them was skipped.
        """
        ours = [task for task in self.tasks if isinstance(task, DeployOperator)]
        for task in ours:
            task.is_setup = False
        try:
            super().validate_setup_teardown()  # type: ignore[no-untyped-call]
        finally:
            for task in ours:
                task.is_setup = True


def preload() -> None:
    """Build a small DAG, so that forked processes find loaded what Airflow and this module import when one is built."""
    cache.versions()
    port = StepInput("in", (Source(None, "in"),), plain=True)
    step = Step("/step", "tool", (port,), (), document="", scatter=("in",))
    graph = WorkflowGraph("preload", "/", (Port("in", "Any"),), (), (step,))
    _Builder(DAG("preload", schedule=None, params=params_of(graph, {})), graph, (), {}, None, {}, "/").build(
        _outdirs("/")
    )


def _resolve(document: Any, inputs: Any, caller: str | None) -> tuple[str, str, CwlObject]:
    """-> absolute path of the document, folder that default inputs are relative to, the default inputs."""
    base = Path(caller).parent if caller else Path.cwd()
    text = os.fspath(document)
    path = path_or_uri(text) if is_uri(text) else str(base / text)
    if inputs is None or isinstance(inputs, Mapping):
        return path, str(base), dict(inputs or {})
    file = (base / os.fspath(inputs)).resolve()
    return path, str(file.parent), load_inputs(str(file))


def _caller() -> str | None:
    """The DAG file that is being parsed: the first frame outside this module."""
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__") == __name__ and frame.f_back is not None:
        frame = frame.f_back
    file: str | None = frame.f_globals.get("__file__")
    return file


@dataclass(frozen=True)
class _Outdirs:
    """Where outputs go, as templates.

    :ivar run: of one run; ``roots``: below which a run may choose, first the one that ``run`` is in.
    """

    run: str
    roots: tuple[str, ...]


_RUN_ID = "/{{ run_id }}"


def _outdirs(outdir: str | None, further: Sequence[str] = ()) -> _Outdirs:
    if outdir is None:
        from airflow.configuration import AIRFLOW_HOME

        outdir = f"{AIRFLOW_HOME}/hybrid_outputs/{{{{ dag.dag_id }}}}{_RUN_ID}"
    elif "{{" not in outdir and "{%" not in outdir:
        outdir = outdir.rstrip("/") + _RUN_ID
    return _Outdirs(outdir, (outdir.removesuffix(_RUN_ID) or "/", *further))


def _doc(graph: WorkflowGraph) -> str | None:
    parts = [f"# {graph.label}" if graph.label else "", graph.doc]
    return "\n\n".join(part for part in parts if part) or None


class _Builder:
    """Lays out the tasks of one DAG."""

    def __init__(
        self,
        dag: DAG,
        graph: WorkflowGraph,
        bindings: Sequence[Binding],
        deployments: Mapping[str, Deployment],
        links: JsonValue,
        settings: CwlObject,
        settings_base: str,
        run_requirements: Sequence[str] = (),
        reuse: bool | None = None,
    ) -> None:
        self.dag = dag
        self.graph = graph
        self.bindings = tuple(bindings)
        self.deployments = deployments
        self.links = links
        self.settings = settings
        self.settings_base = settings_base
        self.run_requirements = tuple(run_requirements)
        self.reuse = reuse
        self.tasks: dict[str, Any] = {}
        self.uses: dict[str, Use] = {}
        self.ids = TaskIds((INPUTS_TASK, OUTPUTS_TASK))

    def build(self, outdirs: _Outdirs, existing: str = RENAME) -> None:
        ground = Ground(self.deployments, self.bindings, self.settings, self.settings_base, bool(self.reuse))
        root = Scope(self.graph, ground=ground)
        with self.dag:
            self.tasks[INPUTS_TASK] = InputsOperator(
                task_id=INPUTS_TASK,
                graph=self.graph,
                base=self.settings_base,
                settings=self.settings,
                run_requirements=self.run_requirements,
                outdir_roots=outdirs.roots,
                ground=ground,
                doc_md="Checks the run's inputs.",
            )
            self._scope(root)
            outputs = OutputsOperator(
                task_id=OUTPUTS_TASK,
                scope=root,
                deployments=self.deployments,
                links=self.links,
                outdir=outdirs.run,
                outdir_roots=outdirs.roots,
                existing=existing,
                trigger_rule=TRIGGER_RULE,
                doc_md="Brings the outputs to `outdir`.",
            )
            upstream = {t for out in self.graph.outputs for s in out.sources for t in self._tasks_of(root, s)}
            self.uses[outputs.task_id] = Use(reads=frozenset(upstream))
            # also of steps whose outputs nobody asked for: the run has not ended before they have
            upstream |= {t for node in root.nodes.values() for t in self._ends(node)}
            self._after(outputs, upstream | {INPUTS_TASK})
            add_deployment_tasks(self.dag, self.deployments, self.uses, self._name)

    # --- one (sub-)workflow ---------------------------------------------------------------------------------------

    def _scope(self, scope: Scope) -> None:
        for step in scope.graph.steps:
            binding = bind(self.bindings, step.path)
            if step.workflow is None or step.loop or binding.fuse or (step.scatter and scope.in_chunk):
                scope.nodes[step.path] = self._leaf(scope, step, binding)
            else:
                scope.nodes[step.path] = self._subworkflow(scope, step, binding)

    def _leaf(self, scope: Scope, step: Step, binding: Binding) -> Node:
        own = job_requirements.of_author(self.settings)
        allowed = (*self.run_requirements, *own)
        setup = StepSetup(step, scope, self.bindings, self.deployments, self.links, allowed, self.reuse)
        common = {"task_id": self._name(step.name), "trigger_rule": TRIGGER_RULE, "doc_md": _step_doc(step)}
        if not step.scatter or scope.in_chunk or binding.scatter == "batch":
            task = HybridOperator(setup=setup, **common)
            self._register(task, self._use(setup))
            self._after(task, self._sources(scope, step))
            return Node(step, task.task_id)
        plan = self._plan(scope, step, binding)
        mapped = HybridOperator.partial(setup=setup, **common).expand(chunk=plan.output)
        self._register(mapped, self._use(setup))
        self._after(mapped, self._sources(scope, step))
        return Node(step, mapped.task_id, plan_id=plan.task_id)

    def _plan(self, scope: Scope, step: Step, binding: Binding) -> PlanOperator:
        plan = PlanOperator(
            task_id=self._name(f"plan_{step.name}"),
            step=step,
            scope=scope,
            deployments=self.deployments,
            max_mapped=binding.max_mapped,
            in_worker=not StepSetup(step, scope, self.bindings, self.deployments).defers,
            trigger_rule=TRIGGER_RULE,
            doc_md=f"Cuts the scatter of `{step.path}` into chunks." if step.scatter else f"Evaluates `{step.path}`.",
        )
        self._register(plan, Use(self._values(scope, step), hands_on=True))
        self._after(plan, self._sources(scope, step))
        return plan

    def _subworkflow(self, scope: Scope, step: Step, binding: Binding) -> Node:
        assert step.workflow is not None
        loads = any(port.loads_listing or port.loads_contents for port in step.workflow.inputs)
        plain = not step.scatter and not step.when and not loads and all(port.plain for port in step.inputs)
        plan = None if plain else self._plan(scope, step, binding)
        inner = Scope(
            step.workflow,
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

        # what @task_group's expand() makes; importing that decorator takes longer than parsing a whole DAG file
        expand = DictOfListsExpandInput({"chunk": plan.output})
        with MappedTaskGroup(expand_input=expand, group_id=name, tooltip=step.label or step.doc or ""):
            self._scope(inner)
        return Node(step, plan_id=plan.task_id, scope=inner)

    # --- who waits for whom ---------------------------------------------------------------------------------------

    def _sources(self, scope: Scope, step: Step) -> frozenset[str]:
        return self._values(scope, step) | self._origin(scope)

    def _values(self, scope: Scope, step: Step) -> frozenset[str]:
        """Ids of the tasks that hold the values of a step's inputs."""
        return frozenset(t for port in step.inputs for source in port.sources for t in self._tasks_of(scope, source))

    def _origin(self, scope: Scope) -> set[str]:
        """The task without which nothing in the scope starts."""
        while scope.plan_id is None and scope.parent is not None:
            scope = scope.parent
        return {scope.plan_id or INPUTS_TASK}

    def _tasks_of(self, scope: Scope, source: Source) -> set[str]:
        """Ids of the tasks that hold the value of ``source``."""
        if source.step is not None:
            node = scope.nodes[source.step]
            if node.scope is None:
                return {t for t in (node.task_id, node.plan_id) if t}
            outputs = [o for o in node.scope.graph.outputs if o.name == source.port]
            held = {t for out in outputs for s in out.sources for t in self._tasks_of(node.scope, s)}
            # an output may pass an input of the sub-workflow through: wait for its steps all the same
            return held | self._ends(node) | ({node.plan_id} if node.plan_id else set())
        if scope.parent is None:
            return {INPUTS_TASK}
        if scope.plan_id is not None:
            return {scope.plan_id}
        assert scope.step is not None
        port = next((p for p in scope.step.inputs if p.name == source.port), None)
        return {t for s in (port.sources if port else ()) for t in self._tasks_of(scope.parent, s)}

    def _ends(self, node: Node) -> set[str]:
        if node.scope is None:
            return {node.task_id} if node.task_id else set()
        return {t for inner in node.scope.nodes.values() for t in self._ends(inner)}

    def _after(self, task: Any, upstream: Iterable[str]) -> None:
        for task_id in sorted(set(upstream) - {task.task_id}):
            task.set_upstream(self.tasks[task_id])

    def _register(self, task: BaseOperator | Any, use: Use) -> None:
        self.tasks[task.task_id] = task
        self.uses[task.task_id] = use

    def _use(self, setup: StepSetup) -> Use:
        return Use(self._values(setup.scope, setup.step), setup.bound, setup.hands_on)

    def _name(self, name: str, contents: Below | None = None) -> str:
        """The id of a new task, or of a group with ``contents``, in the group that is being made."""
        from airflow.sdk.definitions._internal.contextmanager import TaskGroupContext

        group = TaskGroupContext.get_current(self.dag)
        prefix = f"{group.group_id}." if group is not None and group.group_id else ""
        return self.ids.new(prefix, name, contents)


def _step_doc(step: Step) -> str | None:
    parts = [f"**{step.label}**" if step.label else "", step.doc, f"`{step.path}`"]
    return "\n\n".join(part for part in parts if part)
