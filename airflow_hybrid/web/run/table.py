# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The jobs of a run as a table: filtered, sorted and cut into pages here, whatever their number."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.overviews.usage import is_success
from airflow_hybrid.web.run.known import KnownRun, RunJob

_TEXTS = ("step", "index", "location", "scheduler_id", "node", "reason", "rule", "directory")
_MORE_COLUMNS = ("ended", "waited_s", "site", "task_id")
COLUMNS = (*(field.name for field in dataclasses.fields(JobRecord)), *_MORE_COLUMNS)
Shown = Literal["all", "succeeded", "failed", "reused"]


class JobQuery(BaseModel, extra="forbid"):
    """Which jobs are wanted, and in which order.

    :ivar step: path of a step; those of steps below it, too.
    :ivar task_id: and ``map_index``: only those of a task, or of one of its instances.
    :ivar shown: by how they ended; ``state``: by the name of their state.
    :ivar text: a part of a step, index, location, node, scheduler's id, reason or directory.
    :ivar key: of a job: the page that has it is wanted, wherever it is.
    :ivar sort: a name of :data:`COLUMNS`; None: as they were reported.
    """

    step: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    shown: Shown = "all"
    state: str | None = None
    site: str | None = None
    text: str = Field("", max_length=200)
    key: str | None = None
    sort: str | None = Field(None, pattern=f"^({'|'.join(COLUMNS)})$")
    order: Literal["up", "down"] = "up"
    offset: int = Field(0, ge=0)
    limit: int = Field(50, ge=1, le=500)


def jobs_json(known: KnownRun, query: JobQuery) -> dict[str, Any]:
    """A page of the table, and how many jobs there are."""
    of_task = known.jobs_of_task(query.task_id, query.map_index)
    matching = [job for job in of_task if _matches(job, query)] if _is_filtered(query) else of_task
    if query.sort is not None:
        matching = _sorted(matching, query.sort, down=query.order == "down")
    offset = query.offset
    if query.key is not None:
        offset = _page_of(matching, query)
    page = matching[offset : offset + query.limit]
    return {
        "total": len(of_task),
        "matched": len(matching),
        "offset": offset,
        "states": dict(Counter(job.record.state.value for job in of_task)),
        "sites": sorted({job.site for job in of_task}),
        "steps": list(dict.fromkeys(job.record.step for job in of_task)),
        "jobs": [job_json(job) for job in page],
    }


def _page_of(jobs: Sequence[RunJob], query: JobQuery) -> int:
    """Where the page begins that has a job; the first one, if none has it."""
    at = next((number for number, job in enumerate(jobs) if job.key == query.key), 0)
    return at - at % query.limit


def job_json(job: RunJob) -> dict[str, Any]:
    """All that is known of a job."""
    record = job.record
    return {
        "name": record.name,
        **dataclasses.asdict(record),
        "attempt_name": record.attempt_name,
        "reason_and_rule": record.reason_and_rule,
        "state": record.state.value,
        "is_success": is_success(record),
        "ended": record.ended,
        "waited_s": record.waited_s,
        "key": job.key,
        "task_id": job.task_id,
        "map_index": job.map_index,
        "site": job.site,
        "is_last": job.is_last,
    }


def _is_filtered(query: JobQuery) -> bool:
    return query.shown != "all" or bool(query.text) or (query.step, query.state, query.site) != (None, None, None)


def _matches(job: RunJob, query: JobQuery) -> bool:
    record = job.record
    if query.step is not None and record.step != query.step and not record.step.startswith(f"{query.step}/"):
        return False
    if query.state is not None and record.state.value != query.state:
        return False
    if query.site is not None and job.site != query.site:
        return False
    if not _is_shown(record, query.shown):
        return False
    text = query.text.casefold()
    return not text or any(text in getattr(record, name).casefold() for name in _TEXTS)


def _is_shown(record: JobRecord, shown: Shown) -> bool:
    if shown == "reused":
        return record.reused
    if shown == "all":
        return True
    return is_success(record) == (shown == "succeeded")


def _sorted(jobs: Sequence[RunJob], column: str, *, down: bool) -> list[RunJob]:
    """By a column; those whose value is not known are last in both orders."""
    values = [(_value(job, column), job) for job in jobs]
    known = [pair for pair in values if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=down)
    return [job for _, job in known] + [job for value, job in values if value is None]


def _value(job: RunJob, column: str) -> Any:
    if column in ("site", "task_id"):
        return getattr(job, column)
    value = getattr(job.record, column)
    return value.value if column == "state" else value
