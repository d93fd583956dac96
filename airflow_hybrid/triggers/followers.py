# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether somebody else follows the jobs of a trigger that Airflow cancels.

A triggerer that stands still for longer than ``[triggerer] triggerer_health_check_threshold`` (its machine was
suspended, or had no processor time) loses its triggers to another one. When it goes on, Airflow cancels them there in
the same way as if a user had marked or cleared the task (Airflow 3.3.2, ``TriggerRunner.cancel_triggers``). The state
of the task tells them apart.
"""

from __future__ import annotations

from typing import Any

DEFERRED = "deferred"


def preload() -> None:
    """Import what a triggerer needs to answer.

    It would do so when it is first asked, and jobs that are to be cancelled would wait for it.
    """
    import airflow.api_fastapi.execution_api.app
    import airflow.api_fastapi.execution_api.routes  # noqa: F401


async def task_state(ti: Any) -> str | None:
    """The present state of a task instance; None: it has none, as after a clear.

    To be called in a triggerer.

    :param ti: the task instance of a trigger.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetTaskStates

    question = GetTaskStates(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index)
    answer: Any = await task_runner.SUPERVISOR_COMMS.asend(question)
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = answer.task_states.get(ti.run_id, {}).get(name)
    return None if state is None else str(getattr(state, "value", state))


async def is_followed_elsewhere(ti: Any) -> bool:
    """Whether another triggerer follows the task, or a later try of it, which ends the jobs of earlier ones itself."""
    return await task_state(ti) == DEFERRED
