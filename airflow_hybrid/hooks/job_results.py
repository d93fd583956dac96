# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""From evidence to results: how each job of a batch ended. Pure.

The exit-code file decides; where it is missing, the scheduler's own word; where nobody knows, the job is LOST.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_hybrid.hooks.job_directory import Evidence, stream_path
from airflow_hybrid.model import JobResult, JobState
from airflow_hybrid.schedulers.base import Account, ElementState, Scheduler

SIGNALS = frozenset({128 + 9, 128 + 15})
"""exit codes of a tool that was killed: by whom, the scheduler may know"""
_TIMED_OUT = frozenset({124, 128 + 9, 128 + 15})
"""timeout(1): the time was up; the tool had to be killed; that of busybox says so by the signal that it sent"""
_NO_NAME = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.LOST})


def scheduler_id(
    scheduler: Scheduler, evidence: Evidence, ids: Sequence[str], index: int, meta: Mapping[str, Any]
) -> str | None:
    """The element that has, or was to have, a job."""
    claim = evidence.claims.get(index)
    if claim and claim != "launcher":
        return scheduler.claimed_id(claim, ids)
    return scheduler.element_id(ids, len(meta["keys"]), index, meta["max_array"])


def element_of(
    scheduler: Scheduler, account: Account, evidence: Evidence, ids: Sequence[str], index: int, meta: Mapping[str, Any]
) -> ElementState:
    """What the scheduler says of the element of a job, or else of the whole array."""
    id_ = scheduler_id(scheduler, evidence, ids, index, meta) or ""
    whole = scheduler.array_id(id_)
    return account.elements.get(id_) or account.elements.get(whole) or ElementState(JobState.UNKNOWN)


def ended_badly(element: ElementState) -> bool:
    """Whether the site itself says that the job ended without success: then no exit code need be waited for."""
    return element.state.ended and element.state is not JobState.COMPLETED


def results_of(
    scheduler: Scheduler,
    directory: str,
    ids: Sequence[str],
    meta: Mapping[str, Any],
    evidence: Evidence,
    account: Account,
    elements: Mapping[int, ElementState],
) -> list[JobResult]:
    """One result per key, without the tails of stderr."""
    results = []
    for index, key in enumerate(meta["keys"]):
        state, code, reason = _verdict(scheduler.name, index, meta, evidence, account, elements.get(index))
        ending = evidence.endings.get(index)
        results.append(
            JobResult(
                state,
                code,
                reason,
                scheduler_id=scheduler_id(scheduler, evidence, ids, index, meta),
                stdout_path=stream_path(directory, key, "stdout", meta),
                stderr_path=stream_path(directory, key, "stderr", meta),
                seconds=ending.seconds if ending else None,
            )
        )
    return results


def _verdict(
    scheduler: str,
    index: int,
    meta: Mapping[str, Any],
    evidence: Evidence,
    account: Account,
    element: ElementState | None,
) -> tuple[JobState, int | None, str]:
    ending = evidence.endings.get(index)
    if ending is not None:
        code = ending.exit_code
        if code is None:
            return JobState.FAILED, None, ending.reason
        limit = meta["jobs"].get(meta["keys"][index], {}).get("w")
        if limit and code in _TIMED_OUT and (ending.seconds or 0) >= limit:
            return JobState.TIMEOUT, code, f"it ran longer than its time limit of {limit} s"
        if code in SIGNALS and element and element.state.ended and element.state not in _NO_NAME:
            return element.state, code, element.reason
        return (JobState.FAILED, code, f"exit code {code}") if code else (JobState.COMPLETED, 0, "")
    if not evidence.present:
        return JobState.LOST, None, "its batch directory is no longer there"
    state = element.state if element else JobState.UNKNOWN
    said = element.reason if element else ""
    if state not in (JobState.COMPLETED, JobState.UNKNOWN, JobState.LOST):
        return state, None, said
    if evidence.cancelled:
        return JobState.CANCELLED, None, "the task was cancelled"
    reason = "it left no exit code and nobody knows how it ended"
    reason += f"; {scheduler}: {said}" if said else ""
    reason += f"; not answered: {account.problem}" if account.problem else ""
    return JobState.LOST, None, reason
