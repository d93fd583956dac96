# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The task of a step: its jobs, in the worker or by a trigger."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

from airflow_hybrid.config import Bindings, Deployment, Link, bind
from airflow_hybrid.config.queues import is_followed_by_triggerer, queue_below
from airflow_hybrid.config.rendering import rendered_deployments
from airflow_hybrid.cwl.documents.group_documents import document_of
from airflow_hybrid.cwl.given import job_requirements
from airflow_hybrid.cwl.values.scatter import slice_scatter
from airflow_hybrid.model import Binding, CwlObject, JsonValue, Step
from airflow_hybrid.operators.base import HybridTask, deployments_of_run, in_worker, supervised
from airflow_hybrid.operators.ending import ending, ends_in_worker
from airflow_hybrid.operators.identity import identity_of
from airflow_hybrid.operators.published.links import RunPageLink
from airflow_hybrid.operators.templates import renderer
from airflow_hybrid.operators.values import RETURN, Scope
from airflow_hybrid.params import REUSE_KEY
from airflow_hybrid.printable import shortened
from airflow_hybrid.triggers.ends import EndState, TaskEnd

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_hybrid.engine import FragmentOutcome, FragmentSpec


@dataclass(frozen=True, repr=False)
class StepSetup:
    """A step's settings from the DAG file.

    :ivar step: the step (leaf, or a sub-workflow that runs as one fragment).
    :ivar scope: the (sub-)workflow that it is in, for the values of its inputs.
    :ivar run_requirements: classes allowed in ``cwl:requirements`` among the inputs besides the harmless ones.
    :ivar reuse: the workflow's setting for reusing outputs of other runs.
    """

    step: Step
    scope: Scope
    bindings: tuple[Binding, ...]
    deployments: Mapping[str, Deployment]
    links: JsonValue = None
    run_requirements: tuple[str, ...] = ()
    reuse: bool | None = None

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
    def hands_on(self) -> bool:
        """Whether an output may be a file that none of its jobs made: expressions pass their inputs on."""
        step = self.step
        if step.is_group and step.workflow is not None:
            kinds = {member.path: member.kind for member in step.workflow.steps}
            return any(kinds[source.step or ""] != "tool" for out in step.workflow.outputs for source in out.sources)
        return step.workflow is not None or step.kind != "tool"

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


_LONGEST_INSTANCE_NAME = 250
"""characters that Airflow's database has for it"""
_LONGEST_PLACES, _MOST_PLACES = 120, 3
"""characters and places of which it says where the jobs run"""


