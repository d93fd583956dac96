# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The routes of the page Sites."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import APIRouter, Depends, HTTPException, Response, status

from airflow_hybrid.config import Deployment
from airflow_hybrid.config.users import TriggeredBy, deployments_of_user
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import JsonValue
from airflow_hybrid.model.outline import DagOutline
from airflow_hybrid.printable import printable
from airflow_hybrid.runs.outline import outline_of_dag
from airflow_hybrid.runs.sites.digests import ReportReader
from airflow_hybrid.runs.sites.now import DeploymentNow, sites_of
from airflow_hybrid.runs.sites.outlines import OutlineReader
from airflow_hybrid.web.access import dags_of_user, from_this_host
from airflow_hybrid.web.pages import page
from airflow_hybrid.web.sites.checks import Checks, key_of

router = APIRouter(prefix="/sites")
_outlines = OutlineReader()
_reports = ReportReader()
_checks = Checks()
may_trigger = Depends(requires_access_dag("POST", DagAccessEntity.RUN))


@router.get("")
def sites_page() -> Response:
    """The page; what it shows is what its user may see."""
    return page("sites/sites.html")


@router.get("/list")
def list_sites(session: SessionDep, user: GetUserDep) -> JsonValue:
    """The sites of all DAGs whose runs the user may see."""
    readable = dags_of_user(user, "GET")
    outlines = _outlines.read(session, readable)
    visible = dags_of_user(user, "GET", DagAccessEntity.RUN, outlines)
    outlines = {dag_id: outline for dag_id, outline in outlines.items() if dag_id in visible}
    triggerable = dags_of_user(user, "POST", DagAccessEntity.RUN, outlines)
    now = sites_of(session, outlines, _reports, time.time())
    people = _Deployments(outlines, user.get_name())
    answer: Any = now.to_json()
    for site, shown in zip(now.sites, answer["sites"], strict=True):
        for deployment, value in zip(site.deployments, shown["deployments"], strict=True):
            value.update(_checking(deployment, triggerable, people))
    return answer


def _checking(deployment: DeploymentNow, triggerable: set[str], people: _Deployments) -> dict[str, JsonValue]:
    """With the rights on which DAG the user may check a deployment, and what the last check found."""
    check_dag = next((dag_id for dag_id in deployment.dag_ids if dag_id in triggerable), None)
    if not _checks.has_results:
        return {"check_dag": check_dag, "checked": None}
    result = _checks.last(key_of(people.of(check_dag or deployment.dag_ids[0]), deployment.name))
    return {"check_dag": check_dag, "checked": result.to_json() if result else None}


class _Deployments:
    """The deployments of DAGs, as a user has them."""

    def __init__(self, outlines: Mapping[str, DagOutline], user: str) -> None:
        self._outlines = outlines
        self._user = user
        self._of: dict[str, Mapping[str, Deployment]] = {}

    def of(self, dag_id: str) -> Mapping[str, Deployment]:
        if dag_id not in self._of:
            self._of[dag_id] = _deployments(self._outlines[dag_id], self._user)
        return self._of[dag_id]


def _deployments(outline: DagOutline, user: str) -> Mapping[str, Deployment]:
    deployments = {name: Deployment.from_json(value) for name, value in outline.deployments.items()}
    return deployments_of_user(deployments, TriggeredBy(user))


@router.post("/{dag_id}/{deployment}/check", dependencies=[may_trigger, Depends(from_this_host)])
def check_deployment(dag_id: str, deployment: str, session: SessionDep, user: GetUserDep) -> JsonValue:
    """Check a deployment of a DAG, with the Connections that a run of the user would have."""
    try:
        outline = outline_of_dag(session, dag_id)
    except HybridError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, error.message) from None
    session.rollback()  # a check takes long: no connection to the database is held meanwhile
    if deployment not in outline.deployments:
        problem = f"DAG {printable(dag_id)} has no deployment {printable(deployment)}; load the page again"
        raise HTTPException(status.HTTP_404_NOT_FOUND, problem)
    return _checks.run(_deployments(outline, user.get_name()), deployment).to_json()
