# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The compiled workflow and its bindings: everything needed to parse a DAG file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_hybrid.model.failure_rules import FailureRule
from airflow_hybrid.model.values import JsonValue

REPLAYS = 2
"""how often a job whose outputs are lost is run again in a run, by default"""
MOST_REPLAYS = 100
KEPT_S = 30 * 24 * 3600.0
"""how long a checkpoint is kept, by default"""
CHAINS = "chains"
"""Value of ``fuse``: steps that follow each other on the same target are one task."""


@dataclass(frozen=True)
class Target:
    """One target of a binding: a deployment and, if it has several, a service of it."""

    deployment: str
    service: str | None = None
    workdir: str | None = None
    locations: int = 1


@dataclass(frozen=True)
class RetryCodes:
    """Which failed jobs of a step are run again where retries are left, by exit code.

    :ivar codes: these are, and no others but those that the document declares as temporary; empty: all others, too.
    :ivar never: these are not.
    """

    codes: tuple[int, ...] = ()
    never: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> RetryCodes | None:
        return None if value is None else cls(tuple(value["codes"]), tuple(value["never"]))


@dataclass(frozen=True)
class AskedResources:
    """What the jobs of a step ask for in place of what the document says; None: as the document says."""

    cores: float | None = None
    ram_mib: int | None = None
    walltime_s: int | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> AskedResources | None:
        return None if value is None else cls(**value)

    def or_else(self, other: AskedResources | None) -> AskedResources:
        """With the values of another one where this one has none."""
        if other is None:
            return self
        values = {name: getattr(other, name) if value is None else value for name, value in vars(self).items()}
        return AskedResources(**values)

    @property
    def values(self) -> dict[str, float]:
        """Those that it has, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Checkpoint:
    """Where finished outputs of jobs are copied to while the run goes on.

    :ivar target: name of a deployment, or URL of an object store; empty: they are not copied.
    :ivar expire_s: how long a copy is kept after it was last asked for; None: for good.
    """

    target: str
    expire_s: float | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Checkpoint | None:
        return None if value is None else cls(value["target"], value["expire_s"])

    def to_json(self) -> JsonValue:
        return dict(vars(self))


@dataclass(frozen=True)
class Binding:
    """Where the jobs of a step may run, and how its scatter is divided.

    :ivar path: step path (``/train``, ``/`` for all); the longest matching prefix wins.
    """

    path: str
    targets: tuple[Target, ...]
    scatter: str | None = None
    """``batch``: a leaf's whole scatter is one batch"""
    max_mapped: int | None = None
    """maximum number of tasks for one scatter; None: :func:`airflow_hybrid.operators.plan.most_chunks`"""
    fuse: bool | str | None = None
    """True: a sub-workflow runs as one task; :data:`CHAINS`, False: whether chains of steps do; None: as the
    deployment or the workflow says"""
    max_iterations: int = 1000
    """limit of one loop; more iterations are an error"""
    reuse: bool | None = None
    """whether outputs of other runs are reused (CWL WorkReuse); None: as the deployment or the workflow says"""
    logs: str | None = None
    """``tail``: the task's log shows the end of its jobs' stderr, even of successful ones"""
    retries: int | None = None
    """how often failed jobs are run again; None: as the DAG says"""
    retry_delay_s: float | None = None
    """time between two tries; None: as the DAG says"""
    retry: RetryCodes | None = None
    """which failed jobs are run again; None: as the document says, else all"""
    on: tuple[FailureRule, ...] = ()
    """which failed jobs are submitted again in the same try, and what they ask for then"""
    resources: AskedResources | None = None
    """what its jobs ask for in place of what the document says"""
    checkpoint: Checkpoint | None = None
    """where its outputs are copied to; None: as the workflow says"""
    ports: Mapping[str, Checkpoint] = field(default_factory=dict)
    """where single outputs are copied to, by their names; only of the step at this very path"""
    policy: str | None = None
    policy_config: Mapping[str, Any] = field(default_factory=dict)
    containers: JsonValue = None
    """``{runtime, options}`` of the step's containers; None: those of the deployment"""
    filters: tuple[Mapping[str, Any], ...] = ()
    """StreamFlow's binding filters, in their order: ``{name, type: shuffle | matching, config}``"""
    position: str = field(default="", compare=False)
    """``file:line: YAML path`` of the binding, for messages"""

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Binding:
        return cls(
            **{
                **value,
                "targets": tuple(Target(**t) for t in value["targets"]),
                "filters": tuple(value.get("filters", ())),
                "retry": RetryCodes.from_json(value.get("retry")),
                "on": tuple(map(FailureRule.from_json, value.get("on", ()))),
                "resources": AskedResources.from_json(value.get("resources")),
                "checkpoint": Checkpoint.from_json(value.get("checkpoint")),
                "ports": {port: Checkpoint(**checkpoint) for port, checkpoint in value.get("ports", {}).items()},
            }
        )


# --- the compiled workflow --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Port:
    """A workflow input: name, CWL type as resolved JSON, and its description in the trigger form."""

    name: str
    type: JsonValue
    doc: str = ""
    label: str = ""
    default: JsonValue = None
    has_default: bool = False
    document: JsonValue = None
    """the whole input parameter (secondaryFiles, format, loadContents ...), as resolved JSON"""

    @property
    def loads_listing(self) -> bool:
        """Whether the workflow itself lists the input's Directories (``loadListing``, CWL v1.2 Workflow 5.1.3)."""
        return _has(self.document, "loadListing", ("shallow_listing", "deep_listing"))

    @property
    def loads_contents(self) -> bool:
        """Whether the workflow itself reads the input's Files (``loadContents``)."""
        return _has(self.document, "loadContents", (True,))


