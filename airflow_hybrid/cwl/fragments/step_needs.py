# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The needs of a document's steps before there are jobs: whether they ask for an image, and for which resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_hybrid.cwl.documents.cache import read_document
from airflow_hybrid.cwl.fragments.fragment import Fragment
from airflow_hybrid.cwl.jobs.runtime import HybridTool
from airflow_hybrid.model import WorkflowGraph


@dataclass(frozen=True)
class StepNeeds:
    """The needs of each job of a tool's step, as far as they are constants.

    :ivar path: of the step; ``position``: ``file:line`` of it.
    :ivar has_image: it names an image.
    :ivar cores, ram_mib: None: it asks for none, or an expression computes them.
    :ivar time_limit_s: None: it has none, or an expression computes it.
    """

    path: str
    position: str
    has_image: bool
    cores: float | None
    ram_mib: float | None
    time_limit_s: float | None = None


def step_needs(graph: WorkflowGraph, cache_dir: Path | None = None) -> Iterator[StepNeeds]:
    """The needs of all steps that run a tool, including those of sub-workflows."""
    for step in graph.walk():
        if step.kind != "tool":
            continue
        tool = Fragment.load(read_document(step.document, cache_dir)).process
        if not isinstance(tool, HybridTool):
            continue
        image, _ = tool.get_requirement("DockerRequirement")
        resources, _ = tool.get_requirement("ResourceRequirement")
        limit, _ = tool.get_requirement("ToolTimeLimit")
        yield StepNeeds(
            step.path,
            step.position,
            image is not None,
            _number(resources or {}, "coresMin"),
            _number(resources or {}, "ramMin"),
            _number(limit or {}, "timelimit"),
        )


def _number(requirement: Mapping[str, Any], name: str) -> float | None:
    value = requirement.get(name)
    return float(value) if isinstance(value, int | float) else None
