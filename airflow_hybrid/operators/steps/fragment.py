# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The fragment of a step's task: what its jobs are made from, out of the values of the tasks before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_hybrid.config import Bindings, Link
from airflow_hybrid.config.rendering import rendered_deployments
from airflow_hybrid.cwl.documents.group_documents import document_of
from airflow_hybrid.cwl.given import job_requirements
from airflow_hybrid.cwl.values.scatter import slice_scatter
from airflow_hybrid.model import CwlObject, JsonValue
from airflow_hybrid.operators.context.run import deployments_of_run
from airflow_hybrid.operators.steps.setup import StepSetup
from airflow_hybrid.operators.templates import renderer
from airflow_hybrid.operators.values import Values
from airflow_hybrid.params import REUSE_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_hybrid.engine import FragmentOutcome, FragmentSpec, TaskIdentity


@dataclass(frozen=True)
class StepInputs:
    """The inputs of a step's task.

    :ivar instances: of the step, per instance of its scope; None: skipped.
    :ivar chunk: ``{"lo": int, "hi": int}`` of its scatter, where the task is mapped over it.
    :ivar in_chunk: whether the task is in a mapped task group.
    """

    setup: StepSetup
    instances: Sequence[CwlObject | None]
    chunk: Any
    in_chunk: bool
    first: int
    """of a chunk of instances: the index of its first instance in the scatter of the sub-workflow"""

    @classmethod
    def read(cls, setup: StepSetup, values: Values, chunk: Any) -> StepInputs:
        """:raises HybridError: see :meth:`Values.step_inputs`."""
        scope = setup.scope
        instances = values.step_inputs(scope, setup.step)
        first = values.first_of_chunk(scope) if scope.in_chunk and any(i is not None for i in instances) else 0
        return cls(setup, instances, chunk, scope.in_chunk, first)

    @property
    def given(self) -> list[CwlObject]:
        """The inputs of the instances that are not skipped; of a chunk's, its slice."""
        alive = [instance for instance in self.instances if instance is not None]
        if self.chunk is None or not alive:
            return alive
        return [slice_scatter(self.setup.step, alive[0], self.chunk["lo"], self.chunk["hi"])]

    @property
    def places(self) -> list[int | None] | None:
        """In a chunk of instances, the index of each among those that run, or None if it is skipped."""
        if not self.in_chunk:
            return None
        places: list[int | None] = []
        count = 0
        for instance in self.instances:
            places.append(None if instance is None else count)
            count += instance is not None
        return places

    @property
    def jobs(self) -> int | None:
        """The length of a chunk of a scattered leaf."""
        return None if self.chunk is None else self.chunk["hi"] - self.chunk["lo"]

    def value(self, outcome: FragmentOutcome) -> JsonValue:
        """The value that the task publishes."""
        from airflow_hybrid.engine import task_value

        return task_value(outcome, self.places, self.jobs)


@dataclass(frozen=True)
class Tries:
    """How often a task is tried: :ivar asked: as somebody asked; ``left``: whether Airflow would try it again."""

    asked: int
    left: bool


def fragment_of(
    inputs: StepInputs, context: Context, run_inputs: CwlObject, identity: TaskIdentity, tries: Tries
) -> FragmentSpec:
    """The fragment that a step's task runs.

    :param context: of any task of the DAG run.
    :param run_inputs: of the DAG run.
    :param identity: of the task instance.
    :raises HybridError: the run's inputs have requirements that no run may set, or a deployment is not for its user.
    """
    from airflow_hybrid.engine import FragmentSpec

    setup = inputs.setup
    asked = _conf_of_reuse(setup, context)
    places = inputs.places or []
    return FragmentSpec(
        step_path=setup.step.path,
        leaves=setup.leaves,
        document=_document(setup, run_inputs),
        instances=tuple(inputs.given),
        bindings=Bindings(setup.bindings).of(setup.step),
        deployments=rendered_deployments(deployments_of_run(setup.deployments, context), renderer(context)),
        identity=identity,
        links=Link.all_from_json(setup.links),
        chunked=inputs.chunk is not None,
        first=int(inputs.chunk["lo"]) if inputs.chunk is not None else 0,
        began=_began(context),
        # a user who clears a task wants it to run
        reuse=identity.generation == 0 and asked is not False,
        reuse_asked=asked or setup.reuse,
        position=setup.step.position,
        retries=tries.asked,
        tries_left=tries.left,
        checkpoint=setup.checkpoint,
        checkpoint_targets=setup.checkpoint_targets,
        outer_indexes=tuple(inputs.first + at for at, place in enumerate(places) if place is not None),
    )


def _conf_of_reuse(setup: StepSetup, context: Context) -> bool | None:
    """The run's conf value for reuse, unless an input of the workflow has that name."""
    if REUSE_KEY in {port.name for port in setup.scope.top.graph.inputs}:
        return None
    conf = dict(getattr(context["dag_run"], "conf", None) or {})
    requested = conf.get(REUSE_KEY)
    return requested if isinstance(requested, bool) else None


def _document(setup: StepSetup, run_inputs: CwlObject) -> JsonValue:
    """The step's document, with the requirements from the run's inputs.

    :raises InputError: the inputs have requirements that no run may set: somebody changed that task's value.
    """
    brought = run_inputs.get(job_requirements.KEY)
    job_requirements.check_allowed(brought or [], setup.run_requirements)
    return job_requirements.with_requirements(document_of(setup.step), brought or [], setup.scope.top.graph.single)


def _began(context: Context) -> float | None:
    began = getattr(context["dag_run"], "start_date", None)
    return None if began is None else float(began.timestamp())
