# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Shared by the tasks of a hybrid DAG."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from airflow.sdk import BaseOperator, TaskInstanceState, timezone
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException, AirflowTaskTimeout

from airflow_hybrid import settings
from airflow_hybrid.errors import (
    CancelledError,
    HybridError,
    LoginRefusedError,
    LostDataError,
    SiteError,
    UnknownHostError,
)
from airflow_hybrid.installation.conf import use_airflow_conf
from airflow_hybrid.installation.stats import send_metrics
from airflow_hybrid.model import JsonValue, LineageEntry
from airflow_hybrid.operators.context.run import origins_of, xcom_reader
from airflow_hybrid.operators.ending import AskedRetries, FailurePolicy, ending
from airflow_hybrid.operators.identity import REFUSED, UNREACHABLE, ends_wait, note_failure, waits_since
from airflow_hybrid.operators.recovery.making import Recovery
from airflow_hybrid.operators.recovery.putting_back import PUT_BACK_XCOM
from airflow_hybrid.operators.recovery.renewed import Renewed
from airflow_hybrid.operators.values import NoValueError, Scope, Values
from airflow_hybrid.overviews.replays import MADE_AGAIN_XCOM, RENEWED_XCOM
from airflow_hybrid.sites.logins import given_up, state_of, waiting
from airflow_hybrid.sites.patience import outages
from airflow_hybrid.sites.patience.outages import Patience
from airflow_hybrid.sites.waiting import TimeIsOverError, give_up, time_is_over, wait_for

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_hybrid.engine import FragmentExecution, FragmentOutcome, FragmentSpec

use_airflow_conf()

T = TypeVar("T")
TIMER_GRACE_S = 2.0
"""seconds by which our timer is later than Airflow's own"""
IN_WORKER_S = 60.0
"""how long a task waits in its worker for a site that does not answer; then it gives the slot back"""
SITE_PAUSE_S = 60.0
"""seconds until a task is started again that has missed a site, at most"""
LOGIN_PAUSE_S = 300.0
"""seconds until a task is started again whose login was refused: more attempts could get this machine banned"""
GIVE_UP_S = 1.0
"""seconds that a killed task's work may take to end before its jobs are cancelled: SIGKILL follows after 5 s"""


@dataclass(frozen=True)
class Lost:
    """What a task's trigger has missed.

    :ivar recovered: whether this try has made files again before.
    """

    error: LostDataError
    recovered: bool


