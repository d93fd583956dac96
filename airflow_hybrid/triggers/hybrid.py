# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The trigger that runs a fragment's remote life in the triggerer and ends its task itself.

The task does not return to a worker: a trigger that yields ``TaskSuccessEvent`` ends it right there. This saves a
process and avoids a race in Airflow 3.3 between a worker's exit and a fast trigger (a resumed task is then reported as
"executor reported success, but state is queued").

Airflow calls callbacks, sends e-mails and tells listeners in a worker only. Where there are any, the task returns to
one, but not before the scheduler has long seen the exit of the worker that deferred it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_hybrid.amounts import counted
from airflow_hybrid.engine import FragmentExecution, FragmentOutcome, FragmentSpec, stopping, task_value
from airflow_hybrid.engine.retrying.rules import most_retries
from airflow_hybrid.errors import HybridError, LostDataError
from airflow_hybrid.installation.conf import use_airflow_conf
from airflow_hybrid.installation.openlineage.events import Ended, send_end
from airflow_hybrid.installation.stats import send_metrics
from airflow_hybrid.model import JsonValue, LineageEntry
from airflow_hybrid.model.records import LINEAGE_XCOM, PROBLEM_XCOM
from airflow_hybrid.sites.hosts.per_loop import PerLoop
from airflow_hybrid.sites.logins import with_logins
from airflow_hybrid.sites.patience.outages import Patience, waits
from airflow_hybrid.sites.waiting import AGAIN_S, TimeIsOverError, time_is_over
from airflow_hybrid.triggers.ends import EndState, TaskEnd
from airflow_hybrid.triggers.followers import is_followed_elsewhere
from airflow_hybrid.triggers.reports import JobReports, problem

RESUME_AFTER_S = 10.0
"""seconds from the start of a trigger to the return of its task to a worker, at least: the scheduler has to see before
that the worker has exited which deferred it, so none of its rounds may take longer"""
_EVENTS = {
    EndState.SUCCESS: TaskSuccessEvent,
    EndState.SKIPPED: TaskSkippedEvent,
    EndState.FAILED: TaskFailedEvent,
}

use_airflow_conf()
_HAS_RUN: PerLoop[str, bool] = PerLoop()


def _is_first() -> bool:
    """Whether no trigger of ours has run in this event loop before."""
    here = _HAS_RUN.here()
    first = not here
    here["yes"] = True
    return first


async def publish(ti: Any, outcome: FragmentOutcome, value: JsonValue) -> None:
    """Set the XComs of a task from within the triggerer.

    ``TaskSuccessEvent(xcoms=...)`` would encode JSON twice, so the SDK's own XCom class is used; this is the one
    place that does.
    """
    from airflow.sdk.execution_time.xcom import XCom

    at = _instance(ti)
    await XCom.aset(key=LINEAGE_XCOM, value=[entry.to_json() for entry in outcome.lineage], **at)
    await XCom.aset(key="return_value", value=value, **at)


def _instance(ti: Any) -> dict[str, Any]:
    return {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}


