# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Runs a document's only step as a task would, without Airflow: the engine, real jobs, real sites."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from airflow_hybrid.config import parse_bindings, parse_deployments
from airflow_hybrid.cwl.documents.cache import read_document
from airflow_hybrid.cwl.documents.compile import compile_document
from airflow_hybrid.cwl.given.run_inputs import validate_inputs
from airflow_hybrid.engine import FragmentExecution, FragmentOutcome, FragmentSpec, TaskIdentity
from airflow_hybrid.model import CwlObject
from airflow_hybrid.sites.closing import close_all


class Log:
    """Keeps what a task's log would show."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: Any, /, *args: Any) -> None:
        self.lines.append(str(event) % args if args else str(event))

    warning = info

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def execute(
    document: Path, given: dict[str, Any], deployments: dict[str, Any], bindings: dict[str, Any], identity: TaskIdentity
) -> tuple[FragmentOutcome, Log]:
    """Run the first step of ``document``; its outcome and its log. Parameters are those of ``spec_of``."""
    return run_spec(spec_of(document, given, deployments, bindings, identity))


def spec_of(
    document: Path, given: dict[str, Any], deployments: dict[str, Any], bindings: dict[str, Any], identity: TaskIdentity
) -> FragmentSpec:
    """The first step of ``document`` as a task.

    :param given: the workflow's inputs, which are taken for the step's; they are read now.
    :param deployments: as in the hybrid file; ``bindings``, too.
    """
    instance = validate_inputs(compile_document(str(document)), given, str(document.parent))
    return spec_within(document, instance, deployments, bindings, identity)


def spec_within(
    document: Path, given: CwlObject, deployments: dict[str, Any], bindings: dict[str, Any], identity: TaskIdentity
) -> FragmentSpec:
    """The same for a step that comes after others: the inputs are outputs of theirs, and taken as they are."""
    graph = compile_document(str(document))
    step = graph.steps[0]
    leaves = (step.path,) if step.workflow is None else tuple(s.path for s in step.workflow.walk() if not s.workflow)
    return FragmentSpec(
        step_path=step.path,
        leaves=leaves,
        document=read_document(step.document),
        instances=(given,),
        bindings=tuple(parse_bindings(bindings)),
        deployments=parse_deployments(deployments),
        identity=identity,
    )


def run_spec(spec: FragmentSpec) -> tuple[FragmentOutcome, Log]:
    """Run a task; its outcome and its log."""
    log = Log()

    async def run() -> FragmentOutcome:
        try:
            return await FragmentExecution(spec, log).run()
        finally:
            await close_all()

    return asyncio.run(run()), log
