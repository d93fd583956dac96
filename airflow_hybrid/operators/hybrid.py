# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The task of a step: its jobs, in the worker or by a trigger."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

from airflow_hybrid.errors import LostDataError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.operators.base import HybridTask, Lost, supervised
from airflow_hybrid.operators.ending import ends_in_worker
from airflow_hybrid.operators.identity import identity_of
from airflow_hybrid.operators.published.links import RunPageLink
from airflow_hybrid.operators.steps.fragment import StepInputs, Tries, fragment_of
from airflow_hybrid.operators.steps.setup import StepSetup
from airflow_hybrid.operators.values import RETURN, Scope
from airflow_hybrid.printable import shortened
from airflow_hybrid.triggers.ends import EndState, TaskEnd

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_hybrid.engine import FragmentOutcome, FragmentSpec


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

    @property
    def top_scope(self) -> Scope:
        return self.setup.scope.top

    def run_task(self, context: Context) -> Any:
        step = self.setup.step
        ti: Any = context["ti"]
        inputs = self._inputs(context)
        places, jobs = inputs.places, inputs.jobs
        if not inputs.given:
            skipped = dict.fromkeys(step.outputs)
            ti.xcom_push(key=RETURN, value=[skipped for _ in inputs.instances] if places is not None else skipped)
            raise AirflowSkipException(f"{step.path}: its sub-workflow was skipped by its `when`")
        self.given_values = inputs.given
        tries = Tries(self.asked_retries.of_dag, left=int(ti.try_number) <= int(ti.max_tries))
        run_inputs = self.values(context, self.setup.scope).run_inputs(self.setup.scope.top.graph)
        spec = fragment_of(inputs, context, run_inputs, identity_of(context), tries)
        if self._recovery is not None:
            recovery = self._recovery
            spec = replace(spec, originals=recovery.renewed.originals, recovered=recovery.has_recovered)
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

    def _inputs(self, context: Context) -> StepInputs:
        return StepInputs.read(self.setup, self.values(context, self.setup.scope), self.chunk)

    def _run_here(self, ti: Any, spec: FragmentSpec, places: list[int | None] | None, jobs: int | None) -> Any:
        from airflow.configuration import conf

        from airflow_hybrid.engine import FragmentExecution, task_value
        from airflow_hybrid.model.records import LINEAGE_XCOM
        from airflow_hybrid.triggers.reports import JobReports

        execution = FragmentExecution(spec, self.log)

        async def publish(key: str, report: JsonValue) -> None:
            await asyncio.to_thread(ti.xcom_push, key=key, value=report)

        async def run() -> FragmentOutcome:
            async with JobReports(lambda: execution, publish, self.log).kept_up_to_date():
                return await execution.run()

        for message in self.setup.lost_queues(conf.get("core", "executor", fallback=""), socket.gethostname()):
            self.log.warning("%s", message)
        self._executions = (execution,)
        try:
            outcome = self.run_async(run())
        finally:
            self._ran_at = execution.batches.recorder.places
        self._executions = ()
        self.lineage = outcome.lineage
        ti.xcom_push(key=LINEAGE_XCOM, value=[entry.to_json() for entry in outcome.lineage])
        value = task_value(outcome, places, jobs)
        if all(result.status == "skipped" for result in outcome.results):
            ti.xcom_push(key=RETURN, value=value)
            raise AirflowSkipException(f"{spec.step_path}: its `when` is false")
        return value

    def resumed(self, context: Context, event: Any = None) -> Any:
        """End the task in a worker, as its trigger says (:class:`airflow_hybrid.triggers.ends.TaskEnd`); or, where its
        trigger misses files, make them again and begin anew.

        Its values were published by the trigger, unless it handed them over; it has also logged why it failed.
        """
        ti: Any = context["ti"]
        end = TaskEnd.from_json(event)
        if isinstance(end.error, LostDataError) and not end.timed_out:
            return self._begin(context, Lost(end.error, end.recovered))
        if end.result is not None:
            for key, value in end.result.items():
                ti.xcom_push(key=key, value=value)
        self._recall_files(context)
        if end.state is EndState.SKIPPED:
            raise AirflowSkipException(f"{self.setup.step.path}: its `when` is false")
        if end.error is None:
            return None
        if end.timed_out:
            raise AirflowTaskTimeout(str(end.error))
        self._end_with(end.error, context)

    def _recall_files(self, context: Context) -> None:
        """For OpenLineage: what the worker that deferred the task was given, and what its trigger has published."""
        from airflow_hybrid.installation import openlineage

        if not openlineage.is_on():
            return
        from airflow_hybrid.installation.openlineage.datasets import entries_from_xcom

        ti: Any = context["ti"]
        self.given_values = self._inputs(context).given
        self.lineage = entries_from_xcom(ti.xcom_pull(task_ids=ti.task_id, key="lineage", map_indexes=ti.map_index))

    when_over = "its jobs are cancelled"


def _in_few_words(places: Iterable[tuple[str, str | None]], between: str) -> str:
    """``hpc/gpu, cloud``; of several, the first three."""
    names = sorted(f"{deployment}/{service}" if service else deployment for deployment, service in places)
    text = between.join(names[:_MOST_PLACES]) + (" ..." if len(names) > _MOST_PLACES else "")
    return shortened(text, _LONGEST_PLACES)
