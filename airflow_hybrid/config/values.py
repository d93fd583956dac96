# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a hybrid file means, as frozen values that round-trip JSON.

This module is all that a warm load of a hybrid file needs: no pydantic, no YAML.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_hybrid.model import LOCAL_DEPLOYMENT, Binding, JsonValue, Target

DEFAULT_POLICY = "data_locality"
"""StreamFlow's default policy, and ours: prefer the location where most of a job's bytes are."""
DEFAULT_MAX_MAPPED = 16


@dataclass(frozen=True)
class Deployment:
    """One execution environment.

    :ivar type: ``local``, ``ssh``, ``slurm``, or the name of an ``airflow_hybrid.connectors`` entry point.
    :ivar config: the connector's options as they stand in the file (StreamFlow's names), only those that were
        given; paths on this machine are absolute; ``nodes`` of ``ssh`` are mappings with ``hostname``, ``port`` and
        what they inherit; native options of ``slurm`` services have their camelCase names.
    :ivar templates: service name -> text of its Jinja2 template (``""``: the template of no service), read when
        the file was loaded, so that whoever submits a job need not have the file.
    :ivar workdir: folder at the location; None leaves it to the connector. ``~`` and ``$NAME`` are the location's;
        for ``local`` it is an absolute path.
    :ivar wraps: name of the deployment inside which this one works, and ``wraps_service`` the service of it;
        None: this machine.
    :ivar external: it is there already and is neither deployed nor undeployed.
    :ivar lazy: deployed when first needed, not when the run starts.
    :ivar scheduling_policy: type of the policy that picks a location of it.
    :ivar deferrable: True: its jobs are followed by the triggerer; False: by the worker; None: as the connector likes.
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
    deferrable: bool | None = None
    templates: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Deployment:
        return cls(**value)


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


@dataclass(frozen=True)
class PortBinding:
    """Where the data of a workflow input is: relative paths of its Files start at ``target.workdir``."""

    path: str
    target: Target

    def to_json(self) -> JsonValue:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PortBinding:
        return cls(value["path"], Target(**value["target"]))


_TIMES = ("start_date", "end_date")
_DURATIONS = ("retry_delay", "dagrun_timeout")
_DURATION_ARGS = ("retry_delay", "max_retry_delay", "execution_timeout")


@dataclass(frozen=True)
class DagOptions:
    """``workflows.<name>.dag``: the Airflow side of a workflow; None where the file says nothing.

    :ivar schedule: cron text, preset, :class:`~datetime.timedelta`, or a tuple of asset URIs.
    :ivar outdir: folder (absolute path) or object-store URL for the workflow's outputs; Jinja2 is left in place.
    """

    dag_id: str | None = None
    schedule: str | timedelta | tuple[str, ...] | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    catchup: bool | None = None
    default_args: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    retries: int | None = None
    retry_delay: timedelta | None = None
    max_active_runs: int | None = None
    max_active_tasks: int | None = None
    max_consecutive_failed_dag_runs: int | None = None
    dagrun_timeout: timedelta | None = None
    owner: str | None = None
    owner_links: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    doc_md: str | None = None
    dag_display_name: str | None = None
    is_paused_upon_creation: bool | None = None
    fail_fast: bool | None = None
    access_control: Mapping[str, Any] = field(default_factory=dict)
    outdir: str | None = None

    def dag_kwargs(self) -> dict[str, Any]:
        """What ``airflow.sdk.DAG`` takes, only what was given; ``schedule`` may be a list of asset URIs.

        ``retries``, ``retry_delay`` and ``owner`` are merged into ``default_args``; ``dag_id`` and ``outdir`` are left
        out: they are not the DAG's own to set.
        """
        default_args = dict(self.default_args)
        for name in ("retries", "retry_delay", "owner"):
            if (value := getattr(self, name)) is not None:
                default_args[name] = value
        taken = {"dag_id", "outdir", "retries", "retry_delay", "owner", "default_args"}
        kwargs = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in taken}
        kwargs = {name: value for name, value in kwargs.items() if value not in (None, (), {})}
        if default_args:
            kwargs["default_args"] = default_args
        for name in ("schedule", "tags"):
            if isinstance(kwargs.get(name), tuple):
                kwargs[name] = list(kwargs[name])
        return kwargs

    def to_json(self) -> JsonValue:
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}
        for name in _TIMES:
            if name in given:
                given[name] = given[name].isoformat()
        for name in _DURATIONS:
            if name in given:
                given[name] = given[name].total_seconds()
        if isinstance(self.schedule, timedelta):
            given["schedule"] = self.schedule.total_seconds()
        given["default_args"] = {
            name: value.total_seconds() if name in _DURATION_ARGS else value
            for name, value in self.default_args.items()
        }
        return given

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DagOptions:
        given = dict(value)
        for name in _TIMES:
            if name in given:
                # Python 3.10's fromisoformat reads what isoformat wrote, which is all that stands here
                given[name] = datetime.fromisoformat(given[name])
        for name in _DURATIONS:
            if name in given:
                given[name] = timedelta(seconds=given[name])
        schedule = given.get("schedule")
        if isinstance(schedule, int | float):
            given["schedule"] = timedelta(seconds=schedule)
        elif isinstance(schedule, list):
            given["schedule"] = tuple(schedule)
        given["tags"] = tuple(given.get("tags", ()))
        given["default_args"] = {
            name: timedelta(seconds=arg) if name in _DURATION_ARGS else arg
            for name, arg in given.get("default_args", {}).items()
        }
        return cls(**given)


@dataclass(frozen=True)
class WorkflowConfig:
    """One entry of ``workflows``: the document, its inputs and where its steps run.

    :ivar file: absolute path or URI of the CWL document, with ``#process`` where the file has one.
    :ivar settings: absolute path of the inputs file, or None.
    :ivar bindings: complete (targets and options of ``/a`` hold for ``/a/b`` unless given there).
    :ivar docker: ``config.docker`` as it stands.
    :ivar positions: step or port path of a binding -> ``file:line: YAML path``, for messages.
    """

    name: str
    file: str
    settings: str | None = None
    bindings: tuple[Binding, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    docker: tuple[JsonValue, ...] = ()
    dag: DagOptions = field(default_factory=DagOptions)
    positions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> JsonValue:
        return {
            "name": self.name,
            "file": self.file,
            "settings": self.settings,
            "bindings": [b.to_json() for b in self.bindings],
            "ports": [p.to_json() for p in self.ports],
            "docker": list(self.docker),
            "dag": self.dag.to_json(),
            "positions": dict(self.positions),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WorkflowConfig:
        return cls(
            **{
                **value,
                "bindings": tuple(Binding.from_json(b) for b in value["bindings"]),
                "ports": tuple(PortBinding.from_json(p) for p in value["ports"]),
                "docker": tuple(value["docker"]),
                "dag": DagOptions.from_json(value["dag"]),
            }
        )


@dataclass(frozen=True)
class HybridFile:
    """A hybrid file that was found to be right.

    :ivar path: absolute path of the file (a folder, with a trailing ``/``, for what was written in Python).
    :ivar digest: SHA-256 of the file and of what it includes, for the keys of caches.
    :ivar files: every file whose content is in here: the hybrid file and templates.
    :ivar notices: one line each, for the log: what is accepted and has no effect here, what is deprecated.
    """

    path: str
    digest: str
    workflows: Mapping[str, WorkflowConfig]
    deployments: Mapping[str, Deployment]
    links: tuple[Link, ...] = ()
    notices: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def to_json(self) -> JsonValue:
        return {
            "path": self.path,
            "digest": self.digest,
            "workflows": {name: w.to_json() for name, w in self.workflows.items()},
            "deployments": {name: d.to_json() for name, d in self.deployments.items()},
            "links": [link.to_json() for link in self.links],
            "notices": list(self.notices),
            "files": list(self.files),
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
        )


LOCAL = Deployment(LOCAL_DEPLOYMENT, "local")
"""The machine that Airflow's process runs on; declared or not, it is always there."""
DEFAULT_BINDING = Binding("/", (Target(LOCAL_DEPLOYMENT),), max_mapped=DEFAULT_MAX_MAPPED)
"""What holds for a step that no binding names."""
