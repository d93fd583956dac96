# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Models of the hybrid file: StreamFlow's ``streamflow.yml`` v1.0 and our extensions, which are marked.

They check each value by itself; :mod:`airflow_hybrid.config.reading.checks` checks references. Descriptions go into the
JSON schema and docs/reference/hybrid-file.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from airflow_hybrid.config.base import Duration, Model, Name, NonEmpty, one_or_many, seconds_of, wrong
from airflow_hybrid.config.checkpoints import CheckpointNode
from airflow_hybrid.config.dag_section import DagModel
from airflow_hybrid.config.deployments import DeploymentNode
from airflow_hybrid.config.retrying.retries import FailureManagerModel, RetryModel
from airflow_hybrid.config.retrying.rules import OnModel
from airflow_hybrid.config.values import ReportFormat, report_formats
from airflow_hybrid.model import MOST_REPLAYS, REPLAYS, AskedResources

VERSION = "v1.0"
MAX_MAPPED_LIMIT = 1024
"""Airflow's ``max_map_length``: a longer list fails the task that pushes it."""
MAX_ITERATIONS_LIMIT = 5000
"""Each iteration leaves a batch directory, and the location gets all of their names with the next submission."""


class TargetModel(Model):
    """Where to run: a deployment and, if it has several, a service of it."""

    deployment: NonEmpty | None = Field(None, description="Name of a deployment.")
    service: NonEmpty | None = Field(None, description="One of the deployment's services.")
    workdir: NonEmpty | None = Field(None, description="Overrides the deployment's `workdir`.")
    locations: int = Field(
        1,
        ge=1,
        description="Number of locations (nodes) that one job uses at once; the file `$HYBRID_HOSTFILE` names them.",
    )
    model: NonEmpty | None = Field(None, description="(Deprecated: use `deployment`.)")
    resources: int = Field(1, ge=1, description="(Deprecated: use `locations`.)")

    @model_validator(mode="after")
    def _names_one_deployment(self) -> TargetModel:
        if (self.deployment is None) == (self.model is None):
            raise ValueError("a target names one `deployment`")
        return self


def _as_target(value: Any) -> Any:
    return {"deployment": value} if isinstance(value, str) else value


TargetNode = Annotated[TargetModel, BeforeValidator(_as_target, json_schema_input_type=str | TargetModel)]


CWL_NAMES = {"cores": "coresMin", "ram_mib": "ramMin", "walltime_s": "timelimit"}
"""names of resources in CWL's ResourceRequirement and ToolTimeLimit"""


def _timelimit(value: Any) -> Any:
    if value is None:
        return None
    seconds = seconds_of(value)
    if seconds < 1:
        raise wrong(f"must be a duration of a second or more, not {value!r}", "write 4h, or the number of seconds")
    return seconds


class ResourcesModel(Model):
    """What jobs ask for in place of what the document says, by CWL's names. (airflow_hybrid)"""

    coresMin: float | None = Field(None, gt=0, description="Cores of a job, as in ResourceRequirement.")
    ramMin: int | None = Field(None, gt=0, description="Memory of a job in MiB, as in ResourceRequirement.")
    timelimit: Annotated[int | None, BeforeValidator(_timelimit, json_schema_input_type=float | str)] = Field(
        None, description="Time after which a job is ended and has failed, as in ToolTimeLimit: `4h`, or seconds."
    )

    @model_validator(mode="after")
    def _is_not_empty(self) -> ResourcesModel:
        if not self.model_fields_set:
            hint = "write `coresMin`, `ramMin` or `timelimit`: `resources: {ramMin: 2048}`"
            raise wrong("`resources` is empty", hint)
        return self

    @property
    def value(self) -> AskedResources:
        return AskedResources(self.coresMin, self.ramMin, self.timelimit)


