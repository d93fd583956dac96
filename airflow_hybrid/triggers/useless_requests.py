# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Requests to the DAG processor that nobody acts on are not written into Airflow's database.

When a trigger ends a task, Airflow requests the task's callbacks: a row in the database, for which the DAG processor
parses the DAG file. It then finds that there is none, or, after a success, that it calls none ("Task callback requested
but is not a failure callback"). A task of ours returns to a worker where something has to be called
(:mod:`airflow_hybrid.triggers.hybrid`), so no request for it has any effect.
"""

from __future__ import annotations

import functools
from typing import Any

STEP_OPERATOR = "HybridOperator"
"""name of the class, as Airflow's database has it, of tasks that :class:`HybridTrigger` ends"""


@functools.cache
def leave_out() -> None:
    """Have this process, which writes what triggers report, leave such requests out.

    ``handle_event_submit`` is a :func:`functools.singledispatch` function: a class of events may have a function of its
    own. This one lets Airflow's do its work.
    """
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent

    for kind in (TaskSuccessEvent, TaskFailedEvent):
        handle_event_submit.register(kind, functools.partial(_without_request, handle_event_submit.dispatch(kind)))


def _without_request(of_airflow: Any, event: Any, *, task_instance: Any, session: Any) -> None:
    if task_instance.operator != STEP_OPERATOR:
        of_airflow(event, task_instance=task_instance, session=session)
        return
    from airflow.models.db_callback_request import DbCallbackRequest
    from sqlalchemy import event as events

    def leave_out_requests(*_: object) -> None:
        for row in [row for row in session.new if isinstance(row, DbCallbackRequest)]:
            session.expunge(row)

    events.listen(session, "before_flush", leave_out_requests)
    try:
        of_airflow(event, task_instance=task_instance, session=session)
        session.flush()
    finally:
        events.remove(session, "before_flush", leave_out_requests)
