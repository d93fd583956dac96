# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What the run page asks for. Answers carry a tag: a page that has an answer with it gets none anew (304)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, cast

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import Query, Request, Response, status

from airflow_hybrid.runs.answers.holds import holds_of_run
from airflow_hybrid.runs.answers.why import Context, answers, problems_of_run
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.web.access import run_router
from airflow_hybrid.web.run.known import KnownRun, known_run
from airflow_hybrid.web.run.table import JobQuery, jobs_json
from airflow_hybrid.web.run.timeline import TimelineQuery, timeline_json

router = run_router()
_MOST_ANSWERS = 100
_MOST_REPLAYS = 100


@router.get("/overview")
def get_overview(dag_id: str, run_id: str, request: Request, session: SessionDep) -> Response:
    """The run as a whole."""
    known = known_run(session, dag_id, run_id)
    return _answer(request, known, lambda: _overview(known))


def _overview(known: KnownRun) -> dict[str, Any]:
    """The overview, with the task instances that had to be tried again, and what was lost and made again."""
    again = [task for task in known.overview.tasks if task.try_number > 1]
    tried = [{"task_id": task.task_id, "label": task.label, "tries": task.try_number} for task in again]
    made_again = known.facts.replays.made_again[:_MOST_REPLAYS]
    replays = [{"task": made.replay.task, "reason": made.reason} for made in made_again]
    return {**cast("dict[str, Any]", known.overview.to_json()), "tasks": tried, "replays": replays}


@router.get("/jobs")
def get_jobs(
    dag_id: str, run_id: str, request: Request, session: SessionDep, query: Annotated[JobQuery, Query()]
) -> Response:
    """A page of the table of jobs."""
    known = known_run(session, dag_id, run_id)
    return _answer(request, known, lambda: jobs_json(known, query))


@router.get("/timeline")
def get_timeline(
    dag_id: str, run_id: str, request: Request, session: SessionDep, query: Annotated[TimelineQuery, Query()]
) -> Response:
    """The times of jobs, by step."""
    known = known_run(session, dag_id, run_id)
    return _answer(request, known, lambda: timeline_json(known, query))


@router.get("/why")
def get_why(dag_id: str, run_id: str, session: SessionDep) -> dict[str, Any]:
    """Why steps wait or failed, in sentences with remedies; it changes without a change of the run: pools, limits."""
    known, run = known_run(session, dag_id, run_id), RunKey(dag_id, run_id)
    context = Context(known.facts, holds_of_run(session, run), problems_of_run(session, run))
    found = answers(context)
    return {
        "answers": [answer.to_json() for answer in found[:_MOST_ANSWERS]],
        "more": max(0, len(found) - _MOST_ANSWERS),
    }


def _answer(request: Request, known: KnownRun, value: Callable[[], Any]) -> Response:
    """:param value: makes the answer, where the page does not have it."""
    headers = {"ETag": f'"{known.tag}"', "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    text = json.dumps(value(), allow_nan=False, separators=(",", ":"))
    return Response(text, media_type="application/json", headers=headers)