class StepBinding(Model):
    """Where the jobs of a step, or of all steps below a path, run."""

    step: NonEmpty = Field(description="Path of the step, from the top workflow: `/train`, `/variant/train`, `/`.")
    target: Annotated[
        list[TargetNode],
        Field(min_length=1),
        BeforeValidator(one_or_many, json_schema_input_type=TargetNode | list[TargetNode]),
    ] = Field(
        default_factory=list,
        description="One target or a list. A plain name is a deployment. Inherited from the path above if missing.",
    )
    filters: list[NonEmpty] = Field(default_factory=list, description="Names of `bindingFilters`, in their order.")
    scatter: Literal["batch"] | None = Field(
        None, description="`batch`: a step's whole scatter is one Airflow task and one batch. (airflow_hybrid)"
    )
    max_mapped: int | None = Field(
        None,
        ge=1,
        le=MAX_MAPPED_LIMIT,
        description="Maximum number of Airflow tasks for one scatter; default 16 (for more than 16 jobs that all run in"
        " LocalExecutor's workers: as many as cores, 2 to 16). (airflow_hybrid)",
    )
    fuse: bool | Literal["chains"] | None = Field(
        None,
        description="`chains`: steps that follow each other on the same target run as one Airflow task; `false`: they"
        " do not, nor do expressions and their readers. Default: as the deployment says, else the workflow. `true`:"
        " this sub-workflow runs as one Airflow task. (airflow_hybrid)",
    )
    max_iterations: int | None = Field(
        None,
        ge=1,
        le=MAX_ITERATIONS_LIMIT,
        description="Maximum number of iterations of one loop: more are an error; default 1000. (airflow_hybrid)",
    )
    reuse: bool | None = Field(
        None,
        description="`true`: outputs of the same jobs of other runs are reused instead of running them; `false`: never."
        " Default: as the deployment says, else the workflow. (airflow_hybrid)",
    )
    logs: Literal["none", "tail"] | None = Field(
        None,
        description="`tail`: the task's log shows the end of the stderr of its first five jobs, every half minute while"
        " they run and at their end, even if they succeed; default `none`: only if a job fails. (airflow_hybrid)",
    )
    retries: int | None = Field(
        None,
        ge=0,
        description="How often failed jobs are run again; default: as `dag` says, else never. (airflow_hybrid)",
    )
    retry_delay: Duration | None = Field(
        None, description="Time between two tries; default: as `dag` says. (airflow_hybrid)"
    )
    retry: RetryModel | None = Field(
        None,
        description="Which failed jobs are run again, by exit code, where `retries` are left; default: all, except for"
        " `permanentFailCodes` of the document. (airflow_hybrid)",
    )
    on: OnModel | None = Field(
        None,
        description="Which failed jobs the same try submits again, and what they ask for then; default: none."
        " (airflow_hybrid)",
    )
    resources: ResourcesModel | None = Field(
        None,
        description="What the step's jobs ask for in place of what the document says; each value by itself."
        " (airflow_hybrid)",
    )
    checkpoint: CheckpointNode | None = Field(
        None,
        description="Where the step's outputs are copied to once they are finished, as a second copy: a deployment, a"
        " URL of an object store, or `{target: archive, expire: 7d}`; `false`: nowhere. Default: as the workflow says."
        " (airflow_hybrid)",
    )
    policy: NonEmpty | None = Field(
        None,
        description="How one of the targets' locations is picked: `data_locality` (default), `load`, `queue_wait`,"
        " `cost`, `in_order`, `spread`, one of another package, or a declared one. (airflow_hybrid)",
    )

    @field_validator("step")
    @classmethod
    def _is_absolute(cls, path: str) -> str:
        return _step_path(path)


class PortBindingModel(Model):
    """Where the data of a workflow input already is; or the checkpoint of a step's output."""

    port: NonEmpty = Field(description="Path of the port: `/input`; of an output: `/step/output`.")
    target: TargetNode | None = Field(
        None, description="Of an input: the deployment; `workdir` is the base folder of relative paths."
    )
    checkpoint: CheckpointNode | None = Field(
        None, description="Of an output: as in the binding of its step, for this output only. (airflow_hybrid)"
    )

    @field_validator("port")
    @classmethod
    def _is_absolute(cls, path: str) -> str:
        return _step_path(path)

    @model_validator(mode="after")
    def _is_complete(self) -> PortBindingModel:
        if self.target is None and self.checkpoint is None:
            raise ValueError("a port has a `target` or a `checkpoint`")
        if self.target is not None and self.target.workdir is None:
            raise ValueError("the target of a port needs `workdir`")
        if self.checkpoint is not None and self.port.count("/") < 2:
            raise ValueError(f"`checkpoint` is for outputs of steps: write `/step/output`, not `{self.port}`")
        return self


