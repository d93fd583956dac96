# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Run a DAG from beginning to end in this process.

This uses Airflow's own parts: its scheduling decisions (``DagRun.update_state``), the Task SDK's runner with its
in-process API server, triggers and their end events. ``DAG.test()`` consists of the same parts, but reads the whole
DAGs folder again for each run, runs one trigger at a time, and returns a task that its trigger ends to a worker. This
loop replaces it: workers run one after the other, and all triggers run at once between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from airflow import settings
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.collection import update_dag_parsing_results_in_db
from airflow.models.dagrun import DagRun, get_or_create_dagrun
from airflow.models.trigger import handle_event_submit
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, timezone
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.api.datamodels._generated import TaskInstance as TaskIdentity
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import DeferTask
from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, run_task_in_process
from airflow.sdk.serde import deserialize
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import (
    DagSerialization,
    LazyDeserializedDAG,
    create_scheduler_operator,
)
from airflow.triggers.base import TaskFailedEvent
from airflow.utils.platform import getuser
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select

from airflow_hybrid.engine.common import cwl_thread_is_idle, in_cwl_thread
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import CwlObject
from airflow_hybrid.operators.values import OUTPUTS_TASK, RETURN
from airflow_hybrid.runner.interrupts import interrupts_outside_of_tasks
from airflow_hybrid.runner.progress.following import RunProgress
from airflow_hybrid.runner.told import TaskError
from airflow_hybrid.sites.closing import close_all

log = logging.getLogger(__name__)

BUNDLE = "dags-folder"
RETRY_PAUSE_S = 1.0


@dataclass
class RunResult:
    """How a run ended.

    :ivar outputs: the CWL output object; None where the run failed.
    :ivar failures: why tasks failed, in the order in which they did.
    """

    state: str
    outputs: CwlObject | None
    failures: list[TaskError] = field(default_factory=list)
    succeeded_jobs: dict[str, int] = field(default_factory=dict)
    """by scattered task of which a chunk failed: how many jobs its other chunks had"""
    tasks: dict[str, str] = field(default_factory=dict)
    run_id: str = ""

    @property
    def succeeded(self) -> bool:
        return self.state == DagRunState.SUCCESS.value

    @property
    def errors(self) -> list[BaseException]:
        """Why tasks failed, in the order in which they did."""
        return [failure.error for failure in self.failures]


class _TriggerComms:
    """Passes triggers' requests to the API server within the process (the triggerer uses a socket)."""

    def __init__(self, supervisor: InProcessTestSupervisor) -> None:
        from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms

        supervisor.comms = InProcessSupervisorComms(supervisor=supervisor)
        self._inner = supervisor.comms

    def send(self, msg: Any) -> Any:
        return self._inner.send(msg)

    async def asend(self, msg: Any) -> Any:
        return self._inner.send(msg)


def _serve_newest_clients_only() -> None:
    """Keep the in-process API server from creating its routes for older clients: there are none here.

    It creates them for each version since 3.0, which takes about three seconds of CPU time.
    """
    from airflow.api_fastapi.execution_api import versions
    from airflow.api_fastapi.execution_api.routes import execution_api_router as router
    from cadwyn import HeadVersion, Version, VersionBundle
    from cadwyn.route_generation import _DELETED_ROUTE_TAG

    newest = versions.bundle.versions[0]
    versions.bundle = VersionBundle(HeadVersion(), Version(newest.value))
    router.routes = [route for route in router.routes if _DELETED_ROUTE_TAG not in getattr(route, "tags", ())]


class DagRunner:
    """Runs DAGs one after the other; must be closed at the end (connections of its triggers stay open until then)."""

    def __init__(self, progress: RunProgress | None = None) -> None:
        """:param progress: is told how far the run is."""
        self.progress = progress
        _serve_newest_clients_only()
        self._loop = asyncio.new_event_loop()
        self._bundles_known = False

    def close(self) -> None:
        async def end() -> None:
            await close_all()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:  # pollers that nobody waits for
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        self._loop.run_until_complete(end())
        self._loop.close()

    def run(
        self, dag: DAG, conf: CwlObject | None = None, run_id: str | None = None, user: str | None = None
    ) -> RunResult:
        """Run ``dag`` once and wait for its end.

        :param user: who triggers the run; None: whoever runs this process, as for ``airflow dags trigger``.
        """
        session: Any = cast(Any, settings).NonScopedSession()  # the API server closes this thread's session
        try:
            return _Run(self, dag, self._create(dag, conf, run_id, user, session), session).to_its_end()
        finally:
            session.close()

    def _create(self, dag: DAG, conf: CwlObject | None, run_id: str | None, user: str | None, session: Any) -> DagRun:
        if not self._bundles_known:
            cast(Any, DagBundlesManager)().sync_bundles_to_db(session=session)
            session.commit()
            self._bundles_known = True
        cast(Any, dag).validate()
        dag.relative_fileloc = dag.relative_fileloc or os.path.basename(dag.fileloc)
        lazy = LazyDeserializedDAG.from_dag(dag)
        update_dag_parsing_results_in_db(BUNDLE, None, [lazy], {}, None, set(), session=session)
        session.commit()
        scheduled: SerializedDAG = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        now = timezone.utcnow()
        run = get_or_create_dagrun(
            dag=scheduled,
            start_date=now,
            logical_date=now,
            data_interval=(now, now),
            run_after=now,
            run_id=run_id or DagRun.generate_run_id(run_type=DagRunType.MANUAL, logical_date=now, run_after=now),
            session=session,
            conf=conf,
            triggered_by=DagRunTriggeredByType.CLI,
            triggering_user_name=user or getuser(),
        )
        session.commit()
        return run


