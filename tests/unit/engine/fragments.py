# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Fragments of one leaf step, run by the engine on real places, without Airflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_hybrid.config import Deployment, parse_bindings
from airflow_hybrid.cwl.documents.cache import read_document
from airflow_hybrid.cwl.documents.graphs import load_graph
from airflow_hybrid.engine import FragmentExecution, FragmentSpec, TaskIdentity
from airflow_hybrid.model import Binding

TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo "$0" >>"$HOME_RUNS"; echo done']
requirements:
  EnvVarRequirement: {envDef: {HOME_RUNS: $(inputs.runs)}}
  ResourceRequirement: {coresMin: 1}
inputs:
  name: {type: string, inputBinding: {position: 1}}
  runs: string
  file: File?
outputs: {out: stdout}
"""


class Log:
    """A task's log, kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: Any, /, *args: Any) -> None:
        self.lines.append(event % args if args else event)

    warning = info

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def spec(
    folder: Path,
    deployments: Mapping[str, Deployment],
    binding: Mapping[str, Any] | Binding,
    instances: Sequence[Mapping[str, Any]],
    text: str = TOOL,
    **identity: Any,
) -> FragmentSpec:
    """The fragment of a tool, bound as a hybrid file says (without its step), with one job per instance."""
    document = folder / "tool.cwl"
    document.write_text(text)
    graph = load_graph(str(document))
    (step,) = graph.steps
    bound = binding if isinstance(binding, Binding) else parse_bindings([{"step": "/", **binding}])[0]
    return FragmentSpec(
        step.path,
        (step.path,),
        read_document(step.document),
        tuple(dict(instance) for instance in instances),
        (bound,),
        deployments,
        TaskIdentity("dag", "run", "task", **{"origin": "origin", **identity}),
    )


def execution(made: FragmentSpec) -> tuple[FragmentExecution, Log]:
    log = Log()
    return FragmentExecution(made, log), log
