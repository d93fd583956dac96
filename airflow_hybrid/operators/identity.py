# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The identity of a task instance: it finds what its own earlier tries left at the sites, and nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_hybrid.engine import TaskIdentity

ORIGIN = "airflow_hybrid.origin"
REFUSED, UNREACHABLE = "airflow_hybrid.login_refused", "airflow_hybrid.unreachable"
FAILED, GENERATION = "airflow_hybrid.failed", "airflow_hybrid.generation"
"""keys in the task's state store"""
MISSED = 4
"""a wait has ended if the task was not started again for that many pauses"""


def identity_of(context: Context) -> TaskIdentity:
    """The task instance's identity; its *generation* grows when it is cleared, and not when Airflow retries it.

    Whoever clears a task that has failed wants it to go on: then it stays, too, and what has succeeded is taken over.

    A clear sets ``max_tries`` to the tries so far plus ``retries``; a retry leaves it. The difference to the task's
    ``retries`` is therefore the number of tries before the last clear.
    """
    from airflow_hybrid.engine import TaskIdentity

    ti: Any = context["ti"]
    retries = int(getattr(ti.task, "retries", 0) or 0)
    cleared = max(0, int(ti.max_tries) - retries)
    return TaskIdentity(
        ti.dag_id, ti.run_id, ti.task_id, ti.map_index if ti.map_index is not None else -1,
        _generation(context, cleared), int(ti.try_number), origin=origin_of(context), cleared=cleared,
    )  # fmt: skip


def _generation(context: Context, cleared: int) -> int:
    """The number of the generation.

    :param cleared: how many tries came before the last clear.
    """
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    if not cleared:
        return 0
    store = context["task_state_store"]
    noted: Any = store.get(GENERATION)
    last_cleared, last = noted if isinstance(noted, list) else (0, 0)
    if last_cleared == cleared:
        return int(last)
    generation = int(last) if store.get(FAILED) == cleared else cleared
    store.set(GENERATION, [cleared, generation], retention=NEVER_EXPIRE)
    return generation


def note_failure(context: Context) -> None:
    """Note that the task's try has failed, and that a clear goes on with what it has left."""
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    context["task_state_store"].set(FAILED, int(context["ti"].try_number), retention=NEVER_EXPIRE)


def is_new(context: Context) -> bool:
    """Whether no try of this task instance, including cleared ones, has called :func:`origin_of` yet."""
    return context["task_state_store"].get(ORIGIN) is None


def origin_of(context: Context) -> str:
    """The id that Airflow gave to the first try of this task instance.

    Ids of DAGs, runs and tasks can repeat: a run is deleted and created again, a database is reset, another Airflow
    uses the same work directory. Ids of tries (UUIDs) do not. Airflow's task state store keeps the first one for all
    tries of a task instance, including cleared ones, and deletes it with the DAG run.
    """
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    store = context["task_state_store"]
    origin = store.get(ORIGIN)
    if origin is not None:
        return str(origin)
    origin = str(context["ti"].id)
    store.set(ORIGIN, origin, retention=NEVER_EXPIRE)
    return origin


def waits_since(context: Context, key: str, pause_s: float) -> float:
    """When the wait began that goes on now, in seconds since the epoch; that the task waits now is noted.

    :param key: for what it waits: :data:`REFUSED`, :data:`UNREACHABLE`.
    :param pause_s: the pause between two starts of a task that waits.
    """
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    store, now = context["task_state_store"], time.time()
    noted: Any = store.get(key)
    since, last = noted if isinstance(noted, list) else (now, now)
    if now - last > MISSED * pause_s:
        since = now
    store.set(key, [since, now], retention=NEVER_EXPIRE)
    return float(since)


def ends_wait(context: Context, key: str) -> None:
    """The task waits no longer: if it is cleared, it waits anew."""
    context["task_state_store"].delete(key)
