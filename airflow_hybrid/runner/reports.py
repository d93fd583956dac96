# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The report about a runner's run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_hybrid import settings
from airflow_hybrid.engine.failures import JobsFailedError
from airflow_hybrid.errors import HybridError
from airflow_hybrid.model import JobState
from airflow_hybrid.model.records import JobRecord
from airflow_hybrid.printable import printable
from airflow_hybrid.reasons.actions import without_airflow
from airflow_hybrid.reasons.clues import telling_line
from airflow_hybrid.reports.files import content, format_of
from airflow_hybrid.reports.footprint import constants_of
from airflow_hybrid.reports.values import RunReport

if TYPE_CHECKING:
    from airflow_hybrid.runner.dag_run import RunResult


def report_of(dag_id: str, run: RunResult) -> RunReport:
    """The report about a run that has ended.

    :raises HybridError: too little is known of it.
    """
    from airflow.utils.session import create_session

    from airflow_hybrid.runs.jobs import RunKey
    from airflow_hybrid.runs.reporting import report_of_run

    with create_session() as session:
        report = report_of_run(session, RunKey(dag_id, run.run_id))
    return for_a_run_alone(report, run.errors)


def for_a_run_alone(report: RunReport, errors: Iterable[BaseException]) -> RunReport:
    """The report, as it helps somebody whose run has left nothing in an Airflow.

    :param errors: of the run's tasks, which know the ends of the stderr of failed jobs.
    """
    said = dict(_said_by_jobs(errors))
    reasons = tuple(replace(part, remedy=without_airflow(part.remedy)) for part in report.reasons)
    return replace(
        report, reasons=reasons, jobs=tuple(_with_line(job, said.get(job.directory, "")) for job in report.jobs)
    )


def _said_by_jobs(errors: Iterable[BaseException]) -> Iterator[tuple[str, str]]:
    """Job directories, and the line of its stderr that tells most."""
    for error in errors:
        if isinstance(error, JobsFailedError):
            yield from ((failure.directory, telling_line(failure.result.stderr_tail)) for failure in error.failures)


def _with_line(job: JobRecord, line: str) -> JobRecord:
    if not line or job.state is JobState.COMPLETED or line in job.reason:
        return job
    return replace(job, reason=f"{job.reason}: {line}" if job.reason else line)


def write_report(report: RunReport, path: str, prog: str) -> None:
    """Write a report in the format that the file's name says.

    :raises HybridError: it cannot be written.
    """
    try:
        os.makedirs(Path(path).absolute().parent, exist_ok=True)  # a run without files makes no folder for outputs
        Path(path).write_bytes(content(report, format_of(path), constants_of(settings.current())))
    except OSError as error:
        raise HybridError(
            f"the report about the run cannot be written: {error.strerror or error}", where=path
        ) from None
    print(f"{prog}: the report about the run is {printable(os.path.abspath(path))}", file=sys.stderr)
