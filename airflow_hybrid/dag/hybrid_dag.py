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
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from airflow.sdk import DAG, Asset

from airflow_hybrid.config import (
    Deployment,
    check_bindings,
    load_hybrid_file,
    parse_bindings,
    parse_deployments,
    parse_links,
)
from airflow_hybrid.cwl.documents import cache, graphs
from airflow_hybrid.cwl.given.settings import load_inputs
from airflow_hybrid.dag.builder import Builder, Outdirs
from airflow_hybrid.dag.task_ids import dag_id_of
from airflow_hybrid.errors import ConfigError, HybridError
from airflow_hybrid.model import CwlObject, Port, Source, Step, StepInput, WorkflowGraph
from airflow_hybrid.model.locations import is_uri, path_or_uri
from airflow_hybrid.operators.deployments import DeployOperator
from airflow_hybrid.operators.gather.existing import EXISTING, RENAME
from airflow_hybrid.params import params_of, required_inputs

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)


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
        graph = graphs.load_graph(path)
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
        builder = Builder(self, graph, parsed, sites, parse_links(links), settings, settings_base, allowed, reuse)
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
    Builder(DAG("preload", schedule=None, params=params_of(graph, {})), graph, (), {}, None, {}, "/").build(
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


_RUN_ID = "/{{ run_id }}"


def _outdirs(outdir: str | None, further: Sequence[str] = ()) -> Outdirs:
    if outdir is None:
        from airflow.configuration import AIRFLOW_HOME

        outdir = f"{AIRFLOW_HOME}/hybrid_outputs/{{{{ dag.dag_id }}}}{_RUN_ID}"
    elif "{{" not in outdir and "{%" not in outdir:
        outdir = outdir.rstrip("/") + _RUN_ID
    return Outdirs(outdir, (outdir.removesuffix(_RUN_ID) or "/", *further))


def _doc(graph: WorkflowGraph) -> str | None:
    parts = [f"# {graph.label}" if graph.label else "", graph.doc]
    return "\n\n".join(part for part in parts if part) or None
