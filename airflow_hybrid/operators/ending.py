# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""How a task ends: the exception that Airflow's callbacks, retry policies and listeners get, and where they are called.

Airflow calls them only in a worker. A trigger that ends its task saves that process, so a deferred task returns to a
worker only for them.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_hybrid.errors import HybridError
from airflow_hybrid.triggers.ends import EndState

EXAMPLES = "airflow.example_dags."
"""modules that Airflow loads unless ``[core] load_examples`` is off; their listener only prints"""
EXIT_CODE = 1


def ending(error: HybridError, *, retried: bool) -> BaseException:
    """The exception to raise for an error: of the error's own class, with its message, ``where`` and ``hint``.

    It is of a second class, too, by which Airflow knows what to do. It logs every exception with a traceback, which
    would hide the message, except SystemExit; and it does not retry a task that ends with AirflowFailException.

    :param retried: whether Airflow may retry the task if retries are left.
    """
    verdict = SystemExit if retried else AirflowFailException
    kind = _both(type(error), verdict)
    ended = kind.__new__(kind, *error.args)
    ended.__dict__.update(error.__dict__)
    if isinstance(ended, SystemExit):
        ended.code = EXIT_CODE
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
            task.retry_policy,
            task.email and (task.email_on_failure or task.email_on_retry),
            _has_listeners(listeners.on_task_instance_failed),
        ),
    }
    return tuple(end for end, listening in heard.items() if any(listening))


def _has_listeners(hook: Any) -> bool:
    """Whether a plugin listens to a hook (:class:`pluggy.HookCaller`)."""
    return any(not listener.plugin_name.startswith(EXAMPLES) for listener in hook.get_hookimpls())
