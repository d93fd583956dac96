# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a site's verdict means where it is not the one that was asked for: an error. Pure."""

from __future__ import annotations

from airflow_hybrid.errors import CancelledError, HybridError, SiteError, StatusUnknownError, SubmitError
from airflow_hybrid.schedulers.base import Scheduler
from airflow_hybrid.sites.batches.answers import Verdict, VerdictKind
from airflow_hybrid.sites.hosts.base import CommandResult


def submit_error(verdict: Verdict, scheduler: Scheduler, answer: CommandResult, site: str) -> HybridError:
    """Why nothing is known to be submitted.

    :param answer: to the submit command, of which the verdict was read; ``site``: title of the host, for the message.
    """
    where = f"{site}: {answer.command}"
    if verdict.kind is VerdictKind.CANCELLED:
        return CancelledError("this try of the task was cancelled: it submits no more jobs", where=where)
    if verdict.kind is VerdictKind.REFUSED:
        return SubmitError(
            f"{scheduler.name} refused the batch: {verdict.message or 'no reason given'}",
            where=where,
            hint="change the service's options in the hybrid file, or what the step asks for (ResourceRequirement)",
            retryable=not scheduler.refused_for_good(verdict.message),
        )
    if verdict.kind in (VerdictKind.SUBMITTED, VerdictKind.ATTACHED, VerdictKind.DONE):  # without the report of it
        return StatusUnknownError(f"the submit command was cut off (exit code {answer.exit_code})", where=where)
    return command_error(verdict, scheduler, answer, site)


def command_error(verdict: Verdict, scheduler: Scheduler, answer: CommandResult, site: str) -> SiteError:
    """Why a command about batches did not do what it was to do; parameters as of :func:`submit_error`."""
    where = f"{site}: {answer.command}"
    if verdict.kind is VerdictKind.MISSING:
        return SubmitError(
            f"the program `{verdict.message}` is not there",
            where=where,
            hint="is this the right host? `config.path` or `config.profile` of the deployment say where programs are "
            "that only login shells find (`airflow hybrid check` looks there)",
            retryable=False,
        )
    if verdict.kind is VerdictKind.NO_DIRECTORY:
        return SiteError(
            f"the task directory cannot be made: {verdict.message}",
            where=where,
            hint="does the work directory exist, is it yours, and is there room (quota, `df`)?",
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
            hint="what this version of airflow_hybrid did not make is in the way: move it away, or clear the task, "
            "which then gets another directory",
        )
    if verdict.kind is VerdictKind.LOCKED:
        return StatusUnknownError(
            f"another submit holds the lock of the task directory {verdict.message}".rstrip(),
            where=where,
            hint="if this stays, the file system of the work directory may not support flock",
        )
    said = verdict.message or answer.err.strip()[-500:] or f"exit code {answer.exit_code}"
    return StatusUnknownError(f"{scheduler.name} gave no clear answer: {said}", where=where)
