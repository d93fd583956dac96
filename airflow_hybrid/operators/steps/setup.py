# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A step's settings from the DAG file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_hybrid.config import Deployment, bind, checkpoints_of_step
from airflow_hybrid.config.queues import is_followed_by_triggerer, queue_below
from airflow_hybrid.cwl.documents.group_documents import document_of
from airflow_hybrid.model import Binding, Checkpoint, JsonValue, Step
from airflow_hybrid.operators.values import Scope


@dataclass(frozen=True, repr=False)
class StepSetup:
    """A step's settings from the DAG file.

    :ivar step: the step (leaf, or a sub-workflow that runs as one fragment).
    :ivar scope: the (sub-)workflow that it is in, for the values of its inputs.
    :ivar run_requirements: classes allowed in ``cwl:requirements`` among the inputs besides the harmless ones.
    :ivar reuse: the workflow's setting for reusing outputs of other runs; ``checkpoint``: for copies of its own.
    """

    step: Step
    scope: Scope
    bindings: tuple[Binding, ...]
    deployments: Mapping[str, Deployment]
    links: JsonValue = None
    run_requirements: tuple[str, ...] = ()
    reuse: bool | None = None
    checkpoint: Checkpoint | None = None

    def __deepcopy__(self, memo: object) -> StepSetup:
        return self

    def __repr__(self) -> str:
        return f"<StepSetup {self.step.path}>"

    @property
    def leaves(self) -> tuple[str, ...]:
        """Paths of the leaf steps that the jobs belong to. ExpressionTools have none, and need no site beside tools."""
        leaves = self.step.leaves
        tools = [leaf.path for leaf in leaves if leaf.kind != "expression"]
        return tuple(tools or [leaf.path for leaf in leaves])

    @property
    def bound(self) -> frozenset[tuple[str, str | None]]:
        """The deployments and their services where its jobs may run."""
        targets = (target for path in self.leaves for target in bind(self.bindings, path).targets)
        return frozenset((target.deployment, target.service) for target in targets)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Where outputs of its jobs are copied to."""
        steps = (checkpoints_of_step(self.bindings, self.checkpoint, path) for path in self.leaves)
        return tuple(dict.fromkeys(place for step in steps for place in step.all))

    @property
    def checkpoint_targets(self) -> tuple[str, ...]:
        """Where any step of the workflow has checkpoints."""
        places = [self.checkpoint]
        for binding in self.bindings:
            places += [binding.checkpoint, *binding.ports.values()]
        return tuple(dict.fromkeys(place.target for place in places if place is not None and place.target))

    @property
    def hands_on(self) -> bool:
        """Whether an output may be a file that none of its jobs made: expressions pass their inputs on."""
        step = self.step
        if step.is_group and step.workflow is not None:
            kinds = {member.path: member.kind for member in step.workflow.steps}
            return any(kinds[source.step or ""] != "tool" for out in step.workflow.outputs for source in out.sources)
        return step.workflow is not None or step.kind != "tool"

    @property
    def may_update_in_place(self) -> bool:
        """Whether a job may change its inputs where they are: its document has what that needs."""
        text = json.dumps(document_of(self.step))
        return "InplaceUpdateRequirement" in text and "InitialWorkDirRequirement" in text

    @property
    def defers(self) -> bool:
        """Whether it is deferred: a job may run on another machine, or a deployment asks for it."""
        used = [name for name, _ in self.bound if name in self.deployments]
        return any(is_followed_by_triggerer(name, self.deployments) for name in used)

    def lost_queues(self, executor: str, machine: str) -> list[str]:
        """What to tell where a queue has no effect: it names the machine that is meant, and LocalExecutor has one only.

        :param executor: Airflow's setting.
        :param machine: the name of this machine.
        """
        queues = {name: queue_below(name, self.deployments) for name, _ in self.bound}
        if executor != "LocalExecutor":
            return []
        return [
            f"{self.step.path}: deployment `{name}` has the queue `{queue}`, but Airflow's LocalExecutor has no queues,"
            f" so the jobs run on this machine ({machine})\n"
            "  -> set `[core] executor` to one with workers on several machines, or leave out `queue` if this one is"
            " meant"
            for name, queue in sorted(queues.items())
            if queue is not None
        ]
