# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How a task ends: the exception that Airflow's callbacks, retry policies and listeners get, and where they are called.

Airflow calls them only in a worker. A trigger that ends its task saves that process, so a deferred task returns to a
worker only for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_hybrid.errors import HybridError
from airflow_hybrid.installation.openlineage import is_its_listener
from airflow_hybrid.triggers.ends import EndState

if TYPE_CHECKING:
    from airflow.sdk import Context

EXAMPLES = "airflow.example_dags."
"""modules that Airflow loads unless ``[core] load_examples`` is off; their listener only prints"""
EXIT_CODE = 1


def ending(error: HybridError) -> BaseException:
    """The exception to raise for an error: of the error's own class, with its message, ``where`` and ``hint``.

    It is a SystemExit, too: Airflow logs every other exception with a traceback, which would hide the message. The
    task's retry policy says whether another try may follow.
    """
    kind = _both(type(error), SystemExit)
    ended = kind.__new__(kind, *error.args)
    ended.__dict__.update(error.__dict__)
    ended.code = EXIT_CODE  # type: ignore[attr-defined]
    return ended


def _both(kind: type[HybridError], verdict: type[BaseException]) -> type[BaseException]:
    return type(kind.__name__, (kind, verdict), {"__module__": kind.__module__, "__doc__": kind.__doc__})


def ends_in_worker(task: BaseOperator) -> tuple[EndState, ...]:
    """The ends of a task that a worker has to report: to its callbacks and notifiers, by e-mail, to listeners."""
    from airflow.sdk.listener import get_listener_manager  # not needed to parse a DAG file

    listeners = get_listener_manager().hook
    heard = {
        EndState.SUCCESS: (
            task.on_success_callback,
            task.outlets,
            _has_listeners(listeners.on_task_instance_success),
        ),
        EndState.SKIPPED: (
            task.on_skipped_callback,
            _has_listeners(listeners.on_task_instance_skipped),
        ),
        EndState.FAILED: (
            task.on_failure_callback,
            task.on_retry_callback,
            task.retry_policy.other if isinstance(task.retry_policy, FailurePolicy) else task.retry_policy,
            task.email and (task.email_on_failure or task.email_on_retry),
            _has_listeners(listeners.on_task_instance_failed),
        ),
    }
    return tuple(end for end, listening in heard.items() if any(listening))


def _has_listeners(hook: Any) -> bool:
    """Whether a plugin listens to a hook (:class:`pluggy.HookCaller`).

    OpenLineage's need not hear of a task that its trigger ends: the trigger tells itself.
    """
    return any(
        not listener.plugin_name.startswith(EXAMPLES) and not is_its_listener(listener.plugin)
        for listener in hook.get_hookimpls()
    )


@dataclass(frozen=True)
class AskedRetries:
    """How often somebody asked that a task be tried again.

    Tasks have some tries by default, for what is nobody's fault. They are not meant for failed jobs.

    :ivar most: the number that somebody gave, or 0; of several steps that run in the task, the largest.
    :ivar of_dag: the number for steps whose bindings say nothing.
    :ivar built: all retries that the task has, as it was built.
    """

    most: int
    of_dag: int
    built: int

    def with_policies(self, retries: int) -> AskedRetries:
        """The same for a task that has ``retries`` now: Airflow's cluster policies may have changed them."""
        return self if retries == self.built else AskedRetries(retries, retries, retries)


class FailurePolicy(RetryPolicy):
    """Ends a task at once if another try would be of no use, or if its time was over and nobody asked for retries.

    Airflow asks it in the worker, after each failed try.

    :param asked: of the task.
    :param other: the policy that the user gave, for everything else.
    """

    def __init__(self, asked: AskedRetries, other: RetryPolicy | None = None) -> None:
        self.asked = asked
        self.other = other

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        if try_number > max_tries:
            return RetryDecision.default()
        error = _error_of(exception)
        if error is not None and not error.retryable:
            return RetryDecision.fail("another try would fail as this one did, or nobody asked for one by `retries`")
        cleared_tries = max(0, max_tries - self.asked.built)
        if isinstance(exception, AirflowTaskTimeout) and try_number - cleared_tries > self.asked.most:
            return RetryDecision.fail("its time was over, and nobody asked for another try by `retries`")
        if self.other is not None:
            return self.other.evaluate(exception, try_number, max_tries, context)
        return RetryDecision.default()


def _error_of(exception: BaseException) -> HybridError | None:
    """Our error in what a task raised: it may be the cause of what Airflow sees."""
    for error in (exception, exception.__cause__, exception.__context__):
        if isinstance(error, HybridError):
            return error
    return None
