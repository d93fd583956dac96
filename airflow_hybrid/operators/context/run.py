# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""A task's DAG run: its name at the sites, its user, its deployments, and the values of its other tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_hybrid import settings
from airflow_hybrid.config import Deployment, for_run
from airflow_hybrid.config.users import TriggeredBy, deployments_of_user, has_users
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.operators.provenance import Ground, Origins
from airflow_hybrid.operators.templates import renderer, resolved
from airflow_hybrid.operators.values import XComReader

if TYPE_CHECKING:
    from airflow.sdk import Context

UNATTENDED = ("scheduled", "asset_triggered", "operator_triggered")
"""types of DAG runs that nobody may have triggered; a DAG that is triggered by another one has that one's user"""


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


def xcom_reader(context: Context) -> XComReader:
    """Reads XComs of the task's DAG run."""
    ti: Any = context["ti"]

    def read(task_id: str, key: str, map_index: int) -> JsonValue:
        return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=map_index)

    return read
