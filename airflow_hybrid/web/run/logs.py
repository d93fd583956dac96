# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What jobs have written, read at their sites when somebody asks; also of jobs that run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, HTTPException, Path, Query, Response, status

from airflow_hybrid.errors import HybridError
from airflow_hybrid.printable import as_terminals_show, printable_lines, readable, rest_of_letter, whole_letters
from airflow_hybrid.runs.found_jobs import FoundJob, Stream, find_job
from airflow_hybrid.runs.jobs import RunKey
from airflow_hybrid.runs.outline import deployments_in_run
from airflow_hybrid.web.access import run_router
from airflow_hybrid.web.run.known import KnownRun, RunJob, known_run
from airflow_hybrid.web.run.site_loop import SiteLoop

if TYPE_CHECKING:
    from airflow_hybrid.sites.files.pieces import Piece

router = run_router()
MOST_BYTES = 1 << 18
_LIMIT_S = 30.0
_sites = SiteLoop()
_may_see_logs = Depends(requires_access_dag("GET", DagAccessEntity.TASK_LOGS))
Key = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
Start = Annotated[int, Query(alias="from", ge=-MOST_BYTES, description="offset; negative: from the end")]
Name = Annotated[str, Query(max_length=1000, description="/align[3]; of a step with one job, its path")]


@router.get("/jobs/{key}/{stream}", dependencies=[_may_see_logs])
def get_log(
    key: Key, stream: Stream, session: SessionDep, run: Annotated[RunKey, Depends()], start: Start = -MOST_BYTES
) -> Response:
    """A piece of what a job has written that has ended."""
    known = known_run(session, run.dag_id, run.run_id)
    job = known.by_key.get(key)
    if job is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "the run has no such job; load the page again")
    return _answer(_read(session, known, _found(job), stream, start), start, is_over=True)


@router.get("/logs/{stream}", dependencies=[_may_see_logs])
def get_running_log(
    stream: Stream, session: SessionDep, run: Annotated[RunKey, Depends()], job: Name, start: Start = -MOST_BYTES
) -> Response:
    """A piece of what a job has written that may still run, by its name."""
    known = known_run(session, run.dag_id, run.run_id)
    try:
        found = find_job(known.facts.jobs, job)
    except HybridError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from None
    return _answer(_read(session, known, found, stream, start), start, is_over=not found.batches)


def _found(job: RunJob) -> FoundJob:
    name = job.record.name
    return FoundJob(name, job.task_id, job.map_index, job.record)


def _read(session: Any, known: KnownRun, job: FoundJob, stream: Stream, start: int) -> Piece:
    """:raises HTTPException: it cannot be read (404), or its site does not answer (502, 504)."""
    # here: what reaches sites takes a second to import, which would be a second for the first page that somebody opens
    from airflow_hybrid.runs.job_files import JobFiles
    from airflow_hybrid.sites.files.pieces import NoFileError

    run = RunKey(known.overview.run.dag_id, known.overview.run.run_id)
    outline = known.overview.outline
    try:
        files = JobFiles(run, outline, deployments_in_run(session, run, outline))
        return _sites.run(lambda: files.read(job, stream, start, MOST_BYTES), _LIMIT_S)
    except NoFileError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from None
    except HybridError as error:
        raise HTTPException(status.HTTP_502_BAD_GATEWAY, str(error)) from None


def _answer(piece: Piece, asked: int, *, is_over: bool) -> Response:
    """:param asked: the offset that was asked for."""
    shown = _whole(piece, asked, is_over=is_over)
    value = {
        "text": printable_lines(as_terminals_show(readable(shown.data))),
        "start": shown.start,
        "end": shown.end,
        "size": shown.size,
        "is_over": is_over,
    }
    return Response(json.dumps(value), media_type="application/json")


def _whole(piece: Piece, asked: int, *, is_over: bool) -> Piece:
    """Without letters that are cut: at the beginning, if it was asked for from the end; at its end, if more comes."""
    data, start = piece.data, piece.start
    if asked < 0 and start > 0:
        cut = rest_of_letter(data)
        data, start = data[cut:], start + cut
    if piece.more or not is_over:
        data = data[: whole_letters(data)]
    return replace(piece, data=data, start=start)
