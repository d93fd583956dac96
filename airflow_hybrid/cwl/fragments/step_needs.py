# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a document says of its steps' jobs before there are any: whether they ask for an image, and for how much."""

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
    """What each job of a tool's step asks for, as far as it is written and not computed.

    :ivar path: of the step; ``position``: ``file:line`` of it.
    :ivar has_image: it names an image.
    :ivar cores, ram_mib: None: it asks for none, or an expression says how many.
    """

    path: str
    position: str
    has_image: bool
    cores: float | None
    ram_mib: float | None


def step_needs(graph: WorkflowGraph, cache_dir: Path | None = None) -> Iterator[StepNeeds]:
    """Of all steps that run a tool, those of sub-workflows included."""
    for step in graph.walk():
        if step.kind != "tool":
            continue
        tool = Fragment.load(read_document(step.document, cache_dir)).process
        if not isinstance(tool, HybridTool):
            continue
        image, _ = tool.get_requirement("DockerRequirement")
        resources, _ = tool.get_requirement("ResourceRequirement")
        yield StepNeeds(
            step.path,
            step.position,
            image is not None,
            _number(resources or {}, "coresMin"),
            _number(resources or {}, "ramMin"),
        )


def _number(requirement: Mapping[str, Any], name: str) -> float | None:
    value = requirement.get(name)
    return float(value) if isinstance(value, int | float) else None
