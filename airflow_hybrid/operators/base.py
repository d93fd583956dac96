# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Shared by the tasks of a hybrid DAG."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from airflow.sdk import BaseOperator, TaskInstanceState, timezone
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException, AirflowTaskTimeout

from airflow_hybrid import settings
from airflow_hybrid.config import Deployment, for_run
from airflow_hybrid.config.users import TriggeredBy, deployments_of_user, has_users
from airflow_hybrid.errors import CancelledError, HybridError, LoginRefusedError
from airflow_hybrid.installation.conf import use_airflow_conf
from airflow_hybrid.installation.stats import send_metrics
from airflow_hybrid.model import JsonValue, LineageEntry
from airflow_hybrid.operators.ending import AskedRetries, FailurePolicy, ending
from airflow_hybrid.operators.identity import refused_since
from airflow_hybrid.operators.provenance import Ground, Origins
from airflow_hybrid.operators.templates import renderer, resolved
from airflow_hybrid.operators.values import NoValueError, Scope, Values, XComReader
from airflow_hybrid.sites.logins import given_up, state_of, waiting
from airflow_hybrid.sites.waiting import TimeIsOverError, give_up, time_is_over, wait_for

if TYPE_CHECKING:
    from airflow.sdk import Context

use_airflow_conf()

T = TypeVar("T")
TIMER_GRACE_S = 2.0
"""seconds by which our timer is later than Airflow's own"""
UNATTENDED = ("scheduled", "asset_triggered", "operator_triggered")
"""types of DAG runs that nobody may have triggered; a DAG that is triggered by another one has that one's user"""
LOGIN_PAUSE_S = 300.0
"""seconds until a task is started again whose login was refused: more attempts could get this machine banned"""
GIVE_UP_S = 1.0
"""seconds that a killed task's work may take to end before its jobs are cancelled: SIGKILL follows after 5 s"""


class HybridTask(BaseOperator):
    """Shared: errors without tracebacks, time limits, cleaning up when killed, values of upstream tasks."""

    _deadline: float | None = None
    _working = False
    _killed = False
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

    def _begin(self, context: Context) -> Any:
        limit_s = self.execution_timeout.total_seconds() if self.execution_timeout else None
        self._deadline = None if limit_s is None else time.monotonic() + limit_s
        self._working = True
        try:
            if self._killed:
                self.on_kill()
                raise CancelledError("the task was killed before it had begun")
            return self._unless_skipped(context)
        except AirflowTaskTimeout:
            # a BaseException, which Airflow raises from a signal handler; it calls `on_kill` next
            give_up(GIVE_UP_S)
            self.log.error("%s", time_is_over(limit_s, self.when_over))
            raise
        except LoginRefusedError as error:
            self._fail(self._wait_for_login(error, context), context)
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
        raise ending(error) from None

    def _publish_problem(self, error: HybridError | None, context: Context) -> None:
        """Publish what the task has failed with, or waits for: it is for people, and nothing depends on it."""
        from airflow_hybrid.triggers.reports import PROBLEM_XCOM, problem

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
        if refusal is None or refusal.wait_s <= 0 or not self.waits_for_logins:
            return error
        since = refused_since(context, LOGIN_PAUSE_S)
        if time.time() >= since + refusal.wait_s:
            return given_up(error, since)
        self.log.warning("%s", waiting(error, since, refusal.wait_s))
        self._publish_problem(error, context)
        if supervised() and any(map(is_deferred, self.dag.tasks)):  # then there is a triggerer
            from airflow_hybrid.triggers.logins import LoginTrigger

            trigger = LoginTrigger(state_of(refusal.files), socket.gethostname(), LOGIN_PAUSE_S)
            self.defer(trigger=trigger, method_name=self.begin_again.__name__)
        at = timezone.utcnow() + timedelta(seconds=LOGIN_PAUSE_S)
        raise AirflowRescheduleException(at) from None  # type: ignore[no-untyped-call]

    def begin_again(self, context: Context, event: Any = None) -> Any:
        """Begin anew after waiting for a login."""
        self._publish_problem(None, context)
        return self._begin(context)

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
    waits_for_logins: ClassVar[bool] = True
    """whether to wait while a login is refused"""
    when_over = "what it did is given up"
    """what becomes of its work when its time is over, for a message"""

    def run_async(self, work: Coroutine[Any, Any, T]) -> T:
        """Run async work within the task's time limit.

        :raises AirflowTaskTimeout: the time is over.
        """
        send_metrics(gauges=False)
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

    def get_openlineage_facets_on_complete(self, ti: Any) -> Any:
        """The task's files as datasets: Airflow's provider for OpenLineage asks for them in the worker."""
        from airflow_hybrid.installation.openlineage.datasets import lineage_of

        return lineage_of(self.given_values, self.lineage, copies=self.copies_are_outputs)

    @staticmethod
    def values(context: Context, scope: Scope) -> Values:
        """The values of the task's DAG run, as seen in a scope."""
        ti: Any = context["ti"]
        index = ti.map_index if ti.map_index is not None else -1
        return Values(HybridTask.xcom_reader(context), index, origins_of(context, scope.top.ground))

    @staticmethod
    def xcom_reader(context: Context) -> XComReader:
        """Reads XComs of the task's DAG run."""
        ti: Any = context["ti"]

        def read(task_id: str, key: str, map_index: int) -> JsonValue:
            return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=map_index)

        return read


def origins_of(context: Context, ground: Ground | None) -> Origins:
    """The files that values of a task's DAG run may name."""
    if ground is None:
        raise HybridError("the DAG does not say which files its values may name: it was not built by HybridDag")
    ti: Any = context["ti"]
    conf = dict(getattr(context["dag_run"], "conf", None) or {})
    params = dict(context["params"])
    declared = frozenset(ti.task.dag.params)
    return Origins(
        ground, ti.dag_id, ti.run_id, params, conf, renderer(context), lambda ref: resolved(ref, context), declared
    )


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


def instance_id() -> str:
    """Distinguishes this Airflow from others that use the same sites: six hexadecimal digits.

    It is derived from the setting ``instance``, else of Airflow's home and Fernet key, which all of its
    processes share.
    """
    from airflow.configuration import AIRFLOW_HOME, conf

    text = settings.current().instance
    text = text or f"{AIRFLOW_HOME}\0{conf.get('core', 'fernet_key', fallback='')}"
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def run_token(dag_id: str, run_id: str) -> str:
    """The name of what is deployed for a DAG run of this Airflow: ``ah-<instance>-<run>``, in ``[a-z0-9-]``."""
    digest = hashlib.sha256(f"{dag_id}\0{run_id}".encode()).hexdigest()[:10]
    return f"ah-{instance_id()}-{digest}"


def deployments_of_run(deployments: Mapping[str, Deployment], context: Context) -> Mapping[str, Deployment]:
    """The deployments with the names that they have in the task's DAG run, and its user's Connections."""
    if any(has_users(deployment) for deployment in deployments.values()):
        deployments = deployments_of_user(deployments, triggered_by(context))
    if not any(deployment.managed for deployment in deployments.values()):
        return deployments
    ti: Any = context["ti"]
    return for_run(deployments, run_token(ti.dag_id, ti.run_id), f"{ti.dag_id} {ti.run_id}")


def triggered_by(context: Context) -> TriggeredBy:
    """Who triggered the task's DAG run.

    A clear, by whomever, and a retry go on with the user of the run: Airflow's database keeps the name with the run.
    """
    run: Any = context["dag_run"]
    return TriggeredBy(run.triggering_user_name or None, unattended=run.run_type in UNATTENDED)
