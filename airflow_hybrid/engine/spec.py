# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A fragment as plain values: its task, everything it needs to run anywhere, and its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_hybrid.config import Bindings, Deployment, Link
from airflow_hybrid.cwl.fragments.fragment_run import InstanceResult
from airflow_hybrid.model import Binding, Checkpoint, CwlObject, JsonValue, LineageEntry
from airflow_hybrid.model.task_folders import task_folder


@dataclass(frozen=True)
class TaskIdentity:
    """The identity of a task instance; the path of its task directory is a function of it.

    :ivar generation: grows when a user clears the task, unless it had failed; but not when Airflow retries it.
    :ivar try_number: the attempt that new jobs belong to.
    :ivar origin: distinguishes the task instance from all others, including those of deleted runs and of other
        Airflows with the same names; the same for all tries of a task instance.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    generation: int = 0
    try_number: int = 1
    origin: str = field(kw_only=True)
    cleared: int = field(default=0, kw_only=True)
    """how many tries came before the last clear: what of theirs has failed may run again"""
    mark: str = field(default="", kw_only=True)
    """the name of the task directory, where only that is known of generation and origin"""

    @property
    def directory(self) -> str:
        """Relative path of the task directory: ``dag/run/task[/map_index]/g<generation>-<digest of origin>``."""
        digest = hashlib.sha1(self.origin.encode(), usedforsecurity=False).hexdigest()[:10]
        mark = self.mark or f"g{self.generation}-{digest}"
        return f"{task_folder(self.dag_id, self.run_id, self.task_id, self.map_index)}/{mark}"

    @property
    def tries(self) -> int:
        """The number of this try since the task was cleared, from 1."""
        return max(1, self.try_number - max(self.generation, self.cleared))

    def earlier(self) -> list[TaskIdentity]:
        """The same task before it was cleared: every earlier generation."""
        return [replace(self, generation=generation) for generation in range(self.generation)]

    def to_json(self) -> JsonValue:
        return self.__dict__.copy()


@dataclass(frozen=True)
class FragmentSpec:
    """Everything needed to run a fragment anywhere: plain values, carried by the trigger.

    :ivar leaves: paths of the steps that its jobs may belong to.
    :ivar instances: complete inputs of the document, one object per instance.
    :ivar bindings: as in the hybrid file; the longest matching path of a job's step wins.
    :ivar deployments: by name; no secrets in them.
    :ivar first: index in the whole scatter of the chunk's first job.
    :ivar outer_indexes: in a chunk of a scattered sub-workflow, the index of each instance in that scatter.
    :ivar began: when the run began, in seconds since the epoch.
    :ivar reuse: whether outputs of other runs may be reused on request; false in a task that was cleared.
    :ivar position: ``file:line:column`` of the step in its document, for messages.
    :ivar retries: how often somebody asked that failed jobs be run again, for steps whose bindings do not say.
    :ivar tries_left: whether Airflow would try the task again if this try failed.
    :ivar originals: by the location of an input that was made again, that of the first one: jobs are named after that.
    :ivar checkpoint: where outputs are copied to, for steps whose bindings do not say.
    :ivar checkpoint_targets: where any step of the workflow has checkpoints, which may hold inputs.
    :ivar recovered: whether this try has made lost inputs again, or put them back.
    :ivar reuse_asked: whether the run or the workflow requests reuse; None: neither says anything.
    """

    step_path: str
    leaves: tuple[str, ...]
    document: JsonValue
    instances: tuple[CwlObject, ...]
    bindings: tuple[Binding, ...]
    deployments: Mapping[str, Deployment]
    identity: TaskIdentity
    links: tuple[Link, ...] = ()
    chunked: bool = False
    reuse: bool = True
    first: int = 0
    began: float | None = None
    reuse_asked: bool | None = None
    position: str = ""
    retries: int = 0
    tries_left: bool = False
    outer_indexes: tuple[int, ...] = ()
    originals: Mapping[str, str] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    recovered: bool = False
    checkpoint_targets: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Digest of what the jobs are made from: it changes when the tool is edited or the inputs change."""
        text = json.dumps([self.document, self.instances], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_json(self) -> JsonValue:
        return {
            "step_path": self.step_path,
            "leaves": list(self.leaves),
            "document": self.document,
            "instances": list(self.instances),
            "bindings": [b.to_json() for b in self.bindings],
            "deployments": {name: d.to_json() for name, d in self.deployments.items()},
            "identity": self.identity.to_json(),
            "links": [link.to_json() for link in self.links],
            "chunked": self.chunked,
            "reuse": self.reuse,
            "first": self.first,
            "began": self.began,
            "reuse_asked": self.reuse_asked,
            "position": self.position,
            "retries": self.retries,
            "tries_left": self.tries_left,
            "outer_indexes": list(self.outer_indexes),
            "originals": dict(self.originals),
            "recovered": self.recovered,
            "checkpoint_targets": list(self.checkpoint_targets),
            "checkpoint": None if self.checkpoint is None else self.checkpoint.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FragmentSpec:
        return cls(
            **{
                **value,
                "leaves": tuple(value["leaves"]),
                "instances": tuple(value["instances"]),
                "bindings": Bindings(Binding.from_json(b) for b in value["bindings"]),
                "deployments": {n: Deployment.from_json(d) for n, d in value["deployments"].items()},
                "identity": TaskIdentity(**value["identity"]),
                "links": Link.all_from_json(value["links"]),
                "outer_indexes": tuple(value.get("outer_indexes", ())),
                "checkpoint": Checkpoint.from_json(value.get("checkpoint")),
                "checkpoint_targets": tuple(value.get("checkpoint_targets", ())),
            }
        )


@dataclass
class FragmentOutcome:
    """The result of a fragment: one result per instance, and the lineage of every file staged or produced."""

    results: list[InstanceResult]
    lineage: list[LineageEntry]
    jobs: int


def task_value(outcome: FragmentOutcome, places: Sequence[int | None] | None, jobs: int | None) -> JsonValue:
    """The value that a task publishes for a fragment.

    :param places: in a chunk of instances, the index of each among the fragment's instances, or None if skipped.
    :param jobs: length of a chunk of a scattered leaf, whose outputs are arrays.
    :return: the CWL output object; or a list of them, per instance or per job of the chunk.
    """
    if places is not None:
        return [None if k is None else outcome.results[k].outputs for k in places]
    outputs = outcome.results[0].outputs
    if jobs is None:
        return outputs
    return [{port: None if v is None else v[k] for port, v in outputs.items()} for k in range(jobs)]
