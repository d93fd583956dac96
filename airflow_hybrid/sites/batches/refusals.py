# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The errors for verdicts of a site other than success. Pure."""

from __future__ import annotations

from airflow_hybrid.errors import CancelledError, HybridError, SiteError, StatusUnknownError, SubmitError
from airflow_hybrid.reasons.refused import refused
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.sites.batches.answers import Verdict, VerdictKind
from airflow_hybrid.sites.hosts.base import CommandResult
from airflow_hybrid.sites.hosts.claims import GRACE_S


def submit_error(verdict: Verdict, scheduler: Scheduler, answer: CommandResult, site: str) -> HybridError:
    """The error of a submit that failed or may have failed.

    :param answer: the submit command's answer, which has the verdict; ``site``: title of the host, for the message.
    """
    where = f"{site}: {answer.command}"
    if verdict.kind is VerdictKind.CANCELLED:
        return CancelledError("this try of the task was cancelled: it submits no more jobs", where=where)
    if verdict.kind is VerdictKind.REFUSED:
        why = refused(verdict.message)
        error = SubmitError(
            f"{scheduler.name} refused the batch: {verdict.message or 'no reason given'}",
            where=where,
            hint=str(why) if why.known else why.remedy,
            retryable=not scheduler.refused_for_good(verdict.message),
        )
        error.passes = scheduler.refusal_passes(verdict.message)
        return error
    if verdict.kind in (VerdictKind.SUBMITTED, VerdictKind.ATTACHED, VerdictKind.DONE):  # without a report
        return StatusUnknownError(f"the submit command was cut off (exit code {answer.exit_code})", where=where)
    return command_error(verdict, scheduler, answer, site)


def command_error(verdict: Verdict, scheduler: Scheduler, answer: CommandResult, site: str) -> SiteError:
    """The error of a command about batches that failed; parameters as in :func:`submit_error`."""
    where = f"{site}: {answer.command}"
    if verdict.kind is VerdictKind.MISSING:
        return SubmitError(
            f"the program `{verdict.message}` is not installed",
            where=where,
            hint="is this the right host? `config.path` or `config.profile` of the deployment say where programs are "
            "that only login shells find (`airflow hybrid check` looks there)",
            retryable=False,
        )
    if verdict.kind is VerdictKind.NO_DIRECTORY:
        return SiteError(
            f"the task directory cannot be created: {verdict.message}",
            where=where,
            hint="does the work directory exist, is it yours, and is there space left (quota, `df`)?",
        )
    if verdict.kind is VerdictKind.NOT_UNPACKED:
        return SiteError(
            f"the batch directory could not be written: {verdict.message}",
            where=where,
            hint="nothing was submitted and nothing is left; is the disk full (`df`, `df -i`, quota)?",
        )
    if verdict.kind is VerdictKind.FOREIGN:
        return SiteError(
            verdict.message,
            where=where,
            hint="something that this version of airflow_hybrid did not make is in the way: move it away, or clear the "
            "task, which then gets another directory",
        )
    if verdict.kind is VerdictKind.LOCKED:
        return StatusUnknownError(
            f"the task directory is claimed by {verdict.message or 'another process'}",
            where=where,
            hint=f"a claim of another host, whose process may live, is taken over after {GRACE_S // 60} minutes",
        )
    words = verdict.message or answer.err.strip()[-500:] or f"exit code {answer.exit_code}"
    return StatusUnknownError(f"{scheduler.name} gave no clear answer: {words}", where=where)
