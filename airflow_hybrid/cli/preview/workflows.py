# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The workflows that a command names: those of a hybrid file, a CWL document, or a DAG that Airflow knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.config import Bindings, Deployment, Link, bind
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import LOCAL_DEPLOYMENT, AskedResources, Step, Target, WorkflowGraph
from airflow_hybrid.printable import printable

_FILES = (".yml", ".yaml", ".cwl", ".json")


@dataclass(frozen=True)
class Shown:
    """A workflow with its bindings.

    :ivar inputs: of its inputs file; ``targets``: by step path, where a DAG says them, and ``resources`` likewise.
    """

    name: str
    graph: WorkflowGraph
    bindings: Bindings = field(default_factory=Bindings)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    links: Sequence[Link] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    resources: Mapping[str, AskedResources] = field(default_factory=dict)

    def places(self, step: Step) -> tuple[Target, ...]:
        """Where the jobs of a step may run."""
        return self.targets.get(step.path) or bind(self.bindings, step.path).targets

    def asked(self, step: Step) -> AskedResources:
        """What its binding says that its jobs ask for."""
        return self.resources.get(step.path) or bind(self.bindings, step.path).resources or AskedResources()

    def storage(self, deployment: str) -> str:
        """Name of the deployment that has the files of jobs at a deployment."""
        seen = {deployment}
        while (known := self.deployments.get(deployment)) and known.wraps and known.wraps not in seen:
            deployment = known.wraps
            seen.add(deployment)
        return deployment

    def is_here(self, deployment: str) -> bool:
        """Whether its files are on this machine."""
        known = self.deployments.get(self.storage(deployment))
        return known.type == "local" if known is not None else deployment == LOCAL_DEPLOYMENT


def shown_workflows(name: str) -> list[Shown]:
    """The workflows that a name stands for.

    :param name: a file, or the id of a DAG.
    :raises HybridError: it is neither, or it cannot be read.
    """
    file = name.partition("#")[0]
    if file.endswith((".yml", ".yaml")):
        return _of_hybrid_file(name)
    if file.endswith(_FILES) or "/" in file:
        from airflow_hybrid.cwl.documents.graphs import load_graph

        graph = load_graph(name)
        return [Shown(graph.name, graph)]
    return [_of_dag(name)]


def _of_hybrid_file(name: str) -> list[Shown]:
    from airflow_hybrid.cli.judging import judge
    from airflow_hybrid.cwl.given.settings import load_inputs

    judged = judge(name)
    shown = []
    for workflow_name, graph in judged.graphs.items():
        workflow = judged.hybrid.workflows[workflow_name]
        inputs = load_inputs(workflow.settings) if workflow.settings else {}
        bindings = Bindings(workflow.bindings)
        shown.append(Shown(workflow_name, graph, bindings, judged.hybrid.deployments, judged.hybrid.links, inputs))
    return shown


def _of_dag(dag_id: str) -> Shown:
    from airflow.utils.session import create_session

    from airflow_hybrid.cwl.documents.graphs import load_graph
    from airflow_hybrid.runs.outline import links_of, outline_of_dag

    with create_session() as session:
        outline = outline_of_dag(session, dag_id)
    try:
        graph = load_graph(outline.document)
    except HybridError as error:
        error.hint = error.hint or f"the document of DAG {printable(dag_id)} must be on this machine"
        raise
    deployments = {name: Deployment.from_json(value) for name, value in outline.deployments.items()}
    targets = {step.path: step.targets for step in outline.steps if step.targets}
    resources = {step.path: step.asked for step in outline.steps if step.asked is not None}
    return Shown(dag_id, graph, Bindings(), deployments, links_of(outline), {}, targets, resources)