def _has(document: JsonValue, key: str, values: tuple[JsonValue, ...]) -> bool:
    """Whether a parameter, or a field of its record type, sets ``key`` to one of ``values``."""
    if isinstance(document, list):
        return any(_has(item, key, values) for item in document)
    if not isinstance(document, dict):
        return False
    if document.get(key) in values:
        return True
    return any(_has(document.get(part), key, values) for part in ("type", "items", "fields"))


@dataclass(frozen=True)
class Source:
    """A port's source: output ``port`` of the step at path ``step``; without a step, a workflow input."""

    step: str | None
    port: str


@dataclass(frozen=True)
class StepInput:
    """A step's input port, with the sources it reads.

    Sources refer to the step's scope: in a sub-workflow, ``step`` None means an input of that sub-workflow.
    """

    name: str
    sources: tuple[Source, ...] = ()
    document: JsonValue = None
    """the step's ``in`` entry as resolved JSON (linkMerge, pickValue, default, valueFrom, loadContents ...)"""
    plain: bool = False
    """only one source: the value passes unchanged (and the types need no merging)"""


@dataclass(frozen=True)
class Step:
    """A node of the workflow: a leaf (``tool`` or ``expression``) or a sub-workflow.

    :ivar path: ``/variant/train``
    :ivar document: key (SHA-256) of a self-contained CWL document in the compile cache: a Workflow of this one
        step, whose inputs are the step's input ports *before* scatter, ``valueFrom`` and ``when`` and after
        linkMerge/pickValue/default; ``cwl.fragment.Fragment`` runs it. A workflow step's document holds the
        whole sub-workflow.
    :ivar tool_doc: documentation of what it runs, where that is a tool of its own
    :ivar needs: what its jobs ask for (container, resources), a line of Markdown each
    :ivar workflow: the sub-workflow's graph, for a step that is one
    :ivar one_task: a sub-workflow that is one task; without a ``document`` it is a group of steps that share a task
    :ivar varies: an expression that may have another value each time it is evaluated (time, chance)
    """

    path: str
    kind: str
    inputs: tuple[StepInput, ...]
    outputs: tuple[str, ...]
    document: str
    label: str = ""
    doc: str = ""
    tool_doc: str = ""
    needs: tuple[str, ...] = ()
    scatter: tuple[str, ...] = ()
    scatter_method: str | None = None
    when: bool = False
    loop: bool = False
    workflow: WorkflowGraph | None = None
    one_task: bool = False
    varies: bool = False
    position: str = ""
    """``file:line`` of the step, for messages"""

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[1]

    @property
    def leaves(self) -> list[Step]:
        """The steps in it that run a tool, or itself."""
        return [self] if self.workflow is None else [s for s in self.workflow.walk() if s.workflow is None]

    @property
    def is_group(self) -> bool:
        """Whether it stands for several steps that share a task."""
        return not self.document and self.workflow is not None

    @property
    def dimensions(self) -> int:
        """Dimensions of the scatter: one per port for cross products, else one."""
        return len(self.scatter) if "crossproduct" in str(self.scatter_method) else 1


@dataclass(frozen=True)
class WorkflowOutput:
    """A workflow output: its type and sources, and the output parameter (linkMerge, pickValue ...) as resolved JSON."""

    name: str
    type: JsonValue
    sources: tuple[Source, ...]
    document: JsonValue = None


@dataclass(frozen=True)
class WorkflowGraph:
    """A compiled CWL document, from which the DAG is built. Steps are in topological order.

    A CommandLineTool or ExpressionTool at top level is a graph of one step with the tool's own name.
    """

    name: str
    path: str
    """``/`` for the top level, else the path of the step that it is"""
    inputs: tuple[Port, ...]
    outputs: tuple[WorkflowOutput, ...]
    steps: tuple[Step, ...]
    doc: str = ""
    label: str = ""
    source: str = ""
    """path or URI of the top-level document"""
    fragment: str = ""
    """id of the process that was picked in it; ``""``: its only one, or ``main``"""
    files: tuple[str, ...] = ()
    """every source file of the graph, for the cache key"""
    requirements: JsonValue = None
    cwl_version: str = "v1.2"
    """of the top-level document"""
    single: bool = False
    """a CommandLineTool or ExpressionTool at top level"""

    def walk(self) -> list[Step]:
        """All steps, including those of sub-workflows, outermost first."""
        steps: list[Step] = []
        for step in self.steps:
            steps.append(step)
            if step.workflow is not None:
                steps.extend(step.workflow.walk())
        return steps

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WorkflowGraph:
        return cls(
            **{
                **value,
                "inputs": tuple(Port(**p) for p in value["inputs"]),
                "outputs": tuple(
                    WorkflowOutput(**{**o, "sources": tuple(Source(**s) for s in o["sources"])})
                    for o in value["outputs"]
                ),
                "steps": tuple(_step_from_json(s) for s in value["steps"]),
                "files": tuple(value["files"]),
            }
        )


def _step_from_json(value: Mapping[str, Any]) -> Step:
    inputs = tuple(StepInput(**{**i, "sources": tuple(Source(**s) for s in i["sources"])}) for i in value["inputs"])
    workflow = value["workflow"]
    return Step(
        **{
            **value,
            "inputs": inputs,
            "outputs": tuple(value["outputs"]),
            "needs": tuple(value["needs"]),
            "scatter": tuple(value["scatter"]),
            "workflow": WorkflowGraph.from_json(workflow) if workflow else None,
        }
    )
