# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Who may use a route: the routes of a run are made by :func:`run_router` only."""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends

RUN_PATH = "/dags/{dag_id}/dagRuns/{run_id}"


def run_router() -> APIRouter:
    """A router for routes of a DAG run, which are for users who may see the DAG's runs: 401 or 403 for anybody else.

    Its routes start with :data:`RUN_PATH`; Airflow takes the id of the DAG to be judged from there.
    """
    may_see_runs = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
    return APIRouter(prefix=RUN_PATH, dependencies=[may_see_runs])
