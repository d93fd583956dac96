# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Runs CWL documents with the engine, without Airflow: step by step, each as the fragment that its task would run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_hybrid.config import Deployment
from airflow_hybrid.cwl.documents.cache import read_document
from airflow_hybrid.cwl.documents.graphs import load_graph
from airflow_hybrid.cwl.given import run_inputs
from airflow_hybrid.cwl.values import inputs as ports
from airflow_hybrid.engine import FragmentExecution, FragmentSpec, TaskIdentity
from airflow_hybrid.model import Binding, CwlObject, Source, Step, Target
from airflow_hybrid.operators.gather.gathering import gather
from airflow_hybrid.operators.gather.rules import OutputRules
from airflow_hybrid.sites.closing import close_all


@dataclass
class Bench:
    """Documents, and a deployment that they run on.

    :ivar deployments: by name; all steps are bound to ``target``.
    """

    root: Path
    deployments: Mapping[str, Deployment]
    target: Target
    run_id: str = "run"
    runtime: str = ""
    runs: int = 0
    executions: list[FragmentExecution] = field(default_factory=list)

    def write(self, text: str, name: str = "main.cwl") -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def run(self, document: str, inputs: CwlObject | None = None, **more: Any) -> CwlObject:
        """Run a document (a path, or its text); -> its outputs, as files of this machine."""
        return asyncio.run(self.go(document, inputs or {}, **more))

    async def go(self, document: str, inputs: CwlObject, identity: str | None = None) -> CwlObject:
        self.runs += 1
        path = document if "\n" not in document else self.write(document)
        graph = load_graph(path)
        given = run_inputs.validate_inputs(graph, inputs, str(Path(path).parent))
        values: dict[Source, Any] = {Source(None, n): v for n, v in ports.scope_inputs(graph, given).items()}
        try:
            for step in graph.steps:
                spec = self.spec(step, ports.resolve_step_inputs(step, values, None), identity)
                self.executions.append(FragmentExecution(spec))
                outcome = await self.executions[-1].run()
                values.update({Source(step.path, n): v for n, v in outcome.results[0].outputs.items()})
            outputs = ports.resolve_outputs(graph, values)
            log = logging.getLogger(__name__)
            return (await gather(outputs, str(self.root / "outputs"), self.deployments, None, OutputRules(log)))[0]
        finally:
            await close_all()

    def spec(self, step: Step, inputs: CwlObject, identity: str | None = None) -> FragmentSpec:
        inner = step.workflow.walk() if step.workflow is not None else [step]
        return FragmentSpec(
            step_path=step.path,
            leaves=tuple(s.path for s in inner if s.workflow is None),
            document=read_document(step.document),
            instances=(inputs,),
            bindings=(Binding("/", (self.target,)),),
            deployments=self.deployments,
            identity=TaskIdentity("dag", f"{self.run_id}{self.runs}", identity or step.name, origin="origin"),
        )


def text_of(file: Mapping[str, Any]) -> str:
    """Content of an output file."""
    return Path(file["location"].removeprefix("file://")).read_text()
