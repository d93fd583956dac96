# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Whether somebody else follows the jobs of a trigger that Airflow cancels.

A triggerer that stands still for longer than ``[triggerer] triggerer_health_check_threshold`` (its machine was
suspended, or had no processor time) loses its triggers to another one. When it goes on, Airflow cancels them there in
the same way as if a user had marked or cleared the task (Airflow 3.3.2, ``TriggerRunner.cancel_triggers``). The state
of the task tells them apart.
"""

from __future__ import annotations

import asyncio
from typing import Any

DEFERRED = "deferred"


async def task_state(ti: Any) -> str | None:
    """The present state of a task instance; None: it has none, as after a clear.

    To be called in a triggerer.

    :param ti: the task instance of a trigger.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = await asyncio.to_thread(
        RuntimeTaskInstance.get_task_states,
        dag_id=ti.dag_id,
        task_ids=[ti.task_id],
        run_ids=[ti.run_id],
        map_index=ti.map_index,
    )
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = states.get(ti.run_id, {}).get(name)
    return None if state is None else str(getattr(state, "value", state))


async def is_followed_elsewhere(ti: Any) -> bool:
    """Whether another triggerer follows the task, or a later try of it, which ends the jobs of earlier ones itself."""
    return await task_state(ti) == DEFERRED
