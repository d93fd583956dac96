# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The values of a hybrid file, frozen and convertible to and from JSON.

Loading a cached hybrid file needs only this module: no pydantic, no YAML.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from airflow_hybrid.errors import ConfigError
from airflow_hybrid.model import LOCAL_DEPLOYMENT, REPLAYS, Binding, Checkpoint, JsonValue, Target

DEFAULT_POLICY = "data_locality"
"""StreamFlow's default policy, and ours: prefer the location with most of a job's bytes."""
QUEUE_TYPES = ("slurm", "pbs", "sge", "flux")
"""Types of deployments that are queue systems."""
EXCLUDING_TYPES = ("slurm",)
"""Types of deployments that can be told on which nodes a job is not to run."""
HELM_TYPES = ("helm", "helm3", "helm4")
"""Types of deployments that are charts."""
ReportFormat = Literal["html", "pdf", "png", "svg", "csv", "json"]
REPORT_FORMATS: tuple[str, ...] = get_args(ReportFormat)
USUAL_FORMATS = ("html", "json", "csv")
"""what ``report: true`` means"""


def report_formats(value: bool | Sequence[str]) -> tuple[str, ...]:
    """The formats that a value of ``report`` asks for, each once.

    >>> report_formats(True), report_formats(False), report_formats(["pdf", "pdf"])
    (('html', 'json', 'csv'), (), ('pdf',))

    :raises ConfigError: it is neither true or false nor a list of formats.
    """
    if isinstance(value, bool):
        return USUAL_FORMATS if value else ()
    if not isinstance(value, list | tuple) or any(name not in REPORT_FORMATS for name in value):
        known = ", ".join(REPORT_FORMATS)
        raise ConfigError(f"`report` is {value!r}, but must be true, false, or a list of some of {known}")
    return tuple(dict.fromkeys(value))


@dataclass(frozen=True)
class Deployment:
    """One execution environment.

    :ivar type: ``local``, ``ssh``, ``slurm``, or the name of an ``airflow_hybrid.connectors`` entry point.
    :ivar config: the connector's options that are in the file (StreamFlow's names); paths on this machine are
        absolute; ``nodes`` of ``ssh`` are mappings with inherited settings; native options of ``slurm`` services
        have their camelCase names.
    :ivar templates: service name -> text of its Jinja2 template (``""``: the template of no service), read when
        the file was loaded, so that a process that submits jobs does not need the file.
    :ivar workdir: folder at the location; None: the connector chooses. The location expands ``~`` and ``$NAME``;
        for ``local`` it is an absolute path.
    :ivar wraps: name of the deployment inside which this one works, and ``wraps_service`` the service of it;
        None: this machine.
    :ivar external: it exists already and is neither deployed nor undeployed.
    :ivar lazy: deployed when first needed, not when the run starts.
    :ivar managed: it is deployed before the first step bound to it and undeployed after the last.
    :ivar token: names what is deployed for one DAG run (see :func:`for_run`); empty outside of a run.
    :ivar run: the DAG and the run that the token stands for, for people.
    :ivar scheduling_policy: type of the policy that picks one of its locations; ``policy_config``: its arguments.
    :ivar price_per_core_hour: for the policy ``cost``; None: unknown.
    :ivar deferrable: True: the triggerer follows its jobs; False: the worker does; None: the connector decides.
    :ivar containers: ``{runtime, options}`` of its jobs' containers; None: the runtime is detected there.
    :ivar reuse: whether outputs of other runs are reused here; None: as the workflow says.
    :ivar personal: its Connection is that of the person who triggered the run, so its account differs from run to run.
    :ivar refusal: why the run may not use it, and ``refusal_hint`` what to do; empty: it may (see
        :func:`airflow_hybrid.config.users.deployments_of_user`).
    :ivar fuse: :data:`airflow_hybrid.model.CHAINS`, False, or None: as the workflow says.
    """

    name: str
    type: str
    config: Mapping[str, Any] = field(default_factory=dict)
    workdir: str | None = None
    wraps: str | None = None
    wraps_service: str | None = None
    external: bool = False
    lazy: bool = True
    scheduling_policy: str = DEFAULT_POLICY
    policy_config: Mapping[str, Any] = field(default_factory=dict)
    price_per_core_hour: float | None = None
    deferrable: bool | None = None
    containers: JsonValue = None
    reuse: bool | None = None
    fuse: bool | str | None = None
    templates: Mapping[str, str] = field(default_factory=dict)
    managed: bool = False
    token: str = ""
    run: str = ""
    personal: bool = False
    refusal: str = ""
    refusal_hint: str = ""

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Deployment:
        return cls(**value)


