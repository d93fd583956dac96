# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reads Airflow Connections, in any process in which connectors work."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_hybrid.errors import ConfigError


async def read_connection(conn_id: str, conn_type: str, options: str = "") -> Any:
    """Read a Connection: through the asynchronous API in the triggerer, in a thread anywhere else.

    In the triggerer the synchronous API would block all triggers (or fail); in a worker the asynchronous one would
    bind the supervisor's socket to this event loop.

    :param options: options of ``airflow connections add``, for the message.
    :raises ConfigError: there is no Connection of that name.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        if _in_triggerer():
            return await BaseHook.aget_connection(conn_id)
        return await asyncio.to_thread(BaseHook.get_connection, conn_id)
    except AirflowNotFoundException:
        raise ConfigError(
            f"the Airflow Connection {conn_id!r} does not exist",
            hint=f"airflow connections add {conn_id} --conn-type {conn_type} {options}".rstrip(),
        ) from None


def _in_triggerer() -> bool:
    from airflow.sdk.execution_time import task_runner

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return type(comms).__name__ == "TriggerCommsDecoder"