def _step_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"a path starts with `/`: write `/{path}`")
    parts = [part for part in path.split("/") if part]
    if "." in parts or ".." in parts:
        raise ValueError("a path has no `.` or `..` in it")
    return "/" + "/".join(parts)


def _binding_kind(value: Any) -> str:
    # tags appear in the locations of errors and must not look like keys of the file
    keys = value if isinstance(value, dict) else {}
    return "<port>" if "port" in keys and "step" not in keys else "<step>"


BindingNode = Annotated[
    Annotated[StepBinding, Tag("<step>")] | Annotated[PortBindingModel, Tag("<port>")], Discriminator(_binding_kind)
]


class DockerConfig(Model):
    """The runtime for the container of a step with a `DockerRequirement`."""

    type: NonEmpty = Field(
        description="`docker`, `singularity`, `no-container`; `podman`, `apptainer`, `charliecloud`. (Another type:"
        " what the step's deployment says.)"
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="Options by StreamFlow's names: `{privileged: true, addHost: [a:10.0.0.1]}`."
    )
    wrapper: bool = Field(True, description="Has no effect: the container runs inside the step's target.")


class DockerMapping(Model):
    """One entry of `config.docker`."""

    step: NonEmpty = Field(description="Path of the step, or of all steps below a path.")
    deployment: DockerConfig = Field(description="The container.")

    @field_validator("step")
    @classmethod
    def _is_absolute(cls, path: str) -> str:
        return _step_path(path)


class CwlConfig(Model):
    """The workflow's document and inputs."""

    file: NonEmpty = Field(
        description="The CWL document: a path relative to the hybrid file, or a URI; `#name` picks a process."
    )
    settings: NonEmpty | None = Field(
        None, description="The inputs file (YAML or JSON); its values become defaults, and may be Jinja2 templates."
    )
    docker: list[DockerMapping] = Field(
        default_factory=list, description="What runs the containers, per step; default: `containers` of its deployment."
    )


def _as_formats(value: Any) -> Any:
    if isinstance(value, bool):
        return list(report_formats(value))
    if not isinstance(value, list):
        raise ValueError("must be true, false or a list of formats")
    return value


ReportNode = Annotated[
    list[ReportFormat], BeforeValidator(_as_formats, json_schema_input_type=bool | list[ReportFormat])
]


class RecoveryModel(Model):
    """What is done about data that is lost while a run needs it. (airflow_hybrid)"""

    replay: Annotated[int, Field(ge=1, le=MOST_REPLAYS)] | Literal["off"] = Field(
        REPLAYS,
        description="How often a job is run again in a run because its outputs are gone or were changed before a later"
        " step has read them; `off`: never.",
    )


