# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""WorkflowGraph -> Airflow DAG.

A leaf step becomes a :class:`HybridOperator`, a sub-workflow a TaskGroup, and a scatter dynamic task mapping over
chunks, made by a small plan task. Airflow cannot nest mapping, so scatters inside a scattered sub-workflow, loops, and
what the user fuses (:mod:`airflow_hybrid.dag.fusing`) run inside one task, as fragments.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from airflow.sdk import DAG, Asset, get_parsing_context

from airflow_hybrid.config import (
    HybridFile,
    check_bindings,
    check_checkpoint,
    load_hybrid_file,
    parse_bindings,
    parse_deployments,
    parse_links,
)
from airflow_hybrid.config.values import report_formats
from airflow_hybrid.cwl.documents import cache, graphs
from airflow_hybrid.cwl.given.settings import load_inputs
from airflow_hybrid.dag.builder import DagBuilder, WorkflowSetup
from airflow_hybrid.dag.docs import dag_doc
from airflow_hybrid.dag.outdirs import outdirs_of
from airflow_hybrid.dag.queues import check_queues
from airflow_hybrid.dag.retries import recovery_of
from airflow_hybrid.dag.rules import check_fail_fast
from airflow_hybrid.dag.task_ids import dag_id_of
from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.model import CHAINS, CwlObject, Port, Source, Step, StepInput, WorkflowGraph
from airflow_hybrid.model.locations import is_uri, path_or_uri
from airflow_hybrid.model.requirements import ANY, REQUIREMENTS
from airflow_hybrid.model.templates import holds_template, syntax_problem
from airflow_hybrid.operators.deployments import DeployOperator
from airflow_hybrid.operators.gather.existing import EXISTING, RENAME
from airflow_hybrid.operators.published.assets import OutputAsset, parse_assets
from airflow_hybrid.operators.templates import references_in, tasks_in_words
from airflow_hybrid.params import params_of, required_inputs
from airflow_hybrid.printable import shortened

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)