class HybridOperator(HybridTask):
    """Runs a step: resolves its binding to deployments, and its jobs there.

    Steps bound to local deployments run in the worker; all others are deferred and run by the triggerer
    (:class:`airflow_hybrid.triggers.hybrid.HybridTrigger`).

    :param setup: the step, where it is bound, and where its inputs come from.
    :param chunk: ``{"lo": int, "hi": int}`` of its scatter, where the task is mapped.
    """

    template_fields: Sequence[str] = ("chunk",)
    operator_extra_links = (RunPageLink(),)

    def __init__(self, *, setup: StepSetup, chunk: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.setup = setup
        self.chunk = chunk
        self._spec: FragmentSpec | None = None
        self._ran_at: frozenset[tuple[str, str | None]] = frozenset()

    @property
    def jobs_held(self) -> str:
        """Which jobs of its scatter a mapped task instance holds, and where: ``reads 6-7 @ hpc/gpu``. They are counted
        from 0, as Airflow counts. Of several targets it is ``@ hpc or cloud``, and where they ran once a worker knows.
        """
        jobs = ""
        if isinstance(self.chunk, Mapping):
            first, last = self.chunk["lo"], self.chunk["hi"] - 1
            jobs = f" {first}" if first == last else f" {first}-{last}"
        jobs += f" @ {_in_few_words(self._ran_at, ', ') or _in_few_words(self.setup.bound, ' or ')}"
        name = ", ".join(self.setup.step.scatter)
        most = _LONGEST_INSTANCE_NAME - len(jobs)
        return (name if len(name) <= most else f"{name[: most - 4]} ...") + jobs

    def run_task(self, context: Context) -> Any:
        step, scope = self.setup.step, self.setup.scope
        ti: Any = context["ti"]
        instances = self.values(context, scope).step_inputs(scope, step)
        alive = self._to_run(instances)
        jobs = None if self.chunk is None else self.chunk["hi"] - self.chunk["lo"]
        places = _places(instances) if scope.in_chunk else None
        if not alive:
            skipped = dict.fromkeys(step.outputs)
            ti.xcom_push(key=RETURN, value=[skipped for _ in instances] if places is not None else skipped)
            raise AirflowSkipException(f"{step.path}: its sub-workflow was skipped by its `when`")
        self.given_values = alive
        spec = self._make_spec(context, tuple(alive))
        if places is not None:
            first = self.values(context, scope).first_of_chunk(scope)
            spec = replace(
                spec, outer_indexes=tuple(first + at for at, place in enumerate(places) if place is not None)
            )
        if self.setup.defers:
            from airflow_hybrid.installation.openlineage.events import described
            from airflow_hybrid.triggers.hybrid import RESUME_AFTER_S, HybridTrigger

            openlineage = described(context)
            limit_s = self.execution_timeout.total_seconds() if self.execution_timeout else None
            trigger = HybridTrigger(
                spec=spec.to_json(),
                places=places,
                jobs=jobs,
                timeout_s=limit_s,
                deadline=None if limit_s is None else time.time() + limit_s,
                ends_in_worker=ends_in_worker(self),
                resume_after_s=RESUME_AFTER_S if supervised() else 0.0,
                openlineage=None if openlineage is None else openlineage.to_json(),
            )
            self.defer(trigger=trigger, method_name=self.resumed.__name__)
        return self._run_here(ti, spec, places, jobs)

    def _to_run(self, instances: Sequence[CwlObject | None]) -> list[CwlObject]:
        """The instances that are not skipped; of a chunk's, its slice."""
        alive = [instance for instance in instances if instance is not None]
        if self.chunk is None:
            return alive
        return [slice_scatter(self.setup.step, alive[0], self.chunk["lo"], self.chunk["hi"])]

    def _run_here(self, ti: Any, spec: FragmentSpec, places: list[int | None] | None, jobs: int | None) -> Any:
        from airflow.configuration import conf

        from airflow_hybrid.engine import FragmentExecution, task_value
        from airflow_hybrid.triggers.reports import LINEAGE_XCOM, JobReports

        execution = FragmentExecution(spec, self.log)

        async def publish(key: str, report: JsonValue) -> None:
            await asyncio.to_thread(ti.xcom_push, key=key, value=report)

        async def run() -> FragmentOutcome:
            async with JobReports(lambda: execution, publish, self.log).kept_up_to_date():
                return await execution.run()

        for message in self.setup.lost_queues(conf.get("core", "executor", fallback=""), socket.gethostname()):
            self.log.warning("%s", message)
        self._spec = spec
        try:
            outcome = self.run_async(run())
        finally:
            self._ran_at = execution.batches.recorder.places
        self._spec = None
        self.lineage = outcome.lineage
        ti.xcom_push(key=LINEAGE_XCOM, value=[entry.to_json() for entry in outcome.lineage])
        value = task_value(outcome, places, jobs)
        if all(result.status == "skipped" for result in outcome.results):
            ti.xcom_push(key=RETURN, value=value)
            raise AirflowSkipException(f"{spec.step_path}: its `when` is false")
        return value

    def _make_spec(self, context: Context, instances: tuple[CwlObject, ...]) -> FragmentSpec:
        from airflow_hybrid.engine import FragmentSpec

        setup = self.setup
        identity = identity_of(context)
        asked = self._conf_of_reuse(context)
        ti: Any = context["ti"]
        return FragmentSpec(
            step_path=setup.step.path,
            leaves=setup.leaves,
            document=self._document(context),
            instances=instances,
            bindings=Bindings(setup.bindings).of(setup.step),
            deployments=rendered_deployments(deployments_of_run(setup.deployments, context), renderer(context)),
            identity=identity,
            links=Link.all_from_json(setup.links),
            chunked=self.chunk is not None,
            first=int(self.chunk["lo"]) if self.chunk is not None else 0,
            began=_began(context),
            # a user who clears a task wants it to run
            reuse=identity.generation == 0 and asked is not False,
            reuse_asked=asked or setup.reuse,
            position=setup.step.position,
            retries=self.asked_retries.of_dag,
            tries_left=int(ti.try_number) <= int(ti.max_tries),
        )

    def _conf_of_reuse(self, context: Context) -> bool | None:
        """The run's conf value for reuse, unless an input of the workflow has that name."""
        if REUSE_KEY in {port.name for port in self._root.graph.inputs}:
            return None
        conf = dict(getattr(context["dag_run"], "conf", None) or {})
        requested = conf.get(REUSE_KEY)
        return requested if isinstance(requested, bool) else None

    @property
    def _root(self) -> Scope:
        scope = self.setup.scope
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def _document(self, context: Context) -> JsonValue:
        """The step's document, with the requirements from the run's inputs.

        :raises InputError: the inputs have requirements that no run may set: somebody changed that task's value.
        """
        top = self.setup.scope.top
        document = document_of(self.setup.step)
        brought = self.values(context, top).run_inputs(top.graph).get(job_requirements.KEY)
        job_requirements.check_allowed(brought or [], self.setup.run_requirements)
        return job_requirements.with_requirements(document, brought or [], top.graph.single)

    def resumed(self, context: Context, event: Any = None) -> None:
        """End the task in a worker, as its trigger says (:class:`airflow_hybrid.triggers.ends.TaskEnd`).

        Its values were published by the trigger, unless it handed them over; it has also logged why it failed.
        """
        ti: Any = context["ti"]
        end = TaskEnd.from_json(event)
        if end.result is not None:
            for key, value in end.result.items():
                ti.xcom_push(key=key, value=value)
        self._recall_files(context)
        if end.state is EndState.SKIPPED:
            raise AirflowSkipException(f"{self.setup.step.path}: its `when` is false")
        if end.error is None:
            return
        if end.timed_out:
            raise AirflowTaskTimeout(str(end.error))
        raise ending(end.error) from None

    def _recall_files(self, context: Context) -> None:
        """For OpenLineage: what the worker that deferred the task was given, and what its trigger has published."""
        from airflow_hybrid.installation import openlineage

        if not openlineage.is_on():
            return
        from airflow_hybrid.installation.openlineage.datasets import entries_from_xcom

        ti: Any = context["ti"]
        scope = self.setup.scope
        self.given_values = self._to_run(self.values(context, scope).step_inputs(scope, self.setup.step))
        self.lineage = entries_from_xcom(ti.xcom_pull(task_ids=ti.task_id, key="lineage", map_indexes=ti.map_index))

    when_over = "its jobs are cancelled"

    def end_work(self) -> None:
        """Cancel the jobs of a task that runs in the worker."""
        if self._spec is not None:
            from airflow_hybrid.engine import FragmentExecution

            in_worker(FragmentExecution(self._spec, self.log).cancel())
            self.log.info("the jobs of %s were cancelled", self._spec.step_path)


def _in_few_words(places: Iterable[tuple[str, str | None]], between: str) -> str:
    """``hpc/gpu, cloud``; of several, the first three."""
    names = sorted(f"{deployment}/{service}" if service else deployment for deployment, service in places)
    text = between.join(names[:_MOST_PLACES]) + (" ..." if len(names) > _MOST_PLACES else "")
    return shortened(text, _LONGEST_PLACES)


def _began(context: Context) -> float | None:
    began = getattr(context["dag_run"], "start_date", None)
    return None if began is None else float(began.timestamp())


def _places(instances: Sequence[CwlObject | None]) -> list[int | None]:
    places: list[int | None] = []
    count = 0
    for instance in instances:
        places.append(None if instance is None else count)
        count += instance is not None
    return places