def for_run(deployments: Mapping[str, Deployment], token: str, run: str) -> dict[str, Deployment]:
    """The deployments of one DAG run: those that are deployed for it have its token."""
    return {name: dataclasses.replace(d, token=token, run=run) if d.managed else d for name, d in deployments.items()}


@dataclass(frozen=True)
class Link:
    """Deployment ``source`` can open an SSH connection to deployment ``target`` (data may then flow either way).

    :ivar address: ``[user@]host[:port]`` of the target as seen from the source; None: the target's own.
    :ivar identity: path, at the source, of the key that opens the target; None: the source's ssh decides.
    """

    source: str
    target: str
    address: str | None = None
    identity: str | None = None

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Link:
        return cls(**value)

    @classmethod
    def all_from_json(cls, values: Iterable[Mapping[str, Any]] | None) -> tuple[Link, ...]:
        """The links of a list; None is an empty list."""
        return tuple(cls.from_json(value) for value in values or ())


@dataclass(frozen=True)
class PortBinding:
    """Where the data of a workflow input is: relative paths of its Files start at ``target.workdir``."""

    path: str
    target: Target
    position: str = field(default="", compare=False)

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PortBinding:
        return cls(value["path"], Target(**value["target"]), value["position"])


_TIMES = ("start_date", "end_date")
_DURATIONS = ("retry_delay", "max_retry_delay", "dagrun_timeout", "execution_timeout")


