# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Who may use a route: the routes of a run are made by :func:`run_router` only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.models.dag import DagModel
from fastapi import APIRouter, Depends, HTTPException, Request, status

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

RUN_PATH = "/dags/{dag_id}/dagRuns/{run_id}"


def run_router() -> APIRouter:
    """A router for routes of a DAG run, which are for users who may see the DAG's runs: 401 or 403 for anybody else.

    Its routes start with :data:`RUN_PATH`; Airflow takes the id of the DAG to be judged from there.
    """
    may_see_runs = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
    return APIRouter(prefix=RUN_PATH, dependencies=[may_see_runs])


def dags_of_user(
    user: BaseUser, method: ResourceMethod, entity: DagAccessEntity | None = None, among: Iterable[str] | None = None
) -> set[str]:
    """The ids of the DAGs for which a user has a right.

    :param among: only these are judged, one by one; None: all that Airflow has.
    """
    manager = get_auth_manager()
    if among is None:
        return manager.get_authorized_dag_ids(user=user, method=method)
    teams = DagModel.get_dag_id_to_team_name_mapping(list(among))
    return {
        dag_id
        for dag_id in among
        if manager.is_authorized_dag(
            method=method,
            access_entity=entity,
            details=DagDetails(id=dag_id, team_name=teams.get(dag_id)),
            user=user,
        )
    }


def from_this_host(request: Request) -> None:
    """A dependency of routes that do something: a page of another site cannot use the login of who looks at it.

    Browsers say where a request comes from: ``Sec-Fetch-Site``, or, over plain HTTP, ``Origin`` only. What is no
    browser says neither, and has no login but the one that it sends itself.

    :raises HTTPException: it comes from a page of another site (403).
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_own = site == "same-origin"
    else:
        is_own = origin is None or _host_of(origin) == request.headers.get("host")
    if not is_own:
        problem = "this request comes from a page of another site: open the page Sites in Airflow and use its buttons"
        raise HTTPException(status.HTTP_403_FORBIDDEN, problem)


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