class HybridTrigger(BaseTrigger):
    """Runs the fragment ``spec`` (:class:`airflow_hybrid.engine.FragmentSpec` as JSON).

    :param places, jobs: see :func:`airflow_hybrid.engine.task_value`.
    :param timeout_s: the task's execution timeout, which is enforced here (a timeout of Airflow's own would go
        through a worker).
    :param deadline: the end of the timeout in seconds since the epoch: another triggerer may take over in between.
    :param ends_in_worker: ends that a worker has to report (:mod:`airflow_hybrid.operators.ending`).
    :param resume_after_s: see :data:`RESUME_AFTER_S`.
    :param openlineage: the run for OpenLineage (:class:`airflow_hybrid.installation.openlineage.events.TaskRun` as
        JSON), which is told of the task's end if the task ends here.
    """

    tells_errors: ClassVar[bool] = True
    """whether to write the error to the task's log; a runner with triggers in its own process may report it itself"""
    waits: ClassVar[bool] = True
    """whether to wait while a login is refused or a site does not answer, even one that has never answered"""
    others_may_follow: bool = True
    """whether there may be other triggerers; a runner with triggers in its own process knows that there are none"""

    def __init__(  # noqa: PLR0913 - Airflow's serialized arguments, by name
        self,
        spec: dict[str, Any],
        places: list[int | None] | None = None,
        jobs: int | None = None,
        timeout_s: float | None = None,
        deadline: float | None = None,
        ends_in_worker: Sequence[str] = (),
        resume_after_s: float = RESUME_AFTER_S,
        openlineage: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.spec = spec
        self.places = places
        self.jobs = jobs
        self.timeout_s = timeout_s
        self.deadline = deadline
        self.ends_in_worker = [EndState(end) for end in ends_in_worker]
        self.resume_after_s = resume_after_s
        self.openlineage = openlineage
        self.lineage: Sequence[LineageEntry] = ()
        """of the fragment, when it has ended"""
        self.unpublished: dict[str, JsonValue] = {}
        """by XCom's key: the last reports about its jobs and files, and its problem, if nobody could publish them"""
        self.failure: HybridError | None = None
        """why the task failed, for a runner that runs the trigger in its own process"""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_hybrid.triggers.hybrid.HybridTrigger",
            {
                "spec": self.spec,
                "places": self.places,
                "jobs": self.jobs,
                "timeout_s": self.timeout_s,
                "deadline": self.deadline,
                "ends_in_worker": [end.value for end in self.ends_in_worker],
                "resume_after_s": self.resume_after_s,
                "openlineage": self.openlineage,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.to_thread(send_metrics, gauges=True)
        if self.waits and _is_first():
            await stopping.stop_noted()
        began = time.monotonic()
        end = await self._end()
        is_lost = isinstance(end.error, LostDataError)
        self.failure = None if is_lost else end.error
        if end.error is not None:
            await self._publish_problem(end.error)
        if self.task_instance is None:
            # `airflow dags test` runs a trigger by itself and resumes the task with what it says
            if self.unpublished:
                end = replace(end, result={**self.unpublished, **(end.result or {})})
            yield TriggerEvent(end.to_json())  # type: ignore[no-untyped-call]
            return
        if end.state not in self.ends_in_worker and not is_lost and not self._is_final(end):
            if self.openlineage is not None:
                error = None if end.error is None else str(end.error)
                await send_end(self.openlineage, Ended(self.spec["instances"], self.lineage, error))
            yield _EVENTS[end.state]()
            return
        await asyncio.sleep(max(0.0, began + self.resume_after_s - time.monotonic()))
        yield TriggerEvent(end.to_json())  # type: ignore[no-untyped-call]

    def _is_final(self, end: TaskEnd) -> bool:
        """Whether no other try follows: a worker ends the task.

        Airflow would use tries that are left and may not be used; and only a worker can note what a clear goes on with.
        """
        if end.error is None:
            return False
        return not end.error.retryable if self.spec.get("tries_left") else end.error.resumable

    async def _end(self) -> TaskEnd:
        """Run the fragment to its end, whatever it is; the log says why a task failed."""
        execution = self._execution()

        async def run() -> FragmentOutcome:
            # whatever was submitted is found by its directory
            nonlocal execution
            execution = self._execution()
            return await execution.run()

        reports = JobReports(lambda: execution, self._publish, self.log)
        try:
            async with reports.kept_up_to_date():
                patience = Patience(self.log, at_first=self.waits, tell=self._publish_problem)
                outcome = await self._within_limit(self._waiting(run, patience))
            self.lineage = outcome.lineage
            value = task_value(outcome, self.places, self.jobs)
            skipped = all(result.status == "skipped" for result in outcome.results)
            result: dict[str, Any] | None = None
            if self.task_instance is None:
                result = {LINEAGE_XCOM: [entry.to_json() for entry in outcome.lineage], "return_value": value}
            else:
                await publish(self.task_instance, outcome, value)
            self.log.info(
                "%s: %s, %d files", execution.context.spec.step_path, counted(outcome.jobs, "job"), len(outcome.lineage)
            )
            return TaskEnd(EndState.SKIPPED if skipped else EndState.SUCCESS, result=result)
        except TimeIsOverError:
            message = time_is_over(self.timeout_s, "its jobs are cancelled")
            self.log.error("%s", message)
            await self._cancel(execution)
            spec = execution.context.spec
            asked = spec.identity.tries <= most_retries(spec)
            return TaskEnd(EndState.FAILED, HybridError(message, retryable=asked), timed_out=True)
        except LostDataError as error:  # a worker makes the files again, or says why it does not
            return TaskEnd(EndState.FAILED, error, recovered=bool(self.spec.get("recovered")))
        except HybridError as error:
            # one message without a traceback: it says what failed, where, and what to do
            if self.tells_errors:
                self.log.error("%s", error.for_a_task)
            return TaskEnd(EndState.FAILED, error)
        except Exception as error:
            # an exception that leaves a trigger would be handled by a worker: end the task here, and log it
            self.log.exception("a defect of airflow_hybrid, please report it")
            message = f"a defect of airflow_hybrid, please report it: {type(error).__name__}: {error}"
            return TaskEnd(EndState.FAILED, HybridError(message, retryable=True))

    async def _waiting(self, run: Callable[[], Awaitable[FragmentOutcome]], patience: Patience) -> FragmentOutcome:
        """Run, and wait for sites and logins."""
        with waits(patience):
            return await (with_logins(run, self.log, self._publish_problem) if self.waits else run())

    async def _publish_problem(self, error: HybridError | None) -> None:
        """Publish what the task has failed with, or waits for. The work goes on without it: it is for people."""
        value = None if error is None else problem(error)
        try:
            await self._publish(PROBLEM_XCOM, value)
        except Exception as failure:
            self.log.warning("why the task waits or has failed cannot be published: %s", failure)

    async def _publish(self, key: str, value: JsonValue) -> None:
        if self.task_instance is None:
            self.unpublished[key] = value
            if value is None:
                del self.unpublished[key]
            return
        from airflow.sdk.execution_time.xcom import XCom

        await XCom.aset(key=key, value=value, **_instance(self.task_instance))

    async def _within_limit(self, work: Coroutine[Any, Any, FragmentOutcome]) -> FragmentOutcome:
        """:raises TimeIsOverError: the task's time limit is reached; the work has ended."""
        running = asyncio.ensure_future(work)
        left_s = self.timeout_s if self.deadline is None else max(0.0, self.deadline - time.time())
        try:
            done, _ = await asyncio.wait({running}, timeout=left_s)
        finally:
            while not running.done():  # asyncio may lose a cancellation
                running.cancel()
                await asyncio.wait({running}, timeout=AGAIN_S)
        if not done:
            raise TimeIsOverError
        return running.result()

    async def on_kill(self) -> None:
        """Airflow no longer wants this trigger: cancel its jobs, unless somebody else follows them.

        A user has marked the task or cleared it; or another triggerer has taken over.
        """
        if self.others_may_follow and self.task_instance is not None and await self._is_followed_elsewhere():
            return
        await self._cancel(self._execution())

    async def _is_followed_elsewhere(self) -> bool:
        """Whether jobs may have somebody else who follows them; the log says so."""
        step = self.spec["step_path"]
        try:
            followed = await is_followed_elsewhere(self.task_instance)
        except Exception:
            self.log.exception(
                "%s: Airflow did not say whether the task is still deferred, so its jobs are not cancelled: another"
                " triggerer may follow them. If none does, cancel them at their site",
                step,
            )
            return True
        if followed:
            self.log.info("%s: its jobs are followed by another triggerer, or were ended by a later try", step)
        return followed

    def _execution(self) -> FragmentExecution:
        return FragmentExecution(FragmentSpec.from_json(self.spec), self.log)

    async def _cancel(self, execution: FragmentExecution) -> None:
        spec = execution.context.spec
        try:
            note = await stopping.stop(spec, self.log)
        except HybridError as error:
            self.log.error("the jobs of %s could not be cancelled: %s", spec.step_path, error)
            return
        if note is not None and self.waits:
            stopping.stop_later(note)