def _one_message(function: Callable[P, T]) -> Callable[P, T]:
    """Errors without the inner traceback: Airflow shows the end of a traceback, which should be the DAG file's line."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except HybridError as error:
            raise error.with_traceback(None) from None

    return wrapped


@_one_message
def load_dags(file: str | os.PathLike[str], namespace: MutableMapping[str, Any], **dag_options: Any) -> list[HybridDag]:
    """Make a DAG from every workflow in a hybrid file and put it into ``namespace`` (``globals()`` of a DAG file).

    :param file: a ``streamflow.yml``; a relative path starts at the DAG file's folder.
    :param dag_options: arguments of :class:`HybridDag`; they take precedence over the file's ``dag`` section
        (``default_args`` one by one).
    :raises ConfigError, CwlError: Airflow shows the message as the file's import error.
    """
    base = Path(str(namespace.get("__file__") or Path.cwd() / "_")).parent
    path = (base / file).resolve()
    hybrid = load_hybrid_file(path)
    for notice in hybrid.notices:
        log.info("%s", notice)
    dags = [dag_of(hybrid, name, namespace.get("__file__"), dag_options) for name in hybrid.workflows]
    for dag in dags:
        namespace[re.sub(r"\W", "_", dag.dag_id)] = dag
    return dags


def dag_of(
    hybrid: HybridFile, name: str, fileloc: str | None = None, dag_options: Mapping[str, Any] | None = None
) -> HybridDag:
    """The DAG of a workflow of a hybrid file: see :func:`load_dags`.

    :param fileloc: the DAG file.
    """
    workflow, options = hybrid.workflows[name], dag_options or {}
    return HybridDag(
        workflow.file,
        **{
            "dag_id": name,
            **workflow.dag,
            "bindings": workflow.bindings,
            "deployments": hybrid.deployments,
            "links": hybrid.links,
            "inputs": workflow.settings,
            "reuse": workflow.reuse,
            "fuse": workflow.fuse,
            "provenance": workflow.provenance,
            "report": workflow.report,
            "checkpoint": workflow.checkpoint,
            "recovery": {"replay": workflow.replays or "off"},
            "source": hybrid.path,
            "source_text": hybrid.shown,
            "fileloc": fileloc,
            **options,
            "default_args": {**workflow.dag.get("default_args", {}), **(options.get("default_args") or {})},
        },
    )


class HybridDag(DAG):
    """A CWL document as an Airflow DAG.

    :param document: CWL Workflow, CommandLineTool or ExpressionTool (path, or ``path#id``); a relative path starts
        at the folder of the calling file.
    :param bindings: as in a hybrid file: ``[{"step": "/train", "target": {"deployment": "hpc"}}]``, or parsed ones.
    :param deployments: as in a hybrid file, by name; ``local`` (this machine) always exists.
    :param inputs: default inputs: a CWL input object, or the path of a file with one. Its strings may be
        templates, which are rendered for each run (docs/how-to/dates.md), and its values what other tasks return
        (``{"threshold": task.output}``, docs/how-to/other-tasks.md).
    :param outdir: where the outputs go: a path or an object-store URL, a folder per run in it (or a template with
        ``{{ run_id }}`` in it). Default: ``$AIRFLOW_HOME/hybrid_outputs/<dag_id>/<run_id>``.
    :param outdirs: further folders or URLs of object stores; the conf of a run may choose its ``outdir`` below them.
    :param existing_outputs: what to do with an output if something that the run did not make has its name: ``rename``
        (default; the output is called ``name_2``), ``fail``, or ``replace`` (unchanged outputs of earlier runs).
    :param run_requirements: classes of requirements that a run may set as ``cwl:requirements`` of its inputs, besides
        ResourceRequirement, ToolTimeLimit and WorkReuse; ``any``: all. Most of them let the person who starts a run
        execute any code.
    :param reuse: whether jobs reuse the outputs of the same jobs in other runs, unless a deployment, binding or conf
        says otherwise; None: only for tools whose document asks for it.
    :param fuse: ``"chains"``: steps that follow each other on the same target are one task, unless a deployment or
        binding says otherwise (docs/how-to/fuse.md).
    :param provenance: whether a record of each run that succeeds is written beside its outputs, as
        ``provenance.crate.zip`` (docs/how-to/provenance.md).
    :param report: whether a report about each run that succeeds is written beside its outputs, as ``run-report.html``,
        ``.json`` and ``.csv``, or the formats of it: ``["html", "pdf"]`` (docs/how-to/reports.md).
    :param recovery: ``{"replay": 2}``: how often a job is run again in a run because its outputs are gone or were
        changed before a later step has read them; ``"off"``: never (docs/how-to/recovery.md).
    :param checkpoint: the deployment that finished outputs are copied to (docs/how-to/checkpoints.md).
    :param assets: Airflow Assets of outputs, by their names: a URI (which may be a template), ``{"name": ..., "uri":
        ..., "partition": ...}`` or an Asset. They get an event when a run has succeeded.
    :param dag_id: default: the document's name.
    :param dag_options: any argument of :class:`airflow.sdk.DAG`. ``params`` are added to those of the inputs. Default
        of ``doc_md``: what the document says of itself, its inputs and outputs, and its text.
    :raises ConfigError, CwlError: see :mod:`airflow_hybrid.errors`.
    """

    @_one_message
    def __init__(  # noqa: PLR0913 - what users write, by name
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
        fuse: bool | str | None = None,
        provenance: bool = False,
        report: bool | Sequence[str] = False,
        recovery: Mapping[str, Any] | None = None,
        checkpoint: Any = None,
        assets: Mapping[str, Any] | None = None,
        dag_id: str | None = None,
        source: str | None = None,
        source_text: str = "",
        fileloc: str | None = None,
        **dag_options: Any,
    ) -> None:
        caller = fileloc or _caller()
        where = source or caller
        path, settings_base, settings = _resolve(document, inputs, caller)
        from_tasks, graph = references_in(settings), graphs.load_graph(path)
        dag_id = dag_id or dag_id_of(graph.name)
        folders = outdirs_of(outdir, _listed(outdirs), existing_outputs, dag_options.get("user_defined_macros"))
        setup = WorkflowSetup(
            graph=graph,
            outdirs=replace(folders, record=provenance, report=report_formats(report)),
            **(_where_it_runs(bindings, deployments, links, caller) | recovery_of(recovery, checkpoint, where)),
            settings={name: value for name, value in settings.items() if name not in from_tasks},
            settings_base=settings_base,
            from_tasks=from_tasks,
            run_requirements=_listed(run_requirements),
            reuse=reuse,
            fuse=fuse,
            assets=_assets(assets, graph, dag_id, where),
            hybrid_file=source or "",
        )
        _check(setup, dag_id, where, dag_options)
        super().__init__(dag_id, **_with_defaults(dag_options, setup, where))
        _check_templates(setup, self, where)
        self._describe(_doc(setup, source or "", source_text), dag_options)
        self.fileloc, self.deployments, self.bindings = caller or self.fileloc, setup.deployments, setup.bindings
        DagBuilder(self, setup).build()

    def _describe(self, doc: str | None, dag_options: Mapping[str, Any]) -> None:
        if "doc_md" not in dag_options:
            # not by Airflow's attribute: to it, a text that ends in `.md` is a file's name
            self.__dict__["doc_md"] = doc

    def validate_setup_teardown(self) -> None:
        """Airflow's check, except for our own setups.

        Airflow allows only tasks with the rule ``all_success`` after a setup, so that clearing a task also works if the
        setup is an indirect upstream task. Our setups are direct upstream tasks, for which it does not matter. Our
        steps have another rule: they also run if a conditional step before them was skipped.
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
    """Build a small DAG: forked processes then have the modules loaded that are imported when a DAG is built."""
    cache.versions()
    port = StepInput("in", (Source(None, "in"),), plain=True)
    step = Step("/step", "tool", (port,), (), document="", scatter=("in",))
    graph = WorkflowGraph("preload", "/", (Port("in", "Any"),), (), (step,))
    dag = DAG("preload", schedule=None, params=params_of(graph, {}))
    DagBuilder(dag, WorkflowSetup(graph, outdirs_of("/"))).build()


def _check_names(setup: WorkflowSetup, where: str | None) -> None:
    """:raises ConfigError: bindings name something that does not exist, or a keyword is unknown."""
    steps = [step.path for step in setup.graph.walk()]
    check_bindings(setup.bindings, setup.deployments, steps, where=where)
    check_checkpoint(setup.checkpoint, setup.deployments, where=where)
    leaves = [step.path for step in setup.graph.walk() if step.workflow is None]
    check_queues(setup.bindings, setup.deployments, leaves, where)
    names = [port.name for port in setup.graph.inputs]
    for name, reference in setup.from_tasks.items():
        if name not in names:
            raise ConfigError(
                f"`inputs` has the value of {tasks_in_words(reference)} for {name!r}, which is not an input",
                where=where,
                hint=f"the inputs of this workflow are: {', '.join(names) or 'none'}",
            )
    for requirement in setup.run_requirements:
        if requirement not in (ANY, *REQUIREMENTS):
            from airflow_hybrid.config.reading.messages import choices

            problem = f"`run_requirements`: CWL has no requirement `{requirement}`"
            raise ConfigError(problem, where=where, hint=choices(requirement, (ANY, *REQUIREMENTS)))
    if setup.outdirs.existing not in EXISTING:
        problem = f"`existing_outputs` is {setup.outdirs.existing!r}, but must be one of {', '.join(EXISTING)}"
        raise ConfigError(problem, where=where)
    if setup.fuse not in (CHAINS, False, None):
        problem = f"`fuse` is {setup.fuse!r}, but must be {CHAINS!r} or False"
        hint = "`fuse: true` is for the binding of a sub-workflow that runs as one task" if setup.fuse is True else None
        raise ConfigError(problem, where=where, hint=hint)


def _where_it_runs(bindings: Any, deployments: Any, links: Any, caller: str | None) -> dict[str, Any]:
    """The parsed bindings, deployments and links of a DAG."""
    base_dir = str(Path(caller).parent) if caller else "."
    return {
        "bindings": parse_bindings(bindings),
        "deployments": parse_deployments(deployments or {}, base_dir=base_dir),
        "links": parse_links(links),
    }


def _assets(
    assets: Mapping[str, Any] | None, graph: WorkflowGraph, dag_id: str, where: str | None
) -> tuple[OutputAsset, ...]:
    """:raises ConfigError: an asset is of no output, or is none."""
    try:
        return parse_assets(assets or {}, [output.name for output in graph.outputs], dag_id)
    except ConfigError as error:
        error.where = error.where or where
        raise


def _check_templates(setup: WorkflowSetup, dag: DAG, where: str | None) -> None:
    """:raises ConfigError: Jinja cannot read what is to be rendered for each run."""
    texts: list[tuple[str, Any]] = [("`outdir`", setup.outdirs.run)]
    texts += [("`outdirs`", list(setup.outdirs.roots[1:]))]
    texts += [
        (f"`assets`: output {asset.output!r}", [asset.name, asset.uri, asset.partition]) for asset in setup.assets
    ]
    texts += [(f"input {port.name!r}", setup.settings.get(port.name)) for port in setup.graph.inputs]
    with_templates = [(what, value) for what, value in texts if holds_template(value)]
    if not with_templates:
        return
    environment = dag.get_template_env(force_sandboxed=True)
    for what, value in with_templates:
        if problem := syntax_problem(value, environment):
            raise ConfigError(f"{what}: {problem}", where=where)


def _check(setup: WorkflowSetup, dag_id: str, where: str | None, dag_options: Mapping[str, Any]) -> None:
    """:raises ConfigError: there is no such step, keyword and the like, a scheduled run would lack inputs, or it is
    `fail_fast` that the document does not allow.
    """
    _check_names(setup, where)
    check_fail_fast(setup.graph, dag_options, where)
    if dag_options.get("schedule") is None:
        return
    missing = required_inputs(setup.graph, {**setup.settings, **setup.from_tasks})
    if missing:
        raise ConfigError(
            f"DAG {dag_id!r} has a schedule, but these inputs have no default: {', '.join(missing)}",
            where=where,
            hint="give them in the workflow's `config.settings` file (or `inputs=`), or as defaults in the CWL",
        )


def _with_defaults(dag_options: Mapping[str, Any], setup: WorkflowSetup, where: str | None) -> dict[str, Any]:
    """The arguments of Airflow's DAG: our defaults, then the user's."""
    from_tasks = {name: tasks_in_words(value) for name, value in setup.from_tasks.items()}
    options = {
        "schedule": None,
        "catchup": False,
        "tags": ["cwl"],
        "description": " ".join(setup.graph.label.split()) or None,
        **dag_options,
        "params": {**params_of(setup.graph, setup.settings, from_tasks), **(dag_options.get("params") or {})},
    }
    schedule = options["schedule"]
    if isinstance(schedule, list):
        options["schedule"] = [_scheduled(item, setup, where) for item in schedule]
    return options


def _scheduled(item: Any, setup: WorkflowSetup, where: str | None) -> Any:
    """What starts a run: a hybrid file names assets by their URIs, and files by where they will appear."""
    if isinstance(item, str):
        return _asset(item, where)
    if isinstance(item, Mapping):
        from airflow_hybrid.operators.published.watched import watched_files

        return watched_files(item, setup.deployments, where)
    return item


def _asset(uri: str, where: str | None) -> Asset:
    try:
        return Asset(uri)
    except ValueError as error:
        problem = f"`schedule`: no asset can be {shortened(uri, 200)}: {error}"
        raise ConfigError(problem, where=where) from None


def _listed(value: str | Sequence[str]) -> tuple[str, ...]:
    """A single item instead of a list of one."""
    return (value,) if isinstance(value, str) else tuple(value)


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


def _doc(setup: WorkflowSetup, hybrid_file: str, hybrid_text: str) -> str | None:
    """The DAG's documentation; None in a task's process, where nobody reads it."""
    if get_parsing_context().task_id is not None:
        return None
    of_tasks = {name: f"what {tasks_in_words(value)} returns" for name, value in setup.from_tasks.items()}
    return dag_doc(setup.graph, {**setup.settings, **of_tasks}, hybrid_file, hybrid_text)