class HybridTask(BaseOperator):
    """Shared: errors without tracebacks, time limits, cleaning up when killed, values of upstream tasks."""

    _deadline: float | None = None
    _working = False
    _killed = False
    _recovery: Recovery | None = None
    _executions: tuple[FragmentExecution, ...] = ()
    """fragments that run in this worker"""
    given_values: JsonValue = None
    """its inputs, as CWL has them"""
    lineage: Sequence[LineageEntry] = ()
    """the files that it has read and made, when its work is done"""
    copies_are_outputs: ClassVar[bool] = False
    """whether it is there to bring files somewhere; a step brings files only for its jobs"""

    def __init__(self, *, asked_retries: AskedRetries | None = None, **kwargs: Any) -> None:
        """:param asked_retries: None: all of the task's ``retries`` were asked for."""
        # what a task returns is the next one's input, whatever the DAG's `default_args` say
        super().__init__(**{**kwargs, "do_xcom_push": True})
        retries = self.retries or 0
        asked = asked_retries or AskedRetries(retries, retries, retries)
        self.asked_retries = asked.with_policies(retries)
        self.retry_policy = FailurePolicy(self.asked_retries, self.retry_policy)

    def execute(self, context: Context) -> Any:
        return self._begin(context)

    def _begin(self, context: Context, lost: Lost | None = None) -> Any:
        """:param lost: what the task's trigger missed."""
        limit_s = self.execution_timeout.total_seconds() if self.execution_timeout else None
        self._deadline = None if limit_s is None else time.monotonic() + limit_s
        self._working = True
        try:
            if self._killed:
                self.on_kill()
                raise CancelledError("the task was killed before it had begun")
            return self._with_data(context, lost)
        except AirflowTaskTimeout:
            # a BaseException, which Airflow raises from a signal handler; it calls `on_kill` next
            give_up(GIVE_UP_S)
            self.log.error("%s", time_is_over(limit_s, self.when_over))
            raise
        except LoginRefusedError as error:
            self._fail(self._wait_for_login(error, context), context)
        except SiteError as error:
            self._fail(self._wait_for_site(error, context), context)
        except HybridError as error:
            self._fail(error, context)
        finally:
            self._working = False

    def _fail(self, error: HybridError, context: Context) -> NoReturn:
        """:raises BaseException: always, for an error that says what failed, where, and what to do."""
        if not self._killed:  # then others have decided on its end
            self._publish_problem(error, context)
        if self.tells_errors:
            self.log.error("%s", error.for_a_task)
        self._end_with(error, context)

    def _end_with(self, error: HybridError, context: Context) -> NoReturn:
        """:raises BaseException: always, for an error that has been told."""
        if error.resumable and not self._killed:
            try:
                note_failure(context)
            except Exception as failure:
                self.log.warning(
                    "a clear of this task will run all of its jobs again: Airflow took no note: %s", failure
                )
        raise ending(error) from None

    def _publish_problem(self, error: HybridError | None, context: Context) -> None:
        """Publish what the task has failed with, or waits for: it is for people, and nothing depends on it."""
        from airflow_hybrid.model.records import PROBLEM_XCOM
        from airflow_hybrid.triggers.reports import problem

        value = None if error is None else problem(error)
        try:
            context["ti"].xcom_push(key=PROBLEM_XCOM, value=value)
        except Exception as failure:
            self.log.warning("why the task waits or has failed cannot be published: %s", failure)

    def _wait_for_login(self, error: LoginRefusedError, context: Context) -> HybridError:
        """Let Airflow start the task again later, in the same try; the error to fail with if it may not wait (longer).

        :raises TaskDeferred: the task waits, and the triggerer looks whether there are new credentials.
        :raises AirflowRescheduleException: the task waits.
        """
        refusal = error.refusal
        if refusal is None or refusal.wait_s <= 0 or not self.waits:
            return error
        since = waits_since(context, REFUSED, LOGIN_PAUSE_S)
        if time.time() >= since + refusal.wait_s:
            ends_wait(context, REFUSED)
            return given_up(error, since)
        self.log.warning("%s", waiting(error, since, refusal.wait_s))
        self._publish_problem(error, context)
        self._begin_later(LOGIN_PAUSE_S, refusal.files)

    def _wait_for_site(self, error: SiteError, context: Context) -> HybridError:
        """Like :meth:`_wait_for_login`, while a site does not answer."""
        if not error.passes or isinstance(error, UnknownHostError) or not self.waits:
            return error
        since, limit_s = waits_since(context, UNREACHABLE, SITE_PAUSE_S), settings.current().max_unreachable
        if time.time() >= since + limit_s:
            ends_wait(context, UNREACHABLE)
            return outages.given_up(error, since)
        self.log.warning("%s", outages.waiting(error, since, limit_s))
        self._publish_problem(error, context)
        # tasks that have missed a site together do not come back together
        self._begin_later(min(SITE_PAUSE_S * random.uniform(0.5, 1.0), max(1.0, since + limit_s - time.time())))

    def _begin_later(self, pause_s: float, files: Sequence[str] = ()) -> NoReturn:
        """Give the worker back until a pause is over, or one of some files of this machine has changed.

        :raises TaskDeferred, AirflowRescheduleException: always.
        """
        if supervised() and any(map(is_deferred, self.dag.tasks)):  # then there is a triggerer
            from airflow_hybrid.triggers.logins import LoginTrigger

            trigger = LoginTrigger(state_of(files), socket.gethostname(), pause_s)
            self.defer(trigger=trigger, method_name=self.begin_again.__name__)
        at = timezone.utcnow() + timedelta(seconds=pause_s)
        raise AirflowRescheduleException(at) from None  # type: ignore[no-untyped-call]

    def begin_again(self, context: Context, event: Any = None) -> Any:
        """Begin anew after waiting for a login or a site."""
        self._publish_problem(None, context)
        return self._begin(context)

    def _with_data(self, context: Context, lost: Lost | None) -> Any:
        """Do the task's work; what it misses is made again, as often as the DAG allows.

        :param lost: what its trigger missed.
        """
        top = self.top_scope
        recovery = None
        if top is not None:
            recovery = Recovery(self, context, top, self._renewed(context, lost), self._put_back(context, lost))
        self._recovery = recovery
        error = None if lost is None else lost.error
        while True:
            if error is not None and recovery is not None:
                self._make_again(recovery, error, context)
            try:
                return self._unless_skipped(context)
            except LostDataError as missed:
                if recovery is None:
                    raise
                error = missed

    def _renewed(self, context: Context, lost: Lost | None) -> Renewed:
        """What this try of the task has made again before it was deferred."""
        if lost is None or not lost.recovered:
            return Renewed()
        return Renewed.from_json(self._published(RENEWED_XCOM, context))

    def _put_back(self, context: Context, lost: Lost | None) -> JsonValue:
        """What this try of the task has put back from checkpoints before it was deferred."""
        return self._published(PUT_BACK_XCOM, context) if lost is not None and lost.recovered else None

    @staticmethod
    def _published(key: str, context: Context) -> JsonValue:
        """What an earlier worker of the same try has published."""
        ti: Any = context["ti"]
        index = ti.map_index if ti.map_index is not None else -1
        return xcom_reader(context)(ti.task_id, key, index)

    def _make_again(self, recovery: Recovery, lost: LostDataError, context: Context) -> None:
        """:raises HybridError: see :meth:`Recovery.make_again`."""
        self._publish_problem(lost, context)
        recovery.make_again(lost)
        self._publish_problem(None, context)
        ti: Any = context["ti"]
        ti.xcom_push(key=PUT_BACK_XCOM, value=recovery.checkpoints.to_json())
        ti.xcom_push(key=RENEWED_XCOM, value=recovery.renewed.to_json())
        ti.xcom_push(key=MADE_AGAIN_XCOM, value=[replay.to_json() for replay in recovery.made])

    @property
    def top_scope(self) -> Scope | None:
        """The DAG's workflow, for a task that reads values of other tasks."""
        return None

    def run_executions(self, executions: Sequence[FragmentExecution]) -> list[FragmentOutcome | BaseException]:
        """Run fragments in this worker, all at once; their jobs are cancelled if the task is killed.

        :return: the outcome of each, or its error.
        """

        async def run_all() -> list[FragmentOutcome | BaseException]:
            return await asyncio.gather(*(execution.run() for execution in executions), return_exceptions=True)

        self._executions = tuple(executions)
        results = self.run_async(run_all())
        self._executions = ()
        return results

    def _unless_skipped(self, context: Context) -> Any:
        """Do the task's work.

        :raises AirflowSkipException: a task whose value it needs was skipped by others: by a branch or a gate before
            it. (A step that is skipped by its own ``when`` has a value, and does not stop what follows.)
        """
        try:
            return self.run_task(context)
        except NoValueError as error:
            if not was_skipped(context, error.task_id):
                raise
            raise AirflowSkipException(f"task {error.task_id!r} was skipped") from None

    def run_task(self, context: Context) -> Any:
        raise NotImplementedError

    tells_errors: ClassVar[bool] = True
    """whether to write the error to the task's log; a runner with tasks in its own process may report it itself"""
    waits: ClassVar[bool] = True
    """whether to wait while a login is refused or a site does not answer, even one that has never answered"""
    when_over = "what it did is given up"
    """what becomes of its work when its time is over, for a message"""

    def run_async(self, work: Coroutine[Any, Any, T]) -> T:
        """Run async work within the task's time limit.

        :raises AirflowTaskTimeout: the time is over.
        """
        send_metrics(gauges=False)
        # a slot is not held for long: whoever waits longer gives it back
        with outages.waits(Patience(self.log, IN_WORKER_S, final=False) if self.waits else Patience(self.log)):
            return self._within_limit(work)

    def _within_limit(self, work: Coroutine[Any, Any, T]) -> T:
        if self._deadline is None:
            return in_worker(work)
        # Airflow's own timer raises in the main thread. If that was in a destructor, Python has dropped the exception.
        left_s = self._deadline + TIMER_GRACE_S - time.monotonic()
        try:
            return in_worker(work, max(0.0, left_s))
        except TimeIsOverError:
            raise AirflowTaskTimeout("Timeout") from None

    def on_kill(self) -> None:
        """End the task's work: it is killed (cleared, marked, its worker is stopped), or its time limit is reached.

        A killed task reports nothing about its own end, which Airflow has decided on. A report ("its jobs failed")
        could be taken for the result of the next try, if that has begun.
        """
        killed, self._killed = self._working, True
        if killed:
            give_up(GIVE_UP_S)
        try:
            self.end_work()
        finally:
            if killed and supervised():
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGTERM)

    def end_work(self) -> None:
        """End work that would go on without this process: jobs, or a deployment that is being made."""
        if self._executions:
            in_worker(self._cancel([execution.submitted for execution in self._executions]))

    async def _cancel(self, specs: Sequence[FragmentSpec]) -> None:
        from airflow_hybrid.engine import stopping

        # one that fails does not keep the others from being cancelled
        ends = await asyncio.gather(*(stopping.stop(spec, self.log) for spec in specs), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    def get_openlineage_facets_on_complete(self, ti: Any) -> Any:
        """The task's files as datasets: Airflow's provider for OpenLineage asks for them in the worker."""
        from airflow_hybrid.installation.openlineage.datasets import lineage_of

        return lineage_of(self.given_values, self.lineage, copies=self.copies_are_outputs)

    def values(self, context: Context, scope: Scope) -> Values:
        """The values of the task's DAG run, as seen in a scope."""
        renew = None if self._recovery is None else self._recovery.renewed.applied
        ti: Any = context["ti"]
        index = ti.map_index if ti.map_index is not None else -1
        return Values(xcom_reader(context), index, origins_of(context, scope.top.ground), renew)


def is_deferred(task: Any) -> bool:
    """Whether a task of a hybrid DAG, mapped or not, is a step that runs in the triggerer."""
    setup = getattr(task, "partial_kwargs", vars(task)).get("setup")
    return bool(getattr(setup, "defers", False))


def was_skipped(context: Context, task_id: str) -> bool:
    """Whether a task of the same DAG run (all its instances, if it is mapped) was skipped."""
    ti: Any = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id]).get(ti.run_id, {})
    return bool(states) and all(state == TaskInstanceState.SKIPPED for state in states.values())


def in_worker(work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
    """Run async work in a worker: see :func:`airflow_hybrid.sites.waiting.wait_for`."""
    return wait_for(work, timeout_s)


def supervised() -> bool:
    """Whether this process runs one task for Airflow, and another process reports how it ended."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import CommsDecoder

    return isinstance(getattr(task_runner, "SUPERVISOR_COMMS", None), CommsDecoder)