def dag_kwargs(section: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Turn a workflow's ``dag`` section into arguments of the DAG, including ``dag_id`` and ``outdir``.

    ``retries``, ``retry_delay`` and ``owner`` are merged into ``default_args``; a schedule by assets is a list of
    URIs and of mappings (:class:`airflow_hybrid.config.dag_section.WatchedFilesModel`).

    :param section: JSON: durations in seconds, times in ISO 8601 with an offset, an interval as ``{"seconds": n}``.
    """
    default_args = _python_values(section.get("default_args", {}))
    kwargs: dict[str, Any] = {}
    for name, value in _python_values(section).items():
        if name != "default_args":
            (default_args if name in ("retries", "retry_delay", "owner") else kwargs)[name] = value
    schedule = kwargs.get("schedule")
    if isinstance(schedule, dict):
        kwargs["schedule"] = timedelta(seconds=schedule["seconds"])
    return {**kwargs, "default_args": default_args} if default_args else kwargs


def _python_values(section: Mapping[str, JsonValue]) -> dict[str, Any]:
    values = {name: value for name, value in section.items() if value is not None}
    for name in _TIMES:
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    for name in _DURATIONS:
        if name in values:
            values[name] = timedelta(seconds=values[name])
    return values


@dataclass(frozen=True)
class WorkflowConfig:
    """One entry of ``workflows``: the document, its inputs and where its steps run.

    :ivar file: absolute path or URI of the CWL document, with ``#process`` if the file has one.
    :ivar settings: absolute path of the inputs file, or None.
    :ivar bindings: complete (targets and options of ``/a`` hold for ``/a/b`` unless given there).
    :ivar docker: ``config.docker``, unchanged.
    :ivar dag_section: the ``dag`` section as JSON (see :func:`dag_kwargs`); a relative ``outdir`` was resolved.
    :ivar reuse: whether outputs of other runs are reused, unless something more specific says otherwise.
    :ivar fuse: whether chains of steps are one task, unless something more specific says otherwise.
    :ivar provenance: whether a record of each run is written beside its outputs; ``report``: the formats of a
        report.
    """

    name: str
    file: str
    settings: str | None = None
    bindings: tuple[Binding, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    docker: tuple[JsonValue, ...] = ()
    dag_section: Mapping[str, JsonValue] = field(default_factory=dict)
    reuse: bool | None = None
    fuse: bool | str | None = None
    replays: int = REPLAYS
    """how often a job whose outputs are lost is run again in a run"""
    provenance: bool = False
    report: tuple[str, ...] = ()
    checkpoint: Checkpoint | None = None
    """where outputs are copied to, unless a binding says otherwise"""

    @property
    def dag(self) -> dict[str, Any]:
        """Arguments for the DAG: see :func:`dag_kwargs`."""
        return dag_kwargs(self.dag_section)

    def to_json(self) -> JsonValue:
        return {
            "name": self.name,
            "file": self.file,
            "settings": self.settings,
            "bindings": [b.to_json() for b in self.bindings],
            "ports": [p.to_json() for p in self.ports],
            "docker": list(self.docker),
            "dag_section": dict(self.dag_section),
            "reuse": self.reuse,
            "fuse": self.fuse,
            "replays": self.replays,
            "provenance": self.provenance,
            "report": list(self.report),
            "checkpoint": None if self.checkpoint is None else self.checkpoint.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WorkflowConfig:
        return cls(
            **{
                **value,
                "bindings": tuple(Binding.from_json(b) for b in value["bindings"]),
                "ports": tuple(PortBinding.from_json(p) for p in value["ports"]),
                "docker": tuple(value["docker"]),
                "report": tuple(value["report"]),
                "checkpoint": Checkpoint.from_json(value["checkpoint"]),
            }
        )


@dataclass(frozen=True)
class HybridFile:
    """A valid hybrid file.

    :ivar path: absolute path of the file (a folder, with a trailing ``/``, for values from Python).
    :ivar digest: SHA-256 of the file and of the files that it includes, for the keys of caches.
    :ivar files: every file that was read: the hybrid file and templates.
    :ivar notices: lines for the log: settings that have no effect, or are deprecated.
    :ivar shown: its text for people, without what could be a secret.
    """

    path: str
    digest: str
    workflows: Mapping[str, WorkflowConfig]
    deployments: Mapping[str, Deployment]
    links: tuple[Link, ...] = ()
    notices: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    shown: str = ""

    def to_json(self) -> JsonValue:
        return {
            "path": self.path,
            "digest": self.digest,
            "workflows": {name: w.to_json() for name, w in self.workflows.items()},
            "deployments": {name: d.to_json() for name, d in self.deployments.items()},
            "links": [link.to_json() for link in self.links],
            "notices": list(self.notices),
            "files": list(self.files),
            "shown": self.shown,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HybridFile:
        return cls(
            path=value["path"],
            digest=value["digest"],
            workflows={name: WorkflowConfig.from_json(w) for name, w in value["workflows"].items()},
            deployments={name: Deployment.from_json(d) for name, d in value["deployments"].items()},
            links=tuple(Link.from_json(link) for link in value["links"]),
            notices=tuple(value["notices"]),
            files=tuple(value["files"]),
            shown=value["shown"],
        )


LOCAL = Deployment(LOCAL_DEPLOYMENT, "local")
"""The machine that Airflow's process runs on; it always exists, declared or not."""
DEFAULT_BINDING = Binding("/", (Target(LOCAL_DEPLOYMENT),))
"""The binding of a step that no binding names."""