class _Run:
    """One run."""

    def __init__(self, runner: DagRunner, dag: DAG, run: DagRun, session: Any) -> None:
        self._loop = runner._loop
        self._progress = runner.progress
        self._dag = dag
        self._run = run
        self._session = session
        self._triggers: dict[asyncio.Task[Any], tuple[Any, Any]] = {}
        self._failures: dict[tuple[str, int], TaskError] = {}
        """by task and map index: of its last try"""

    def to_its_end(self) -> RunResult:
        with contextlib.nullcontext() if self._progress is None else self._progress.following():
            return self._to_its_end()

    def _to_its_end(self) -> RunResult:
        try:
            while self._advance():
                pass
        finally:
            self._stop_triggers()
        failures = list(self._failures.values())
        succeeded = self._succeeded_jobs()
        return RunResult(self._run.state, self._outputs(), failures, succeeded, self._states(), self._run.run_id)

    def _advance(self) -> bool:
        """One round: run what is ready, then triggers until one of them ends."""
        session, run = self._session, self._run
        session.expire_all()
        schedulable, _ = run.update_state(session=session)
        for ti in schedulable:
            ti.try_number += 1
            ti.state = TaskInstanceState.SCHEDULED
            ti.scheduled_dttm = timezone.utcnow()
        session.commit()
        if run.state != DagRunState.RUNNING:
            return False
        instances = run.get_task_instances(session=session)
        if self._progress is not None:
            self._progress.saw(instances)
        ready = [ti for ti in instances if ti.state == TaskInstanceState.SCHEDULED]
        for ti in sorted(ready, key=lambda ti: (ti.task_id, ti.map_index)):
            with contextlib.nullcontext() if self._progress is None else self._progress.working_on(ti.task_id):
                self._work(ti)
        if not ready:
            self._wait_for_triggers()
        return True

    # --- workers -------------------------------------------------------------------------------------------------

    def _work(self, ti: Any) -> None:
        """Do a worker's work: run the task to its end or its deferral."""
        ti.set_state(TaskInstanceState.QUEUED)
        is_resumed = ti.next_method is not None  # its trigger has said why it failed
        if not is_resumed:
            self._failures.pop((ti.task_id, ti.map_index), None)
        identity = TaskIdentity(
            id=UUID(str(ti.id)),
            task_id=ti.task_id,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            try_number=ti.try_number,
            map_index=ti.map_index,
            dag_version_id=UUID(str(ti.dag_version_id)),
        )
        on_term = signal.getsignal(signal.SIGTERM)
        try:
            result = run_task_in_process(ti=identity, task=self._dag.task_dict[ti.task_id])
            if isinstance(result.error, KeyboardInterrupt):  # not the end of this task, but that of the run
                raise result.error
        finally:
            # the SDK leaves the task's handler behind, which would only end a task that is gone
            signal.signal(signal.SIGTERM, on_term)
        ti.set_state(result.ti.state)
        ti.task = create_scheduler_operator(result.ti.task)
        if isinstance(result.msg, DeferTask):
            self._defer(ti, identity, result.msg)
        elif result.error is not None and ti.state != TaskInstanceState.SKIPPED and not self._is_told(ti, is_resumed):
            self._failed(ti, result.error)

    def _is_told(self, ti: Any, is_resumed: bool) -> bool:
        """Whether the task's trigger has said already why the task failed."""
        return is_resumed and (ti.task_id, ti.map_index) in self._failures

    def _failed(self, ti: Any, error: BaseException) -> None:
        self._failures[ti.task_id, ti.map_index] = TaskError(ti.task_id, ti.map_index, error)
        if ti.state == TaskInstanceState.UP_FOR_RETRY:
            number, most = ti.try_number + 1, ti.max_tries + 1
            log.warning("%s failed and is tried again (try %d of %d): %s", ti.task_id, number, most, _for_a_log(error))

    # --- triggers ------------------------------------------------------------------------------------------------

    def _defer(self, ti: Any, identity: TaskIdentity, message: DeferTask) -> None:
        kwargs: Any = deserialize(message.trigger_kwargs)  # type: ignore[type-var]
        trigger: Any = import_string(message.classpath)(**kwargs)
        trigger.task_instance = identity
        trigger.others_may_follow = False
        work = self._loop.create_task(_first_event(trigger), name=f"{ti.task_id}[{ti.map_index}]")
        self._triggers[work] = (ti, trigger)
        self._turn(self._step_once())

    async def _step_once(self) -> None:
        await asyncio.sleep(0)

    def _turn(self, work: Any) -> Any:
        """Let the triggers' loop run, with the triggerer's way to the API server open.

        It stands still while a task works in this thread. So it runs until the cwltool thread is idle, which may wait
        for its answers, and which the next task may need.
        """
        make: Any = InProcessTestSupervisor
        supervisor = make(id=UUID(int=0), pid=0, process=None, process_log=log, client=make._api_client())
        task_runner.SUPERVISOR_COMMS = _TriggerComms(supervisor)  # type: ignore[assignment]
        try:
            with interrupts_outside_of_tasks(self._loop) as interrupted:
                task = asyncio.ensure_future(work, loop=self._loop)
                interrupted.append(task)
                try:
                    result = self._loop.run_until_complete(task)
                    while interrupted and not cwl_thread_is_idle():
                        waiting = asyncio.ensure_future(in_cwl_thread(lambda: None), loop=self._loop)
                        interrupted[:] = [waiting]
                        self._loop.run_until_complete(waiting)
                except asyncio.CancelledError:
                    if interrupted:
                        raise
                if not interrupted:  # also if that was too late to cancel anything
                    raise KeyboardInterrupt
                return result
        finally:
            del task_runner.SUPERVISOR_COMMS

    def _wait_for_triggers(self) -> None:
        if not self._triggers:
            time.sleep(RETRY_PAUSE_S)  # a retry is due later
            return
        retries = any(state == TaskInstanceState.UP_FOR_RETRY.value for _, state in self._named_states())
        pause_s = RETRY_PAUSE_S if retries else None
        done, _ = self._turn(asyncio.wait(self._triggers, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED))
        for work in done:
            ti, trigger = self._triggers.pop(work)
            error = work.exception()
            event = TaskFailedEvent() if error is not None else work.result()
            if event is None:
                event = TaskFailedEvent()
            handle_event_submit(event, task_instance=ti, session=self._session)
            self._session.commit()
            error = error or getattr(trigger, "failure", None)
            if error is not None:
                self._failed(ti, error)

    def _stop_triggers(self) -> None:
        """The run is interrupted (Ctrl-C): cancel the jobs of its triggers."""
        left, self._triggers = self._triggers, {}
        if not left:
            return
        if self._progress is not None:
            self._progress.does("interrupted: its jobs are cancelled")

        async def stop() -> None:
            for work in left:
                work.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await asyncio.gather(*(trigger.on_kill() for _, trigger in left.values()), return_exceptions=True)

        self._turn(stop())

    # --- results -------------------------------------------------------------------------------------------------

    def _succeeded_jobs(self) -> dict[str, int]:
        """For scatters with a failed chunk: the number of outputs of the other chunks, by task."""
        import json

        succeeded: dict[str, int] = {}
        for task_id in {failure.task_id for failure in self._failures.values() if failure.mapped_index >= 0}:
            query = select(XComModel.value).where(
                XComModel.dag_id == self._run.dag_id,
                XComModel.run_id == self._run.run_id,
                XComModel.task_id == task_id,
                XComModel.key == RETURN,
            )
            values = [json.loads(v) if isinstance(v, str) else v for v in self._session.scalars(query)]
            succeeded[task_id] = sum(len([job for job in value or () if job is not None]) for value in values)
        return succeeded

    def _outputs(self) -> CwlObject | None:
        import json

        query = select(XComModel.value).where(
            XComModel.dag_id == self._run.dag_id,
            XComModel.run_id == self._run.run_id,
            XComModel.task_id == OUTPUTS_TASK,
            XComModel.key == RETURN,
        )
        value = self._session.scalars(query).first()
        outputs: CwlObject | None = json.loads(value) if isinstance(value, str) else value
        return outputs

    def _states(self) -> dict[str, str]:
        return dict(self._named_states())

    def _named_states(self) -> Iterator[tuple[str, str]]:
        for ti in self._run.get_task_instances(session=self._session):
            name = ti.task_id + (f"[{ti.map_index}]" if ti.map_index >= 0 else "")
            yield name, str(getattr(ti.state, "value", ti.state))


def _for_a_log(error: BaseException) -> str:
    return error.for_a_task if isinstance(error, HybridError) else f"{type(error).__name__}: {error}"


async def _first_event(trigger: Any) -> Any:
    async for event in trigger.run():
        return event
    return None