class WorkflowModel(Model):
    """One workflow: it becomes one DAG."""

    type: Literal["cwl"] = Field(description="Always `cwl`.")
    config: CwlConfig = Field(description="The document and its inputs.")
    bindings: list[BindingNode] = Field(
        default_factory=list, description="Where steps run; the longest path takes precedence."
    )
    dag: DagModel = Field(default_factory=DagModel, description="Airflow's options. (airflow_hybrid)")
    fuse: Literal["chains", False] | None = Field(
        None,
        description="`chains`: steps that follow each other on the same target run as one Airflow task, unless a"
        " deployment or binding says otherwise; `false`: each step has its own, expressions, too. (airflow_hybrid)",
    )
    reuse: bool | None = Field(
        None,
        description="`true`: outputs of the same jobs of other runs are reused instead of running them, unless a"
        " deployment or binding says otherwise; `false`: never. Default: only for tools whose document asks for it"
        " (`WorkReuse: {enableReuse: true}`). (airflow_hybrid)",
    )
    recovery: RecoveryModel = Field(
        default_factory=RecoveryModel, description="What is done about lost data. (airflow_hybrid)"
    )
    checkpoint: CheckpointNode | None = Field(
        None,
        description="Where the outputs of all steps are copied to as soon as they are finished, unless a binding says"
        " otherwise; default: nowhere. (airflow_hybrid)",
    )
    provenance: bool = Field(
        False,
        description="`true`: a record of each run that succeeds is written beside its outputs, as"
        " `provenance.crate.zip` (a Workflow Run RO-Crate). (airflow_hybrid)",
    )
    report: ReportNode = Field(
        default_factory=list,
        description="`true`: a report about each run that succeeds is written beside its outputs, as"
        " `run-report.html`, `run-report.json` and `run-report.csv`. A list: in these formats"
        " (`html`, `pdf`, `png`, `svg`, `csv`, `json`). (airflow_hybrid)",
    )


class Configured(Model):
    """A StreamFlow extension point: a type and its options."""

    type: NonEmpty = Field(description="Its type.")
    config: dict[str, Any] = Field(default_factory=dict, description="Its options.")


class SchedulingModel(Model):
    """StreamFlow's scheduling infrastructure."""

    scheduler: dict[str, Any] | None = Field(None, description="Accepted; Airflow schedules.")
    policies: dict[NonEmpty, Configured] = Field(default_factory=dict, description="Policies, by name.")


class LinkModel(Model):
    """One deployment can open connections to another. (airflow_hybrid)"""

    source: NonEmpty = Field(description="Name of the deployment that opens the connection.")
    target: NonEmpty = Field(description="Name of the deployment that it reaches.")
    both_ways: bool = Field(False, description="The target can also open connections to the source.")
    address: NonEmpty | None = Field(
        None, description="`[user@]host[:port]` of the target as seen from the source; default: the target's own."
    )
    identity: NonEmpty | None = Field(
        None, description="Path, at the source, of the key for the target; default: as the source's ssh decides."
    )


def _as_link(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) != 2 or not all(isinstance(name, str) for name in value):
            raise ValueError("a link is two names of deployments, or a mapping with `source` and `target`")
        return {"source": value[0], "target": value[1], "both_ways": True}
    return value


LinkNode = Annotated[LinkModel, BeforeValidator(_as_link, json_schema_input_type=list[str] | LinkModel)]


class HybridModel(Model):
    """A hybrid file: CWL workflows, execution environments, and which steps run where."""

    version: Literal["v1.0"] = Field(description="Version of the format: `v1.0`.")
    workflows: dict[Name, WorkflowModel] = Field(default_factory=dict, description="Workflows, by name.")
    deployments: dict[Name, DeploymentNode] = Field(default_factory=dict, description="Deployments, by name.")
    models: dict[Name, DeploymentNode] = Field(default_factory=dict, description="(Deprecated: use `deployments`.)")
    links: list[LinkNode] = Field(
        default_factory=list,
        description="Which deployments reach each other directly. `[a, b]`: both ways. (airflow_hybrid)",
    )
    bindingFilters: dict[NonEmpty, Configured] = Field(
        default_factory=dict,
        description="By name: `shuffle` changes the order of a binding's targets, `matching` selects among them.",
    )
    scheduling: SchedulingModel = Field(default_factory=SchedulingModel, description="Scheduling policies.")
    database: dict[str, Any] | None = Field(None, description="Accepted; Airflow's database is used.")
    dataManager: dict[str, Any] | None = Field(None, description="Accepted; the DataMover is used.")
    deploymentManager: dict[str, Any] | None = Field(None, description="Accepted; setup and teardown tasks are used.")
    failureManager: FailureManagerModel | None = Field(None, description="Retries of every workflow's tasks.")
    checkpointManager: dict[str, Any] | None = Field(None, description="Accepted; the job directory is used.")
