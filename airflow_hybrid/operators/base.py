# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the tasks of a hybrid DAG share."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_hybrid.config import Deployment, for_run
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.operators.values import Values

if TYPE_CHECKING:
    from airflow.sdk import Context

T = TypeVar("T")
JOB_KEY = "job"
"""conf key under which CWL-Airflow's users give the inputs"""
OUTDIR_KEY = "outdir"
REUSE_KEY = "reuse"
"""conf key that says whether the run may take outputs of other runs (CWL WorkReuse)"""


class HybridTask(BaseOperator):
    """What the tasks share: errors without tracebacks, and the values of upstream tasks."""

    def execute(self, context: Context) -> Any:
        try:
            return self.run_task(context)
        except HybridError as error:
            # The message says what, where and what to do. Airflow logs every exception but SystemExit with a traceback,
            # in which the message would drown; SystemExit fails the task, or retries it if retries are left.
            self.log.error("%s", error)
            ti: Any = context["ti"]
            if error.retryable or int(ti.try_number) > int(ti.max_tries):
                raise SystemExit(1) from error
            raise AirflowFailException(error.message) from None

    def run_task(self, context: Context) -> Any:
        raise NotImplementedError

    @staticmethod
    def values(context: Context) -> Values:
        ti: Any = context["ti"]

        def read(task_id: str, key: str, map_index: int) -> JsonValue:
            return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=map_index)

        return Values(read, ti.map_index if ti.map_index is not None else -1)


def in_worker(work: Coroutine[Any, Any, T]) -> T:
    """Run async work in a worker: an event loop of its own, whose connections are closed at its end."""
    from airflow_hybrid.hooks.connectors import close_all

    async def run() -> T:
        try:
            return await work
        finally:
            await close_all()

    return asyncio.run(run())


def instance_id() -> str:
    """Tells this Airflow from others that use the same sites: six hexadecimal digits.

    It is made of the option ``[airflow_hybrid] instance``, else of Airflow's home and Fernet key, which all of its
    processes share.
    """
    from airflow.configuration import AIRFLOW_HOME, conf

    text = conf.get("airflow_hybrid", "instance", fallback="")
    text = text or f"{AIRFLOW_HOME}\0{conf.get('core', 'fernet_key', fallback='')}"
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def run_token(dag_id: str, run_id: str) -> str:
    """The name of what is deployed for a DAG run of this Airflow: ``ah-<instance>-<run>``, in ``[a-z0-9-]``."""
    digest = hashlib.sha256(f"{dag_id}\0{run_id}".encode()).hexdigest()[:10]
    return f"ah-{instance_id()}-{digest}"


def deployments_of_run(deployments: Mapping[str, Deployment], context: Context) -> Mapping[str, Deployment]:
    """The deployments as the task's DAG run sees them."""
    if not any(deployment.managed for deployment in deployments.values()):
        return deployments
    ti: Any = context["ti"]
    return for_run(deployments, run_token(ti.dag_id, ti.run_id), f"{ti.dag_id} {ti.run_id}")
